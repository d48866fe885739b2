"""The reports of a finished run in; reports/published/<name>, with a README, and the results block of ours out."""

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgemotion import settings
from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, replacing, sha256_file, write_json, write_text
from edgemotion.report.figures import figure_names
from edgemotion.report.lock import contradiction, current, parse_yaml
from edgemotion.report.summary import control_verdicts
from edgemotion.report.tables import percent, points, results_table

PUBLISHED = Path("reports/published")
COPIED = (
    "reports/summary.json",
    "reports/select.json",
    "params.yaml",
    "dvc.lock",
    "data/prepared/data_report.json",
)
# Studies beside the graph, where somebody has made them: the file that tells of which network or data, the keys that
# lead to their SHA-256, and what goes with it.
STUDIES = {
    "reports/ablation.json": (("data_sha256",), ("reports/ablation.md",)),
    "reports/pareto/front.json": (("weights_sha256",), ("reports/pareto/front.md", "reports/pareto/pareto.png")),
    "reports/peers/peers.json": (("network", "weights_sha256"), ("reports/peers/peers.md",)),
}
# These show images of the dataset, which may not be ours to publish.
PICTURES = ("samples", "gradcam", "augmentation", "mean_faces", "duplicates")
PACKAGES = ("torch", "onnx", "onnxruntime", "numpy", "dvc", "hydra-core", "mlflow")
# `<!-- results of a, b -->` shows two runs in full and links the others.
RESULTS_OF = re.compile("<!-- results of ([a-z0-9_., -]+) -->")
RESULTS = ("<!-- results -->", "<!-- /results -->")
COMPARISON = ("<!-- comparison:start -->", "<!-- comparison:end -->")


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
        for path in studies(root, summary["variants"]["fp32"]["weights_sha256"]):
            shutil.copyfile(root / path, partial / Path(path).name)
        write_text(partial / "README.md", f"# {name}{section(partial)}")
    return folder


def studies(root: Path, weights_sha256: str) -> list[str]:
    """The files of the studies that were made of this run; EdgemotionError for one of another network or data."""
    found = []
    data_sha256 = read_json(root / "models/variants/fp32/model_info.json")["data_sha256"]
    for path, (keys, others) in STUDIES.items():
        if not (root / path).is_file():
            continue
        recorded = read_json(root / path)
        for key in keys:
            recorded = recorded[key]
        if recorded not in (weights_sha256, data_sha256):
            raise EdgemotionError(
                f"{root / path} is of another network or data than this run; make it again or remove it"
            )
        found += [path, *others]
    return found


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
        ("network", summary["network"], given.model.title),
        ("variants", list(summary["variants"]), given.variants),
    ):
        if found != wanted:
            raise EdgemotionError(
                f"reports/summary.json has the {key} {found!r}, params.yaml {wanted!r}; "
                "run `dvc repro` before publishing"
            )


def check_champion(summary: Mapping[str, Any], champion: Path) -> None:
    """The summary's champion must be the file in models/champion, which is empty when nothing kept the budget."""
    model, name = champion / "model.onnx", summary["champion"]
    if name is None:
        if model.is_file():
            raise EdgemotionError(f"{model} is there and reports/summary.json has no champion; run `dvc repro`")
        return
    if not model.is_file():
        raise EdgemotionError(f"{model} is missing; run `dvc repro` or `dvc pull` before publishing")
    wanted, found = summary["variants"][name]["sha256"], sha256_file(model)
    if found != wanted:
        raise EdgemotionError(
            f"{model} has the SHA-256 {found[:12]}, reports/summary.json measured {name} with "
            f"{wanted[:12]}; run `dvc repro` before publishing"
        )


def check_lock(root: Path) -> None:
    """What dvc.lock recorded must be one whole run with the settings of params.yaml, and every report must lie here."""
    lock, params = (parse_yaml((root / name).read_text(encoding="utf-8")) for name in ("dvc.lock", "params.yaml"))
    if reason := contradiction(lock, params):
        raise EdgemotionError(f"{reason}; run `dvc repro` before publishing")
    for name, stage in current(lock, params):
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


