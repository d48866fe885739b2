"""A champion in, a static folder that runs it in any browser out."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgemotion.errors import EdgemotionError
from edgemotion.files import replacing, sha256_file, write_json
from edgemotion.runtime.champion import CARD, Card, load_card
from edgemotion.runtime.variant import INFO, MODEL, Variant, load_variant
from edgemotion.serve.options import Options

SOURCE = Path(__file__).parents[1] / "page"
PAGE = ("index.html", "style.css", "app.js", "worker.js", "faces.js", "pixels.js", "smoothing.js")
PACKAGE = ("package.json", "package-lock.json", ".npmrc")
# The build without WebGPU and WebGL; the package holds 140 MB of others.
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
FACES = "faces.onnx"
SMOOTHING = {"process_noise": Options.process_noise, "measurement_noise": Options.measurement_noise}


def build_page(target: Path, champion: Path, faces: Path | None, models: dict[str, Path] | None = None) -> Path:
    """Build the page's folder at `target`, whole or not at all; give it to any static web server.

    `champion` is the folder that select made and `models` are more variants of the same classes and input, by name,
    to be timed against it in the browser. `faces` is YuNet's file; without it the page reads the centre of a scene.
    Raises EdgemotionError for a folder that does not fit, a missing file, and where npm is missing or fails.
    """
    target = Path(target)
    variants = gather(champion, models or {})
    card = load_card(champion)
    if faces is not None and not Path(faces).is_file():
        raise EdgemotionError(f"the face detector {faces} is missing; give the path of YuNet's ONNX file")
    with replacing(target) as partial:
        partial.mkdir()
        for name in PAGE:
            shutil.copyfile(SOURCE / name, partial / name)
        fetch_runtime(partial / "ort")
        for name, variant in variants.items():
            (partial / "models" / name).mkdir(parents=True)
            for file in (MODEL, INFO):
                shutil.copyfile(variant.folder / file, partial / "models" / name / file)
        shutil.copyfile(Path(champion) / CARD, partial / CARD)
        if faces is not None:
            shutil.copyfile(faces, partial / FACES)
        files = {path.relative_to(partial).as_posix(): sha256_file(path) for path in files_of(partial)}
        write_json(partial / "config.json", page_config(variants, card, files))
    return target


def gather(champion: Path, models: dict[str, Path]) -> dict[str, Variant]:
    """The champion, first and under its own name, and the other variants by name.

    Raises EdgemotionError for a detector and for a variant of other classes or another input than the champion's.
    """
    first = load_variant(champion)
    variants = {first.name: first}
    for name, folder in models.items():
        if name != Path(name).name or name in (".", ".."):
            raise EdgemotionError(f"{name!r} cannot name a folder of the page; give a plain name such as fp32")
        variants.setdefault(name, load_variant(folder))
    for name, variant in variants.items():
        if variant.detects:
            raise EdgemotionError(f"{name} is a detector, and the page runs classifiers only; choose another champion")
        if variant.classes != first.classes or shape(variant) != shape(first):
            raise EdgemotionError(
                f"{variant.folder} has other classes or another input than {first.folder}; "
                "a page holds variants of one network only"
            )
    return variants


def page_config(variants: dict[str, Variant], card: Card, files: dict[str, str]) -> dict[str, Any]:
    """What the page needs to know: models, classes, input, framing, filter and the SHA-256 of each file by its path.

    The first of `variants` is the champion.
    """
    first = next(iter(variants.values()))
    models = [
        {
            "name": name,
            "model": f"models/{name}/{MODEL}",
            "sha256": variant.info["sha256"],
            "champion": variant is first,
        }
        for name, variant in variants.items()
    ]
    return {
        "dataset": card.dataset,
        "models": models,
        "classes": first.classes,
        "input": shape(first),
        "faces": FACES if FACES in files else None,
        "face_side": card.face_side,
        "certain_from": card.certain_from,
        "smoothing": SMOOTHING,
        "files": files,
    }


def fetch_runtime(folder: Path) -> None:
    """Make a folder with ONNX Runtime's files for browsers, those of the lock file, fetched by npm.

    Raises EdgemotionError where npm is missing or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise EdgemotionError("npm is missing; install Node.js 18 or later; its npm fetches ONNX Runtime for browsers")
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        for name in PACKAGE:
            shutil.copyfile(SOURCE / name, Path(place) / name)
        # Scripts of packages are code of strangers and not needed here.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        if done.returncode:
            raise EdgemotionError(f"npm cannot fetch ONNX Runtime for browsers: {reason(done.stderr)}")
        for name in RUNTIME:
            fetched = Path(place) / "node_modules/onnxruntime-web/dist" / name
            if not fetched.is_file():
                raise EdgemotionError(f"onnxruntime-web holds no {name}; use the version that {PACKAGE[1]} names")
            shutil.copyfile(fetched, folder / name)


def reason(output: str) -> str:
    """The first line of npm's errors that says something, without npm's own prefixes."""
    lines = (line.removeprefix("npm").strip() for line in output.splitlines())
    said = [line.split(" ", 1)[-1] for line in lines if line.startswith(("error", "ERR!")) and " " in line]
    return next((line for line in said if not line.startswith("code ")), "it gave no reason")


def shape(variant: Variant) -> dict[str, int]:
    """Height, width and channels of a variant's input."""
    return {"height": variant.height, "width": variant.width, "channels": variant.channels}


def files_of(folder: Path) -> Iterable[Path]:
    """All files of a folder, in a stable order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
