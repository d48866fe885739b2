"""Experiments of a real git and DVC repository, whole ones and others."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from dvc.repo import Repo
from omegaconf import OmegaConf

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, write_json, write_text
from edgemotion.report.experiments import gather, list_experiments, read_published
from edgemotion.report.summary import read_results, summarise
from edgemotion.settings import read

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
# The pipeline in small: a training, and a report that copies what lies there.
GRAPH = """
stages:
  train:
    cmd: grep -A1 train params.yaml > weights.txt
    params: [train.epochs, model.name]
    outs: [weights.txt]
  report:
    cmd: cp made.json reports/summary.json
    deps: [weights.txt, made.json]
    params: [seed]
    metrics: [{reports/summary.json: {cache: false}}]
"""


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=root, check=True)


def run(root: Path, summary: dict[str, Any], **changes: Any) -> None:
    """Run the graph with these settings; its report is `summary`."""
    params = OmegaConf.load(root / "params.yaml")
    for key, value in changes.items():
        OmegaConf.update(params, key.replace("__", "."), value)
    OmegaConf.save(params, root / "params.yaml")
    write_json(root / "made.json", summary)
    with contextlib.chdir(root), Repo() as repo:
        repo.reproduce()


def save(root: Path, name: str) -> None:
    with contextlib.chdir(root), Repo() as repo:
        repo.experiments.save(name=name)


@pytest.fixture(scope="module")
def project(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Experiments `compact` (twice), `vit` without champion and int8, and `unfinished`, which only trained."""
    root = tmp_path_factory.mktemp("project")
    shutil.copyfile(sample / "params.yaml", root / "params.yaml")
    with contextlib.chdir(sample):
        settings = read("params.yaml")
        compact = summarise(
            read_results(settings.variants), settings.data.name, settings.model.title, settings.seed, settings.controls
        )
    compact["variants"]["fp32"]["parameters"] = 700_000
    vit = compact | {"network": "vit", "champion": None, "variants": {"fp32": compact["variants"]["fp32"]}}
    git(root, "init", "--quiet")
    with pytest.MonkeyPatch.context() as patch:
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "a")
            patch.setenv(f"GIT_{role}_EMAIL", "a@b")
        with contextlib.chdir(root):
            Repo.init().close()
        write_text(root / "dvc.yaml", GRAPH)
        write_text(root / "reports/.keep", "")
        run(root, compact, train__epochs=3)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", "first")
        run(root, compact, train__epochs=4)
        save(root, "compact")
        time.sleep(1)
        write_text(root / "more.txt", "another baseline")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", "second")
        run(root, compact, train__epochs=12)
        save(root, "compact")
        run(root, vit, train__epochs=30, model__name="vit")
        save(root, "vit")
        OmegaConf.save(
            OmegaConf.merge(OmegaConf.load(root / "params.yaml"), {"train": {"epochs": 9}}), root / "params.yaml"
        )
        with contextlib.chdir(root), Repo() as repo:
            repo.experiments.run(targets=["train"], name="unfinished")
        run(root, vit, train__epochs=30)
        yield root


def test_reads_all_whole_experiments_and_says_why_others_are_left_out(project: Path) -> None:
    assert list(list_experiments(project)) == ["compact", "unfinished", "vit"]
    found, left_out = gather(project)
    assert [(entry.name, entry.params["train"]["epochs"]) for entry in found] == [("compact", 12), ("vit", 30)]
    assert [entry.summary["champion"] for entry in found] == ["pruned_int8", None]
    assert left_out == [
        "experiment unfinished is not one whole run (dvc.lock ran report with another weights.txt than was made last); "
        "run it again up to the stage report"
    ]


def test_names_choose_and_order(project: Path) -> None:
    assert [entry.name for entry in gather(project, ["vit", "compact"])[0]] == ["vit", "compact"]
    with pytest.raises(EdgemotionError, match=r"no experiment 'gone'; there are compact, unfinished, vit$"):
        gather(project, ["compact", "gone"])
    with pytest.raises(EdgemotionError, match="experiment unfinished is not one whole run"):
        gather(project, ["unfinished"])