def results_block(published: Path | str = PUBLISHED, names: Sequence[str] = ()) -> str:
    """The results block of the README: the published runs `names` in full and links to the others; all without names.

    Raises EdgemotionError for a name under which nothing is published.
    """
    found = {path.parent.name: path.parent for path in sorted(Path(published).glob("*/summary.json"))}
    if unknown := [name for name in names if name not in found]:
        raise EdgemotionError(f"the README shows {unknown[0]!r}, which is not in {published}; name a published run")
    shown = list(names) or list(found)
    sections = [f"### [{name}]({PUBLISHED}/{name}/){section(found[name])}" for name in shown]
    links = ", ".join(f"[{name}]({PUBLISHED}/{name}/)" for name in found if name not in shown)
    return "\n".join(sections) + (f"\nAlso published: {links}.\n" if links else "")


def section(folder: Path) -> str:
    """What follows the name of a published run: dataset and network, the table, the machine and the verdicts."""
    summary, machine = read_json(folder / "summary.json"), read_json(folder / "environment.json")
    flags = ", ".join(machine["flags"]) or "none found"
    threads = f"{machine['threads']} thread" + ("" if machine["threads"] == 1 else "s")
    chosen = "The champion is in bold." if summary["champion"] else "No variant keeps the budget, so none is champion."
    notes = (
        f"*Leak-free* leaves out test images that also stand in the published training split; "
        f"{leaks(summary['variants']['fp32'], read_json(folder / 'data_report.json')['drop_leaks'])}. {chosen} "
        f"Latency of one image on {machine['cpu']}, {threads}; "
        f"int8 instructions: {flags}. Speed-up is over fp32, measured interleaved in one run."
    )
    slower = [name for name, entry in summary["variants"].items() if entry["speedup_ci"][1] < 1]
    if slower:
        notes += f" Slower than fp32 here: {', '.join(slower)}."
    choices = "".join(f"- {sentence}\n" for sentence in control_verdicts(summary))
    title = f": {summary['dataset']}, network {summary['network']}"
    return f"{title}\n\n{results_table(summary)}\n{notes}\n" + (f"\n{choices}" if choices else "")


def leaks(fp32: Mapping[str, Any], dropped: bool) -> str:
    """How training treated the copies of test images, and what it is worth to fp32 where it saw them."""
    if not fp32["n_leaked"]:
        return "there are none"
    on_them = f"{fp32['n_leaked']} images, of which fp32 gets {percent(fp32['top1_leaked'])}"
    if dropped:
        return f"training did without their copies ({on_them})"
    worth = points(fp32["top1"] - fp32["top1_leak_free"])
    return f"training saw their copies ({on_them}), which is worth up to {worth} points on the whole split"


def comparison_block(published: Path | str = PUBLISHED) -> str:
    """The comparison block of the README: comparison/comparison.md, its figure found from there; empty before it."""
    path = Path(published) / "comparison/comparison.md"
    if not path.is_file():
        return ""
    return path.read_text(encoding="utf-8").replace("](comparison.png)", f"]({PUBLISHED}/comparison/comparison.png)")


def updated(text: str, block: str, markers: tuple[str, str] = RESULTS) -> str:
    """Put a block between the markers of a README; EdgemotionError when there is not exactly one pair."""
    start, end = markers
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise EdgemotionError(f"the README needs one line {start!r} and, after it, one line {end!r}")
    before, rest = text.split(start)
    middle = f"\n{block}\n" if block else ""
    return f"{before}{start}\n{middle}{end}{rest.split(end)[1]}"


def current_readme(text: str, published: Path | str = PUBLISHED) -> str:
    """A README with the results block, and the comparison block where it has the markers of one, made anew."""
    named = RESULTS_OF.search(text)
    names = re.split("[, ]+", named[1]) if named else []
    text = updated(text, results_block(published, names), (named[0] if named else RESULTS[0], RESULTS[1]))
    if COMPARISON[0] in text:
        text = updated(text, comparison_block(published), COMPARISON)
    return text


def update_readme(readme: Path | str = "README.md", published: Path | str = PUBLISHED) -> None:
    """Regenerate the blocks of the README and the README of each published run from what is published."""
    readme = Path(readme)
    for folder in sorted(path.parent for path in Path(published).glob("*/summary.json")):
        write_text(folder / "README.md", f"# {folder.name}{section(folder)}")
    write_text(readme, current_readme(readme.read_text(encoding="utf-8"), published))
