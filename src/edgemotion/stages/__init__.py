"""One file a DVC stage: read files, call plain functions, write files."""

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import hydra
from hydra.conf import HydraConf, JobConf, RunDir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from edgemotion.errors import EdgemotionError
from edgemotion.settings import Settings, load, parse

# A stage owns only the outputs that dvc.yaml lists: Hydra writes no folder, no log, and stays where it is.
QUIET = HydraConf(
    defaults=[{"job_logging": "stdout"}, {"hydra_logging": "none"}, "_self_"],
    run=RunDir(dir="."),
    output_subdir=None,
    job=JobConf(chdir=False),
)

Entry = TypeVar("Entry")


def stage(run: Callable[[Settings], None]) -> Callable[[], None]:
    """Make `run(settings)` a Hydra entrypoint over ./params.yaml that ends a bad input in one line, exit code 1.

    The configuration folder is the working directory, not this file's: `dvc exp run --temp` works on a copy,
    and a path relative to an installed source file would read the settings of the other checkout.
    """
    ConfigStore.instance().store(group="hydra", name="config", node=QUIET, provider="edgemotion")

    @hydra.main(config_path=str(Path.cwd()), config_name="params", version_base="1.3")
    @functools.wraps(run)
    def entrypoint(config: DictConfig) -> None:
        try:
            run(load(config))
        except EdgemotionError as error:
            sys.exit(f"error: {error}")

    @functools.wraps(run)
    def readable() -> None:
        # Hydra answers a missing or malformed file with many lines.
        try:
            parse()
        except EdgemotionError as error:
            sys.exit(f"error: {error}")
        entrypoint()

    return readable


def pick(entries: Mapping[str, Entry], item: str) -> Entry:
    """The entry that the stage's `+item=` names; EdgemotionError where it is none of them."""
    if item not in entries:
        raise EdgemotionError(f"+item={item} names nothing that this stage makes; choose one of {', '.join(entries)}")
    return entries[item]
