"""A dvc.lock and the settings beside it in; what shows that they are of different runs out."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

# The section of the settings whose items a stage is repeated over; the others are repeated over the variants.
REPEATED = {"prune": "prune", "export": "networks", "quantize": "quantize"}


def parse_yaml(text: str) -> Any:
    """Parse with the loader of the settings, which reads 1e-05 as a number in every file."""
    return OmegaConf.to_container(OmegaConf.create(text))


def contradiction(lock: Mapping[str, Any], params: Mapping[str, Any]) -> str | None:
    """Say why a lock is not the record of one whole run with these settings; None when it is.

    Every stage must have run with the settings as they are, with the files that other stages recorded as theirs, and
    with the same code and data as the others.
    """
    stages = dict(current(lock, params))
    if "report" not in stages:
        return "dvc.lock has no stage 'report'"
    made = {out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs", [])}
    read: dict[str, tuple[str, Any]] = {}
    for name, stage in stages.items():
        for key, recorded in stage.get("params", {}).get("params.yaml", {}).items():
            if lookup(params, key) != recorded:
                return f"dvc.lock ran {name} with another {key} than params.yaml has"
        for dep in stage.get("deps", []):
            if made.get(dep["path"], dep.get("md5")) != dep.get("md5"):
                return f"dvc.lock ran {name} with another {dep['path']} than was made last"
            other, digest = read.setdefault(dep["path"], (name, dep.get("md5")))
            if digest != dep.get("md5"):
                return f"dvc.lock ran {name} with another {dep['path']} than {other}"
    return None


def current(lock: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The recorded stages that the settings still have; DVC keeps the records of variants that are gone."""
    for name, stage in lock["stages"].items():
        kind, _, item = name.partition("@")
        if not item or item in (params.get(REPEATED.get(kind, "variants")) or ()):
            yield name, stage


def lookup(params: Any, key: str) -> Any:
    """A dotted key of nested mappings; None when it is not there."""
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params
