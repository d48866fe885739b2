"""The machine in, what a latency figure must be read beside out."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgemotion.cpu import read_cpu

# Of what makes a model, where it is installed.
PACKAGES = ("torch", "onnx", "dvc", "hydra-core", "mlflow")


def describe(threads: int) -> dict[str, Any]:
    """CPU model, its flags that matter for int8, threads of a session, cores of this process, and versions."""
    import numpy
    import onnxruntime

    cpu, flags = read_cpu()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": cpu or platform.processor() or platform.machine(),
        "flags": flags,
        "threads": threads,
        "cores": cores,
        "versions": {
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "numpy": numpy.__version__,
            **installed(),
        },
    }


def installed() -> dict[str, str]:
    """Versions of those of PACKAGES that are installed."""
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
