"""Metrics, settings and files of a pipeline run in; runs of MLflow or Weights & Biases out.

Tracking only reads: whatever fails here is one line on stderr, and the work goes on.
"""

import dataclasses
import json
import logging
import netrc
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from edgemotion.errors import EdgemotionError, first_line
from edgemotion.settings import Settings, Tracking

Files = Sequence[Path | str]
Texts = Mapping[str, str]
EMPTY: Texts = {}
# What MLflow takes in no name of a parameter or a metric.
UNNAMEABLE = re.compile(r"[^\w. :/-]")
# Set before the import of a backend, which is when they are read; what the user has set stays.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "WANDB_ERROR_REPORTING": "false",
}


class TrainingRun:
    """The run of the backend `none`, which keeps nothing; the other backends override it."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log the metrics of one epoch."""

    def tag(self, key: str, value: str) -> None:
        """Attach a text to the run."""

    def pipeline(self, summary: Mapping[str, Any], tags: Texts, files: Files) -> None:
        """Log all variants of a summary.json and the champion's files."""

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""


@contextmanager
def training_run(settings: Settings, name: str = "train") -> Iterator[TrainingRun]:
    """Open a run with the settings as its parameters; an error in the body ends it as FAILED and is raised again."""
    run = open_run(settings, name)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        run.end(status)


def open_run(settings: Settings, name: str) -> TrainingRun:
    """Choose the run of settings.tracking.backend."""
    os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})
    match settings.tracking.backend:
        case "mlflow":
            return MlflowRun(settings.tracking, name, parameters(settings))
        case "wandb":
            return WandbRun(settings.tracking, name, parameters(settings))
        case "none":
            return TrainingRun()
    raise EdgemotionError(f"tracking.backend is {settings.tracking.backend!r}; choose one of mlflow, wandb, none")


def log_pipeline(settings: Settings, summary: Mapping[str, Any], tags: Texts, files: Files) -> None:
    """Log a finished pipeline: one parent run with `tags` and `files`, and one nested run a variant of summary.json.

    The newest training run with the tag weights_sha256 equal to `tags["network_sha256"]` becomes a nested run too.
    """
    with training_run(settings, "pipeline") as run:
        run.pipeline(summary, tags, files)


class MlflowRun(TrainingRun):
    """A run in the configured store; when that fails, all of it so far moves to the local store, then to nowhere."""

    def __init__(self, tracking: Tracking, name: str, params: Texts) -> None:
        root = project_root(Path.cwd())
        self.stores = store_uris(tracking.uri, root)
        self.artifacts = (root / "mlruns").as_uri()
        self.experiment, self.name, self.params = tracking.experiment, name, dict(params)
        self.tags: dict[str, str] = {}
        self.metrics: list[Any] = []
        self.client: Any = None
        self.attempt(lambda: None)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        rows = points(metrics, step)
        self.attempt(lambda: self.write(metrics=rows))
        self.metrics += rows

    def tag(self, key: str, value: str) -> None:
        self.attempt(lambda: self.write(tags={key: value}))
        self.tags[key] = value

    def end(self, status: str) -> None:
        self.attempt(lambda: self.client.set_terminated(self.run, status))

    def pipeline(self, summary: Mapping[str, Any], tags: Texts, files: Files) -> None:
        self.attempt(lambda: self.write_pipeline(summary, tags, files))

    def attempt(self, action: Callable[[], None]) -> None:
        """Do `action` in the first store that works; a store that fails is named once and left for good."""
        while self.stores:
            try:
                if self.client is None:
                    self.connect(self.stores[0])
                return action()
            except Exception as error:
                failed, self.client = self.stores.pop(0), None
                rest = f"the run is kept in {self.stores[0]}" if self.stores else "the work goes on untracked"
                warn(f"tracking at {failed} failed ({brief(error)}); {rest}")

    def connect(self, uri: str) -> None:
        """Create the run in a store and repeat there what has been logged so far."""
        from mlflow import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        if uri.startswith("sqlite:///"):
            # MLflow tries for minutes to open a database that cannot be opened.
            with closing(sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=30)) as database:
                database.execute("BEGIN IMMEDIATE")
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(self.experiment)
        # The copy that `dvc exp run --temp` works in is deleted afterwards, so files stand beside the database.
        place = self.artifacts if uri.startswith("sqlite:") else None
        self.experiment_id = found.experiment_id if found else client.create_experiment(self.experiment, place)
        self.run = client.create_run(self.experiment_id, run_name=self.name).info.run_id
        self.client = client
        self.write(params=self.params, tags=self.tags, metrics=self.metrics)

    def write(self, run: str = "", metrics: Sequence[Any] = (), params: Texts = EMPTY, tags: Texts = EMPTY) -> None:
        """Write to a run (default: this one), at most 100 of each a request, which is the limit for parameters."""
        from mlflow.entities import Metric, Param, RunTag

        values = [Metric(*row) for row in metrics]
        rows = [Param(key, value) for key, value in params.items()]
        labels = [RunTag(key, value) for key, value in tags.items()]
        for start in range(0, max(len(values), len(rows), len(labels)), 100):
            part = slice(start, start + 100)
            self.client.log_batch(run or self.run, values[part], rows[part], labels[part])

    def write_pipeline(self, summary: Mapping[str, Any], tags: Texts, files: Files) -> None:
        from mlflow.entities import Dataset, DatasetInput

        variants = summary["variants"]
        self.write(tags=tags, metrics=points(flat_metrics(variants[summary["champion"] or "fp32"])))
        data = Dataset(summary["dataset"], tags["data_sha256"][:36], "local", f"data/raw/{summary['dataset']}.zip")
        self.client.log_inputs(self.run, datasets=[DatasetInput(data)])
        for name, variant in variants.items():
            child = self.client.create_run(
                self.experiment_id, run_name=name, tags={"mlflow.parentRunId": self.run, "variant": name}
            ).info.run_id
            self.write(child, metrics=points(flat_metrics(variant)))
            self.client.set_terminated(child)
        for path in files:
            self.client.log_artifact(self.run, str(path))
        if weights := tags.get("network_sha256"):
            query, newest = f"tags.weights_sha256 = '{weights}'", ["attributes.start_time DESC"]
            for trained in self.client.search_runs([self.experiment_id], query, order_by=newest, max_results=1):
                self.client.set_tag(trained.info.run_id, "mlflow.parentRunId", self.run)