def published(project: Path, folder: Path) -> Path:
    """The state of the last whole run as `invoke publish` leaves it."""
    write_text(folder / "summary.json", (project / "reports/summary.json").read_text())
    for name in ("params.yaml", "dvc.lock"):
        shutil.copyfile(project / name, folder / name)
    return folder


def test_published_folders_count_beside_experiments(project: Path, tmp_path: Path) -> None:
    folder = published(project, tmp_path / "older")
    assert [entry.name for entry in gather(project, published=[folder])[0]] == ["compact", "vit", "older"]
    assert [entry.name for entry in gather(project, ["older"], [folder])[0]] == ["older"]
    write_json(folder / "summary.json", read_json(folder / "summary.json") | {"champion": "fp32"})
    with pytest.raises(
        EdgemotionError, match=r"older is not one whole run \(reports/summary\.json is not what dvc\.lock"
    ):
        read_published(folder)
    (folder / "dvc.lock").unlink()
    with pytest.raises(EdgemotionError, match=r"older/dvc\.lock is missing"):
        read_published(folder)


def test_two_runs_of_one_name_are_not_taken_for_each_other(project: Path, tmp_path: Path) -> None:
    same, other, whole = (published(project, tmp_path / name) for name in ("vit", "compact", "unfinished"))
    assert [entry.name for entry in gather(project, ["vit"], [same])[0]] == ["vit"]
    with pytest.raises(EdgemotionError, match=r"^'compact' is a DVC experiment and another run in .*compact; rename"):
        gather(project, ["compact"], [other])
    # An experiment that did not run through stands in nobody's way.
    assert [entry.name for entry in gather(project, ["unfinished"], [whole])[0]] == ["unfinished"]
    found, left_out = gather(project, published=[same, other])
    assert [entry.name for entry in found] == ["vit"] and "rename it" in left_out[0]


def test_outside_a_repository(tmp_path: Path) -> None:
    with pytest.raises(EdgemotionError, match="has no DVC experiments to list"):
        gather(tmp_path)


def test_the_task_writes_table_figure_and_readme(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(project, root)
    shutil.copyfile(ROOT / "tasks.py", root / "tasks.py")
    markers = "<!-- results -->\n<!-- /results -->\n<!-- comparison:start -->\n<!-- comparison:end -->\n"
    write_text(root / "README.md", markers)

    def invoke(*words: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-m", "invoke", "compare", *words]
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)

    found = invoke()
    assert found.returncode == 0, found.stderr
    assert found.stderr.count("left out: experiment") == 1
    folder = root / "reports/compare"
    assert sorted(path.name for path in folder.iterdir()) == ["comparison.json", "comparison.md", "comparison.png"]
    assert (folder / "comparison.md").read_text().startswith(found.stdout.split("\n\n")[0])
    assert [row["experiment"] for row in read_json(folder / "comparison.json")["rows"]] == ["compact", "vit"]
    assert min(cv2.imread(str(folder / "comparison.png")).shape[:2]) > 300
    assert (root / "README.md").read_text() == markers

    assert invoke("--names", "vit", "--output", "reports/published/comparison").returncode == 0
    readme = (root / "README.md").read_text()
    assert "| vit | synthetic 48x48 gray | vit |" in readme and "| compact |" not in readme
    assert "](reports/published/comparison/comparison.png)" in readme
    both, one = (cv2.imread(str(path / "comparison.png")) for path in (folder, root / "reports/published/comparison"))
    assert both.shape[0] > one.shape[0] > 100 and both.shape[1] == one.shape[1] > 1000

    failed = invoke("--names", "gone")
    assert failed.returncode == 1 and failed.stderr.startswith("error: there is no experiment 'gone'")
