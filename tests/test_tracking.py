"""Runs in a real store: live metrics, the pipeline with its variants, a server that is down, W&B offline."""

import json
import runpy
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgemotion import tracking
from edgemotion.errors import EdgemotionError
from edgemotion.settings import Settings

write_run = runpy.run_path(str(Path(__file__).parent / "report/sample_run.py"))["write_run"]
SUMMARY = {
    "dataset": "synthetic",
    "network": "compact",
    "champion": "int8_static",
    "variants": {
        name: {
            "top1": top1,
            "top1_leak_free": None,
            "macro_f1": 0.7,
            "ece": 0.02,
            "size_bytes": 500_000,
            "macs": 43_000_000,
            "p50_ms": 0.3,
            "p99_ms": 0.4,
            "speedup": 2.0,
            "robust": {"gaussian_0.10": 0.6},
            "temporal": {"raw": {"top1": 0.7}, "smoothed": {"top1": 0.8}},
        }
        for name, top1 in (("fp32", 0.72), ("int8_static", 0.71))
    },
}
TAGS = {"champion": "int8_static", "data_sha256": "d" * 64, "network_sha256": "w" * 64, "git_commit": "c" * 40}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def settings(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a project in the working directory; the environment is put back afterwards."""
    with monkeypatch.context() as patch:
        for name in (*tracking.QUIET, "WANDB_MODE", "WANDB_API_KEY"):
            patch.setenv(name, "")
            patch.delenv(name)
        patch.setenv("HOME", str(tmp_path / "home"))
        settings = write_run(tmp_path / "project", tracking="mlflow")
        shutil.copyfile(empty_store, tmp_path / "project/mlflow.db")
        patch.chdir(tmp_path / "project")
        yield settings


def local_store() -> Any:
    """A client of the project's store; MLflow would take a relative address for the same store in every folder."""
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def runs_of(settings: Settings) -> dict[str, Any]:
    """The runs of the experiment by name."""
    client = local_store()
    experiment = client.get_experiment_by_name(settings.tracking.experiment)
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def train(settings: Settings, weights: str = "w" * 64) -> None:
    with tracking.training_run(settings) as run:
        for epoch in range(3):
            run.log({"train_loss": 2.0 - epoch, "val_top1": 0.3 + 0.1 * epoch}, step=epoch)
        run.tag("weights_sha256", weights)


def test_pipeline_is_the_parent_of_variants_and_training(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    train(settings)
    Path("page.html").write_text("page")
    tracking.log_pipeline(settings, SUMMARY, TAGS, [Path("page.html")])
    runs = runs_of(settings)
    assert set(runs) == {"train", "pipeline", "fp32", "int8_static"}
    parent = runs.pop("pipeline")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert {run.info.status for run in [parent, *runs.values()]} == {"FINISHED"}
    assert parent.data.tags.items() >= TAGS.items()
    assert parent.data.metrics["top1"] == 0.71
    assert parent.data.params["data.name"] == "synthetic"
    assert parent.inputs.dataset_inputs[0].dataset.name == "synthetic"
    assert runs["fp32"].data.metrics["robust_gaussian_0.10"] == 0.6
    assert runs["fp32"].data.metrics["temporal_smoothed_top1"] == 0.8
    assert "top1_leak_free" not in runs["fp32"].data.metrics
    assert runs["train"].data.metrics == {"train_loss": 0.0, "val_top1": 0.5}
    assert list(Path("mlruns").rglob("page.html"))
    assert capfd.readouterr().err == ""


def test_what_mlflow_cannot_name_is_kept_all_the_same(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    settings.ablation.rows["mixup 0.2, no EMA"] = {"train.mixup": 0.2}
    variant = SUMMARY["variants"]["fp32"] | {"robust": {"noise 10 %": 0.6}}
    tracking.log_pipeline(settings, SUMMARY | {"champion": None, "variants": {"fp32": variant}}, TAGS, [])
    runs = runs_of(settings)
    assert json.loads(runs["pipeline"].data.params["ablation.rows"])["mixup 0.2, no EMA"] == {"train.mixup": 0.2}
    assert runs["fp32"].data.metrics["robust_noise 10 _"] == 0.6
    assert capfd.readouterr().err == ""


def test_metrics_stand_there_while_the_run_goes_on(settings: Settings) -> None:
    with pytest.raises(RuntimeError, match="out of memory"), tracking.training_run(settings) as run:
        run.log({"train_loss": 1.5}, step=0)
        live = runs_of(settings)["train"]
        assert (live.info.status, live.data.metrics) == ("RUNNING", {"train_loss": 1.5})
        raise RuntimeError("out of memory")
    assert runs_of(settings)["train"].info.status == "FAILED"


def test_server_down_keeps_the_run_locally(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    settings.tracking.uri = "http://user:p@secret@127.0.0.1:9"
    train(settings)
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("warning: tracking at http://127.0.0.1:9 failed (")
    assert "secret" not in error
    assert "the run is kept in sqlite:///" in error
    assert runs_of(settings)["train"].data.metrics == {"train_loss": 0.0, "val_top1": 0.5}


def test_store_that_fails_in_mid_run_loses_nothing(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile("mlflow.db", "other.db")
    settings.tracking.uri = "sqlite:///other.db"
    with tracking.training_run(settings) as run:
        run.log({"loss": 3.0}, step=0)
        run.client.delete_run(run.run)  # type: ignore[attr-defined]
        run.log({"loss": 2.0}, step=1)
        run.log({"loss": 1.0}, step=2)
    assert capfd.readouterr().err.count("warning: ") == 1
    kept = runs_of(settings)["train"].info.run_id
    history = local_store().get_metric_history(kept, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_no_store_at_all_does_not_stop_the_work(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    Path("mlflow.db").write_text("no database")
    train(settings)
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "the work goes on untracked" in error


@pytest.mark.slow
def test_silent_server_is_given_up_after_seconds(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=server.listen, daemon=True).start()
        settings.tracking.uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        train(settings)
    assert "the run is kept in sqlite:///" in capfd.readouterr().err


def test_temporary_copy_of_dvc_logs_to_the_project(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "project/.dvc/tmp/exps/standalone/tmpab12"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    train(settings)
    assert list(copy.iterdir()) == []
    monkeypatch.chdir(tmp_path / "project")
    assert set(runs_of(settings)) == {"train"}


@pytest.mark.parametrize(
    ("uri", "stores"),
    [
        ("", ["sqlite:////root/mlflow.db"]),
        ("sqlite:///mlflow.db", ["sqlite:////root/mlflow.db"]),
        ("sqlite:///a/b.db", ["sqlite:////root/a/b.db", "sqlite:////root/mlflow.db"]),
        ("sqlite:////abs/b.db", ["sqlite:////abs/b.db", "sqlite:////root/mlflow.db"]),
        ("http://host:5000", ["http://host:5000", "sqlite:////root/mlflow.db"]),
    ],
)
def test_a_store_is_followed_by_the_local_one(uri: str, stores: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.store_uris(uri, Path("/root")) == stores
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking.store_uris("", Path("/root")) == stores


def test_the_address_in_the_environment_goes_before_the_settings(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile("mlflow.db", "team.db")
    Path("mlflow.db").unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///team.db")
    train(settings)
    assert not Path("mlflow.db").exists()
    Path("team.db").rename("mlflow.db")
    assert runs_of(settings)["train"].data.metrics == {"train_loss": 0.0, "val_top1": 0.5}


def test_parameters_are_flat_text(settings: Settings) -> None:
    flat = tracking.parameters(settings)
    assert flat["train.augment.flip"] == "true"
    assert flat["quantize.pruned_int8.parent"] == "pruned"
    assert json.loads(flat["variants"]) == settings.variants
    assert all(isinstance(value, str) for value in flat.values())


def test_backend_none_and_an_unknown_one(settings: Settings) -> None:
    settings.tracking.backend = "none"
    Path("mlflow.db").unlink()
    train(settings)
    assert not Path("mlflow.db").exists()
    settings.tracking.backend = "notebook"
    with pytest.raises(EdgemotionError, match=r"tracking\.backend is 'notebook'"):
        train(settings)


@pytest.mark.slow
def test_wandb_offline_needs_no_account(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    settings.tracking.backend = "wandb"
    train(settings)
    Path("page.html").write_text("page")
    tracking.log_pipeline(settings, SUMMARY, TAGS, [Path("page.html")])
    assert "kept offline in wandb/" in capfd.readouterr().err
    assert len(list(Path("wandb").glob("offline-run-*/*.wandb"))) == 2
