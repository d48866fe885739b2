"""What a run's tags say of where it came from."""

import subprocess
from pathlib import Path

import pytest

from edgemotion.files import write_text
from edgemotion.report.provenance import provenance

REFERENCE = {"data_sha256": {"images.npy": "1"}, "weights_sha256": "2"}
LOCK = """
stages:
  train: {cmd: python, outs: [{path: weights, md5: '%s'}]}
  report: {cmd: python, outs: [{path: reports/summary.json, md5: '%s'}]}
"""


def git(*words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)


@pytest.fixture(autouse=True)
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text("src/code.py", "a = 1\n")
    write_text("reports/summary.json", "{}\n")
    write_text("dvc.lock", LOCK % ("a", "b"))
    git("init", "--quiet")
    git("add", "-A")
    git("commit", "--quiet", "-m", "all")


def test_reports_of_the_run_itself_make_no_checkout_dirty() -> None:
    write_text("reports/summary.json", '{"run": 2}\n')
    assert provenance("fp32", REFERENCE)["git_dirty"] == "false"
    for path in ("src/code.py", "src/new.py"):
        write_text(path, "a = 2\n")
        assert provenance("fp32", REFERENCE)["git_dirty"] == "true"
        git("add", "-A")
        git("commit", "--quiet", "-m", path)


def test_the_lock_is_the_same_before_and_after_the_report_wrote_its_own_entry() -> None:
    before = provenance(None, REFERENCE)
    assert before["champion"] == "none" and len(before["git_commit"]) == 40
    write_text("dvc.lock", LOCK % ("a", "c"))
    assert provenance(None, REFERENCE)["dvc_lock_sha256"] == before["dvc_lock_sha256"]
    write_text("dvc.lock", LOCK % ("x", "c"))
    assert provenance(None, REFERENCE)["dvc_lock_sha256"] != before["dvc_lock_sha256"]


def test_outside_of_a_repository_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path.parent / f"{tmp_path.name}-bare"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert set(provenance("fp32", REFERENCE)) == {"champion", "data_sha256", "network_sha256"}
