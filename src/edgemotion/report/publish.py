"""The reports of a finished run in; reports/published/<name> and the results block of the README out."""

import hashlib
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from edgemotion import settings
from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, replacing, sha256_file, write_json, write_text
from edgemotion.report.figures import figure_names
from edgemotion.report.tables import results_table

PUBLISHED = Path("reports/published")
COPIED = (
    "reports/summary.json",
    "reports/select.json",
    "params.yaml",
    "dvc.lock",
    "data/prepared/data_report.json",
)
# These show images of the dataset, which may not be ours to publish.
PICTURES = ("samples", "gradcam")
PACKAGES = ("torch", "onnx", "onnxruntime", "numpy", "dvc", "hydra-core", "mlflow")
START, END = "<!-- results -->", "<!-- /results -->"


def publish(name: str, root: Path | str = ".") -> Path:
    """Copy the reports of the run in `root` to reports/published/<name>, replacing it whole; return the folder.

    Raises EdgemotionError when a file is missing, or when settings, dvc.lock, reports and champion are not of one run.
    """
    root = Path(root)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
        raise EdgemotionError(f"cannot publish as {name!r}; use lower-case letters, digits, '-', '_' and '.'")
    for path in COPIED:
        if not (root / path).is_file():
            raise EdgemotionError(f"{root / path} is missing; run `dvc repro` before publishing")
    summary = read_json(root / "reports/summary.json")
    given = settings.read(root / "params.yaml")
    check_settings(summary, given)
    check_champion(summary, root / "models/champion")
    check_lock(root)
    profile = read_json(root / "reports/profile.json")
    folder = root / PUBLISHED / name
    with replacing(folder) as partial:
        partial.mkdir()
        for path in COPIED:
            shutil.copyfile(root / path, partial / Path(path).name)
        write_json(partial / "environment.json", profile["environment"] | {"packages": installed()})
        for figure in set(figure_names(given.variants)) - set(PICTURES):
            source = root / "reports/figures" / f"{figure}.png"
            target = partial / "figures" / f"{figure}.png"
            if not source.is_file():
                raise EdgemotionError(f"{source} is missing; run `dvc repro` before publishing")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return folder


def installed() -> dict[str, str | None]:
    """Versions of the packages that make the numbers; null for one that is not installed."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def check_settings(summary: Mapping[str, Any], given: settings.Settings) -> None:
    """The summary must be of the dataset, network and variants of params.yaml."""
    for key, found, wanted in (
        ("dataset", summary["dataset"], given.data.name),
        ("network", summary["network"], given.model.name),
        ("variants", list(summary["variants"]), given.variants),
    ):
        if found != wanted:
            raise EdgemotionError(
                f"reports/summary.json has the {key} {found!r}, params.yaml {wanted!r}; "
                "run `dvc repro` before publishing"
            )


def check_champion(summary: Mapping[str, Any], champion: Path) -> None:
    """The summary's champion must be the file in models/champion."""
    model = champion / "model.onnx"
    if not model.is_file():
        raise EdgemotionError(f"{model} is missing; run `dvc repro` or `dvc pull` before publishing")
    wanted, found = summary["variants"][summary["champion"]]["sha256"], sha256_file(model)
    if found != wanted:
        raise EdgemotionError(
            f"{model} has the SHA-256 {found[:12]}, reports/summary.json measured {summary['champion']} with "
            f"{wanted[:12]}; run `dvc repro` before publishing"
        )


def check_lock(root: Path) -> None:
    """What dvc.lock recorded must be what lies here: the settings of params.yaml and every report.

    Stages of a foreach are left out, because DVC keeps those of variants that are gone.
    """
    lock, params = read_yaml(root / "dvc.lock"), read_yaml(root / "params.yaml")
    stages = {name: stage for name, stage in lock["stages"].items() if "@" not in name}
    if "report" not in stages:
        raise EdgemotionError(f"{root / 'dvc.lock'} has no stage 'report'; run `dvc repro` before publishing")
    for name, stage in stages.items():
        for key, recorded in stage.get("params", {}).get("params.yaml", {}).items():
            if lookup(params, key) != recorded:
                raise EdgemotionError(
                    f"dvc.lock ran {name} with another {key} than params.yaml has; run `dvc repro` before publishing"
                )
        for entry in [*stage.get("deps", []), *stage.get("outs", [])]:
            path = root / entry["path"]
            digest = entry.get("md5", "")
            # A folder's digest is that of a listing; the files that matter here are recorded one by one.
            if not entry["path"].startswith("reports/") or digest.endswith(".dir"):
                continue
            if not path.is_file() or hashlib.md5(path.read_bytes()).hexdigest() != digest:
                raise EdgemotionError(
                    f"{path} is not what dvc.lock recorded for {name}; run `dvc repro` before publishing"
                )


def read_yaml(path: Path) -> Any:
    """Parse with the loader of the settings, which reads 1e-05 as a number in both files."""
    return OmegaConf.to_container(OmegaConf.load(path))


def lookup(params: Any, key: str) -> Any:
    """A dotted key of nested mappings; None when it is not there."""
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params


def readme_table(published: Path | str = PUBLISHED) -> str:
    """The results block of the README: every published run, by name; empty before the first."""
    return "\n".join(section(path.parent) for path in sorted(Path(published).glob("*/summary.json")))


def section(folder: Path) -> str:
    """Heading, table and the machine of one published run."""
    summary, machine = read_json(folder / "summary.json"), read_json(folder / "environment.json")
    flags = ", ".join(machine["flags"]) or "none found"
    threads = f"{machine['threads']} thread" + ("" if machine["threads"] == 1 else "s")
    title = f"### [{folder.name}](reports/published/{folder.name}/): {summary['dataset']}, network {summary['network']}"
    notes = (
        "*Leak-free* leaves out test images that also stand in the published training split. The champion is in bold. "
        f"Latency of one image on {machine['cpu']}, {threads}; "
        f"int8 instructions: {flags}. Speed-up is over fp32, measured interleaved in one run."
    )
    slower = [name for name, entry in summary["variants"].items() if entry["speedup_ci"][1] < 1]
    if slower:
        notes += f" Slower than fp32 here: {', '.join(slower)}."
    return f"{title}\n\n{results_table(summary)}\n{notes}\n"


def updated(text: str, block: str) -> str:
    """Put a block between the markers of a README; EdgemotionError when there is not exactly one pair."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise EdgemotionError(f"the README needs one line {START!r} and, after it, one line {END!r}")
    before, rest = text.split(START)
    middle = f"\n{block}\n" if block else ""
    return f"{before}{START}\n{middle}{END}{rest.split(END)[1]}"


def update_readme(readme: Path | str = "README.md", published: Path | str = PUBLISHED) -> None:
    """Regenerate the results block of the README from the published summaries."""
    readme = Path(readme)
    write_text(readme, updated(readme.read_text(encoding="utf-8"), readme_table(published)))
