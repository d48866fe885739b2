"""The machine in, what a latency figure and a model's bytes must be read beside out."""

import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgemotion.cpu import read_cpu

# Where they are installed: a device that only runs a model has few of them.
MAKERS = ("torch", "torchvision", "torch-pruning", "onnx", "onnxscript")
# Where they are loaded: an extra that a model did without changes no byte of its record by being installed.
EXTRAS = ("ultralytics",)
TOOLS = ("dvc", "hydra-core", "mlflow")


def describe(threads: int) -> dict[str, Any]:
    """What made_with tells, versions of the tools too, threads of a session and cores of this process."""
    made = made_with()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {**made["versions"], **installed(TOOLS)}
    return {**made, "threads": threads, "cores": cores, "versions": versions}


def made_with() -> dict[str, Any]:
    """CPU model, its flags that matter for int8, and versions: with others the same settings may give other bytes."""
    import numpy
    import onnxruntime

    cpu, flags = read_cpu()
    return {
        "cpu": cpu or platform.processor() or platform.machine(),
        "flags": flags,
        "versions": {
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "numpy": numpy.__version__,
            **installed(MAKERS),
            **installed(name for name in EXTRAS if name in sys.modules),
        },
    }


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    versions = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
