"""The stages as DVC runs them: a process in the project's folder, files in, files out, one line on failure."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgemotion.runtime.champion import load_card
from edgemotion.runtime.variant import load_variant

ROOT = Path(__file__).parents[2]
write_run = runpy.run_path(str(ROOT / "tests/report/sample_run.py"))["write_run"]


def run_stage(name: str, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"edgemotion.stages.{name}", *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_select_then_report(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert run_stage("select", tmp_path).returncode == 0
    selection = json.loads((tmp_path / "reports/select.json").read_text())
    assert selection["champion"] == "pruned_int8"
    champion = load_variant(tmp_path / "models/champion")
    assert champion.name == "pruned_int8"
    assert json.loads((champion.folder / "selection.json").read_text()) == selection
    evaluation = json.loads((tmp_path / "reports/evaluate/pruned_int8.json").read_text())
    card = load_card(champion.folder)
    assert (card.dataset, card.face_side, card.certain_from) == ("synthetic", 1.0, evaluation["certain"]["probability"])
    assert card.metrics["top1"] == evaluation["top1"] and card.metrics["leak_free"] == evaluation["leak_free"]

    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    found = run_stage("report", tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file() and path not in before}
    assert written == {
        "reports/summary.json",
        "reports/flips.csv",
        "reports/index.html",
        "reports/figures/tradeoff.png",
        "reports/figures/latency.png",
        "reports/figures/robustness.png",
        "reports/figures/training.png",
    }
    assert "pruned_int8 wins on synthetic" in (tmp_path / "reports/index.html").read_text()


def test_select_keeps_the_evidence_when_nothing_passes(tmp_path: Path) -> None:
    write_run(tmp_path)
    found = run_stage("select", tmp_path, "select.max_size_mb=0.1")
    assert found.returncode == 0
    assert "no variant keeps the budget of select.device 'raspberry-pi-class' (fp32: 1.96 MB" in found.stdout
    assert json.loads((tmp_path / "reports/select.json").read_text())["champion"] is None
    assert [path.name for path in (tmp_path / "models/champion").iterdir()] == ["selection.json"]

    found = run_stage("report", tmp_path, "select.max_size_mb=0.1")
    assert found.returncode == 0, found.stderr
    assert json.loads((tmp_path / "reports/summary.json").read_text())["champion"] is None
    page = (tmp_path / "reports/index.html").read_text()
    assert "No variant keeps the budget on synthetic" in page and "The figures below are those of fp32" in page


def test_select_refuses_a_replaced_model(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "models/variants/pruned/model.onnx").write_bytes(b"something else")
    found = run_stage("select", tmp_path)
    assert found.returncode == 1
    assert "models/variants/pruned/model.onnx has the SHA-256" in found.stderr


@pytest.mark.slow
def test_report_logs_to_mlflow(tmp_path: Path) -> None:
    write_run(tmp_path, tracking="mlflow")
    assert run_stage("select", tmp_path).returncode == 0
    found = run_stage("report", tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert (tmp_path / "mlflow.db").is_file()


@pytest.mark.parametrize(("option", "told"), [("--help", "out.\n\nSettings of"), ("--hydra-help", "--multirun,-m")])
def test_help_is_shown_and_nothing_is_written(tmp_path: Path, option: str, told: str) -> None:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    found = run_stage("select", tmp_path, option)
    assert (found.returncode, found.stderr) == (0, "")
    assert told in found.stdout
    assert list(tmp_path.rglob("*")) == [tmp_path / "params.yaml"]


@pytest.mark.slow
def test_a_stage_run_as_a_job_writes_what_it_writes_itself(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the optional extra `cluster`")
    for name, options in {"itself": (), "job": ("--multirun", "hydra/launcher=submitit_local")}.items():
        write_run(tmp_path / name)
        found = run_stage("select", tmp_path / name, *options)
        assert found.returncode == 0, found.stderr
    itself, job = (json.loads((tmp_path / name / "reports/select.json").read_text()) for name in ("itself", "job"))
    assert itself == job
    assert list((tmp_path / "job").glob("multirun/.submitit/*/*_result.pkl"))
