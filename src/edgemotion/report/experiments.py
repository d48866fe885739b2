"""DVC experiments and published folders in; the settings and the summary of each out."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgemotion.errors import EdgemotionError, first_line
from edgemotion.report.lock import contradiction, parse_yaml

SUMMARY = "reports/summary.json"


@dataclass(frozen=True)
class Experiment:
    """One finished run: its params.yaml and its reports/summary.json."""

    name: str
    params: dict[str, Any]
    summary: dict[str, Any]


def list_experiments(root: Path | str) -> dict[str, str]:
    """Names and commits of all DVC experiments, sorted; of several with one name the one made last."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            found = [pair for pairs in repo.experiments.ls(all_commits=True).values() for pair in pairs]
    except DvcException as error:
        raise EdgemotionError(f"{root} has no DVC experiments to list: {first_line(error)}") from None
    made = {commit: int(git(root, "show", "--no-patch", "--format=%ct", commit)) for _, commit in found}
    return dict(sorted(found, key=lambda pair: (pair[0], made[pair[1]], pair[1])))


def read_experiment(root: Path | str, name: str, commit: str) -> Experiment:
    """Read what an experiment committed; EdgemotionError when it did not run through to the report."""
    texts = {path: git(root, "show", f"{commit}:./{path}") for path in ("params.yaml", "dvc.lock", SUMMARY)}
    return checked(f"experiment {name}", name, texts)


def read_published(folder: Path) -> Experiment:
    """Read a folder of reports/published/; EdgemotionError when its files are not of one run."""
    texts = {}
    for path in ("params.yaml", "dvc.lock", SUMMARY):
        file = folder / Path(path).name
        if not file.is_file():
            raise EdgemotionError(f"{file} is missing; publish the run again with `invoke publish`")
        texts[path] = file.read_text(encoding="utf-8")
    return checked(str(folder), folder.name, texts)


def checked(title: str, name: str, texts: Mapping[str, str]) -> Experiment:
    """Join three files that must be of one whole run."""
    lock, params = parse_yaml(texts["dvc.lock"]), parse_yaml(texts["params.yaml"])
    reason = contradiction(lock, params)
    if not reason:
        outs = {out["path"]: out.get("md5") for out in lock["stages"]["report"].get("outs", [])}
        if outs.get(SUMMARY) != hashlib.md5(texts[SUMMARY].encode(), usedforsecurity=False).hexdigest():
            reason = f"{SUMMARY} is not what dvc.lock recorded"
    if reason:
        raise EdgemotionError(f"{title} is not one whole run ({reason}); run it again up to the stage report")
    return Experiment(name, params, json.loads(texts[SUMMARY]))


def git(root: Path | str, *words: str) -> str:
    """Output of a git command; EdgemotionError with git's own line when it fails."""
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise EdgemotionError(f"git {' '.join(words)}: {(done.stderr.strip() or 'failed').splitlines()[0]}")
    return done.stdout


def gather(
    root: Path | str, names: Sequence[str] = (), published: Iterable[Path] = ()
) -> tuple[list[Experiment], list[str]]:
    """Read the named experiments in this order, or all; return them and why others were left out.

    A name is that of a DVC experiment or of one of the `published` folders, which all count as asked for. With names,
    one that is missing, that is not one whole run, or that two different runs have is an EdgemotionError.
    """
    commits, folders = list_experiments(root), {folder.name: folder for folder in published}
    for name in names:
        if name not in commits and name not in folders:
            known = ", ".join([*commits, *folders]) or "none"
            raise EdgemotionError(f"there is no experiment {name!r}; there are {known}")
    read, left_out = [], []
    for name in names or list(dict.fromkeys([*commits, *folders])):
        try:
            if name in folders:
                found = read_published(folders[name])
                if clashes(root, found, commits.get(name)):
                    raise EdgemotionError(
                        f"{name!r} is a DVC experiment and another run in {folders[name]}; rename it with "
                        "`dvc exp rename`"
                    )
            else:
                found = read_experiment(root, name, commits[name])
            read.append(found)
        except EdgemotionError as error:
            if names:
                raise
            left_out.append(str(error))
    return read, left_out


def clashes(root: Path | str, published: Experiment, commit: str | None) -> bool:
    """Whether the DVC experiment of a published run's name, if there is a whole one, is another run."""
    if commit is None:
        return False
    try:
        return read_experiment(root, published.name, commit).summary != published.summary
    except EdgemotionError:
        return False
