"""The machine in, what a latency figure must be read beside out."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# The instructions that decide how fast int8 is: without the dot products it may lose to fp32.
FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx_vnni_int8",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)


# Of what makes a model, where it is installed.
PACKAGES = ("torch", "onnx", "dvc", "hydra-core", "mlflow")


def describe(threads: int) -> dict[str, Any]:
    """CPU model, its flags that matter for int8, threads of a session, cores of this process, and versions."""
    import numpy
    import onnxruntime

    source = Path("/proc/cpuinfo")
    cpu, flags = read_cpuinfo(source.read_text() if source.is_file() else "")
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


def read_cpuinfo(text: str) -> tuple[str, list[str]]:
    """The CPU model and its flags among FLAGS from the text of /proc/cpuinfo; empty where it says nothing."""
    lines = [line.partition(":") for line in text.splitlines()]
    pairs = [(key.strip(), value.strip()) for key, _, value in lines]
    # An x86 file names the model first; a Raspberry Pi has a board "Model" at the end and "model name" on 32 bit only.
    cpu = next((value for wanted in ("model name", "Model") for key, value in pairs if key == wanted), "")
    present = {flag for key, value in pairs if key in ("flags", "Features") for flag in value.split()}
    return cpu, [flag for flag in FLAGS if flag in present]
