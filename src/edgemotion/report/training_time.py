"""The digest of trained weights and a tracking store in; how long their training took out."""

import logging
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemotion.tracking import QUIET, brief, project_root, store_uris, warn

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def training_minutes(tracking: Mapping[str, Any], weights_sha256: str | None, root: Path | str = ".") -> float | None:
    """Wall-clock minutes of the newest finished run in MLflow that trained these weights from its first epoch on.

    The trainings of its teachers count too. `tracking` is that section of a run's settings. None where one of these
    runs is missing: it was tracked elsewhere or not at all, or it was killed and went on in a second run, whose time
    is a part only.
    """
    if tracking.get("backend") != "mlflow" or not weights_sha256:
        return None
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    for uri in store_uris(tracking.get("uri") or "", project_root(Path(root))):
        try:
            minutes = find(uri, weights_sha256)
        except Exception as error:
            warn(f"no training time from {uri} ({brief(error)})")
            continue
        if minutes is not None:
            return minutes
    return None


def find(uri: str, weights_sha256: str) -> float | None:
    database = uri.removeprefix("sqlite:///")
    if database != uri:
        # MLflow would create a database that is not there, and tries for minutes to open one that is none.
        if not Path(database).is_file():
            return None
        with closing(sqlite3.connect(database)) as store:
            store.execute("SELECT 1 FROM runs LIMIT 1")

    from mlflow import MlflowClient

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    client = MlflowClient(uri)
    places = [experiment.experiment_id for experiment in client.search_experiments()]
    minutes, waiting = 0.0, [weights_sha256]
    while waiting:
        run = newest_whole(client, places, waiting.pop())
        if run is None:
            return None
        minutes += (run.info.end_time - run.info.start_time) / 60_000
        waiting += run.data.tags.get("teachers_sha256", "").split()
    return minutes


def newest_whole(client: "MlflowClient", places: list[str], weights_sha256: str) -> "Run | None":
    """The newest finished run that trained these weights and logged its first epoch."""
    query = f"tags.weights_sha256 = '{weights_sha256}' and attributes.status = 'FINISHED'"
    for run in client.search_runs(places, query, order_by=["attributes.start_time DESC"]):
        measured = [metric for metric in sorted(run.data.metrics) if not metric.startswith("system/")]
        steps = [entry.step for entry in client.get_metric_history(run.info.run_id, measured[0])] if measured else []
        if steps and min(steps) == 1:
            return run
    return None
