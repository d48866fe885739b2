"""One file a DVC stage: read files, call plain functions, write files."""

import argparse
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import hydra
from hydra.conf import HelpConf, HydraConf, HydraHelpConf, JobConf, RunDir, SweepDir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from edgemotion.errors import EdgemotionError
from edgemotion.settings import Settings, load, parse

# A stage owns only the outputs that dvc.yaml lists: Hydra writes no folder, no log, and stays where it is.
QUIET = HydraConf(
    defaults=[
        {"launcher": "basic"},
        {"sweeper": "basic"},
        {"job_logging": "stdout"},
        {"hydra_logging": "none"},
        "_self_",
    ],
    run=RunDir(dir="."),
    sweep=SweepDir(dir="multirun", subdir="${hydra.job.num}"),
    hydra_help=HydraHelpConf(template="$FLAGS_HELP"),
    output_subdir=None,
    job=JobConf(chdir=False),
)

if sys.version_info >= (3, 14):
    # Hydra 1.3 has a help text that is no string, which argparse refuses from there on (hydra-ecosystem/hydra#3121).
    argparse.ArgumentParser._check_help = lambda *_: None

HELP = """{about}

Settings of params.yaml, each of which `key=value` replaces in this run; `--hydra-help` lists the options.

$CONFIG"""

Entry = TypeVar("Entry")


def stage(run: Callable[[Settings], None]) -> Callable[[], None]:
    """Make `run(settings)` a Hydra entrypoint over ./params.yaml that ends a bad input in one line, exit code 1.

    The configuration folder is the working directory, not this file's: `dvc exp run --temp` works on a copy,
    and a path relative to an installed source file would read the settings of the other checkout.
    """
    node = replace(QUIET, help=HelpConf(template=HELP.format(about=sys.modules[run.__module__].__doc__)))
    ConfigStore.instance().store(group="hydra", name="config", node=node, provider="edgemotion")

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
