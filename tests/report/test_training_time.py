"""How long a training took, from a real MLflow store."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from edgemotion.report.training_time import training_minutes

MINUTE = 60_000


def train(
    client: MlflowClient,
    weights: str,
    steps: range,
    start: int,
    minutes: float,
    status: str = "FINISHED",
    teachers: str = "",
) -> None:
    """A run of one training that began at `start` and logged these epochs."""
    run = client.create_run("0", start_time=start).info.run_id
    for step in steps:
        client.log_metric(run, "val_top1", 0.1 * step, step=step)
    client.set_tag(run, "weights_sha256", weights)
    if teachers:
        client.set_tag(run, "teachers_sha256", teachers)
    client.set_terminated(run, status, end_time=start + int(minutes * MINUTE))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    train(client, "twice", range(1, 4), start=1000, minutes=9)
    train(client, "twice", range(1, 4), start=2000, minutes=4.5)
    # The first half was killed, so the second alone says nothing about the whole.
    train(client, "resumed", range(1, 3), start=1000, minutes=2, status="KILLED")
    train(client, "resumed", range(3, 5), start=900_000, minutes=2)
    train(client, "unlogged", range(0), start=1000, minutes=2)
    train(client, "taught", range(1, 3), start=3_000_000, minutes=2, teachers="twice teacher")
    train(client, "teacher", range(1, 3), start=1000, minutes=8)
    train(client, "half taught", range(1, 3), start=3_000_000, minutes=2, teachers="twice resumed")
    return root


def minutes(project: Path, weights: str | None, **changes: str) -> float | None:
    return training_minutes({"backend": "mlflow", "uri": "sqlite:///mlflow.db", **changes}, weights, project)


@pytest.mark.slow
def test_the_newest_whole_training_counts(project: Path) -> None:
    assert minutes(project, "twice") == 4.5
    # A copy that `dvc exp run --temp` works in belongs to the project around it.
    assert minutes(project.joinpath(".dvc", "tmp", "exps", "abc"), "twice") == 4.5
    assert minutes(project, "twice", uri="") == 4.5
    # A run that a server missed is in the local store.
    assert minutes(project, "twice", uri="sqlite:///server.db") == 4.5


@pytest.mark.slow
def test_teaching_counts(project: Path) -> None:
    assert minutes(project, "taught") == 2 + 4.5 + 8


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["resumed", "unlogged", "half taught", "other", None])
def test_no_answer_is_better_than_a_wrong_one(project: Path, weights: str | None) -> None:
    assert minutes(project, weights) is None


def test_without_a_store_nothing_is_made(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert minutes(tmp_path, "twice") is None
    assert minutes(tmp_path, "twice", backend="none") is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").write_bytes(b"no database at all, but long enough to be looked at" * 40)
    assert minutes(tmp_path, "twice") is None
    assert capfd.readouterr().err.startswith("warning: no training time from sqlite:///")
