"""The reports of a finished run in; reports/published/<name> out."""

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgemotion import settings
from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, replacing, sha256_file, write_json, write_text
from edgemotion.report.figures import figure_names
from edgemotion.report.lock import contradiction, current, lookup, parse_yaml
from edgemotion.report.readme import PUBLISHED, run_page
from edgemotion.runtime.variant import INFO

COPIED = (
    "reports/summary.json",
    "reports/select.json",
    "params.yaml",
    "dvc.lock",
    "data/prepared/data_report.json",
)
# Studies beside the graph, where somebody has made them: the file that tells what it is of under a dotted key, the
# recipe and data or the SHA-256 of the trained weights, and what goes with it.
STUDIES = {
    "reports/ablation.json": ("of", ("reports/ablation.md",)),
    "reports/pareto/front.json": ("weights_sha256", ("reports/pareto/front.md", "reports/pareto/pareto.png")),
    "reports/peers/peers.json": ("network.weights_sha256", ("reports/peers/peers.md",)),
}
# These show images of the dataset, which may not be ours to publish.
PICTURES = ("samples", "gradcam", "augmentation", "mean_faces", "duplicates")


def publish(name: str, root: Path | str = ".") -> Path:
    """Copy the reports of the run in `root` to reports/published/<name>, replacing it whole; return the folder.

    Raises EdgemotionError when a file is missing, when settings, dvc.lock, reports and champion are not of one run, and
    for the name of a folder that holds something else than a run.
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
    check_variants(summary, root / "models/variants")
    check_lock(root)
    profile = read_json(root / "reports/profile.json")
    folder = root / PUBLISHED / name
    if folder.exists() and not (folder / "summary.json").is_file():
        raise EdgemotionError(f"{folder} is no published run, which would be lost; choose another name")
    with replacing(folder) as partial:
        partial.mkdir()
        for path in COPIED:
            shutil.copyfile(root / path, partial / Path(path).name)
        write_json(partial / "environment.json", profile["environment"])
        for figure in set(figure_names(given.variants)) - set(PICTURES):
            source = root / "reports/figures" / f"{figure}.png"
            target = partial / "figures" / f"{figure}.png"
            if not source.is_file():
                raise EdgemotionError(f"{source} is missing; run `dvc repro` before publishing")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        for path in studies(root, given):
            shutil.copyfile(root / path, partial / Path(path).name)
        write_text(partial / "README.md", run_page(name, partial))
    return folder


def studies(root: Path, given: settings.Settings) -> list[str]:
    """The files of the studies of this run; EdgemotionError for one of another recipe, data, network or budget."""
    from edgemotion.training.ablation import subject

    info = read_json(root / "models/variants/fp32/model_info.json")
    origins = (subject(given, (info["data_sha256"], info["val_sha256"])), info["weights_sha256"])
    limits, found = asdict(given.select), []
    for path, (key, others) in STUDIES.items():
        if not (root / path).is_file():
            continue
        study = read_json(root / path)
        if lookup(study, key) not in origins:
            raise EdgemotionError(
                f"{root / path} is of another recipe, data or network than this run; make it again or remove it"
            )
        # A front is judged by the gates of select.
        if study.get("select", limits) != limits:
            raise EdgemotionError(
                f"{root / path} was judged by another select than this run's; judge it anew: `invoke pareto --trials 0`"
            )
        for name in others:
            if not (root / name).is_file():
                raise EdgemotionError(f"{root / name} is missing, which belongs to {path}; make both again")
        found += [path, *others]
    return found


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


def check_variants(summary: Mapping[str, Any], variants: Path) -> None:
    """The summary's variants must be those in models/variants, whichever stages ran since it was written."""
    for name, entry in summary["variants"].items():
        record = variants / name / INFO
        if not record.is_file() or read_json(record)["sha256"] != entry["sha256"]:
            raise EdgemotionError(
                f"{record} is not of the model that reports/summary.json measured as {name}; run `dvc repro` before "
                "publishing"
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
            if digest.endswith(".dir") or not (entry["path"].startswith("reports/") or entry["path"] in COPIED):
                continue
            if not path.is_file() or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != digest:
                raise EdgemotionError(
                    f"{path} is not what dvc.lock recorded for {name}; run `dvc repro` before publishing"
                )