class WandbRun(TrainingRun):
    """A run of Weights & Biases, offline when there is neither a key nor a WANDB_MODE; it holds all variants."""

    def __init__(self, tracking: Tracking, name: str, params: Texts) -> None:
        if tracking.uri:
            os.environ["WANDB_BASE_URL"] = tracking.uri
        if "WANDB_MODE" not in os.environ and not wandb_key():
            os.environ["WANDB_MODE"] = "offline"
            warn("no W&B key found: the run is kept offline in wandb/; upload it with `wandb sync`")
        self.run: Any = None
        place = str(project_root(Path.cwd()))
        # An unreachable server leaves the run offline.
        for mode in (None, "offline"):
            try:
                import wandb

                quiet = wandb.Settings(silent=True, console="off", init_timeout=20, x_disable_stats=True)
                self.run = wandb.init(
                    project=tracking.experiment, name=name, config=dict(params), dir=place, mode=mode, settings=quiet
                )
                return
            except Exception as error:
                rest = "the run is kept offline" if mode is None else "the work goes on untracked"
                warn(f"W&B failed ({brief(error)}); {rest}")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.attempt(lambda: self.run.log(dict(metrics), step=step))

    def tag(self, key: str, value: str) -> None:
        self.attempt(lambda: self.run.config.update({key: value}, allow_val_change=True))

    def end(self, status: str) -> None:
        self.attempt(lambda: self.run.finish(exit_code=0 if status == "FINISHED" else 1))

    def pipeline(self, summary: Mapping[str, Any], tags: Texts, files: Files) -> None:
        self.attempt(lambda: self.write_pipeline(summary, tags, files))

    def attempt(self, action: Callable[[], Any]) -> None:
        if self.run is not None:
            try:
                action()
            except Exception as error:
                self.run = None
                warn(f"W&B failed ({brief(error)}); the work goes on untracked")

    def write_pipeline(self, summary: Mapping[str, Any], tags: Texts, files: Files) -> None:
        import wandb

        self.run.config.update(dict(tags))
        for name, variant in summary["variants"].items():
            self.run.summary.update({f"{name}/{key}": value for key, value in flat_metrics(variant).items()})
        artifact = wandb.Artifact("champion", type="model", metadata=dict(tags))
        for path in files:
            artifact.add_file(str(path))
        self.run.log_artifact(artifact)


def warn(message: str) -> None:
    """Print one line on stderr, without the user and password of an address."""
    print("warning:", re.sub(r"//[^/\s]*@", "//", message), file=sys.stderr)


def brief(error: Exception) -> str:
    """The first line of an error, shortened."""
    return first_line(error)[:120]


def wandb_key() -> bool:
    """Whether W&B would find an account without asking."""
    if "WANDB_API_KEY" in os.environ:
        return True
    with suppress(OSError, netrc.NetrcParseError):
        return any("wandb" in host for host in netrc.netrc().hosts)
    return False


def project_root(folder: Path) -> Path:
    """The project that a working folder belongs to; a copy in <root>/.dvc/tmp/exps/ belongs to <root>."""
    parts = folder.resolve().parts
    for end in range(len(parts) - 2):
        if parts[end : end + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:end])
    return folder.resolve()


def store_uris(uri: str, root: Path) -> list[str]:
    """The MLflow stores that a run may be in: MLFLOW_TRACKING_URI or else `uri`, then the local one of the project.

    A relative sqlite path starts at the project's root.
    """
    local = f"sqlite:///{root / 'mlflow.db'}"
    chosen = os.environ.get("MLFLOW_TRACKING_URI") or uri or local
    path = chosen.removeprefix("sqlite:///")
    if path != chosen:
        chosen = f"sqlite:///{root / path}"
    return list(dict.fromkeys([chosen, local]))


def parameters(settings: Settings) -> dict[str, str]:
    """Flatten settings to dotted keys; a list, or a dict with keys that MLflow refuses, becomes one JSON value."""

    def walk(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict) and value and not any(UNNAMEABLE.search(key) for key in value):
            for key, inner in value.items():
                yield from walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            yield prefix, value if isinstance(value, str) else json.dumps(value)

    return dict(walk("", dataclasses.asdict(settings)))


def points(metrics: Mapping[str, float], step: int = 0) -> list[tuple[str, float, int, int]]:
    """Metrics as MLflow keeps them: name, value, milliseconds, step."""
    now = int(time.time() * 1000)
    return [(key, float(value), now, step) for key, value in metrics.items()]


def flat_metrics(variant: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one variant of summary.json under one name each."""
    single = ("top1", "top1_leak_free", "macro_f1", "ece", "size_bytes", "macs", "p50_ms", "p99_ms", "speedup")
    metrics = {key: variant[key] for key in single}
    metrics |= {f"robust_{UNNAMEABLE.sub('_', scenario)}": top1 for scenario, top1 in variant["robust"].items()}
    for kind, part in variant["temporal"].items():
        metrics |= {f"temporal_{kind}_{key}": value for key, value in part.items()}
    return {key: value for key, value in metrics.items() if value is not None}
