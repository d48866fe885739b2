"""Calls of several variants in, their interleaved times and the figures drawn from them out."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgemotion.errors import EdgemotionError
from edgemotion.measure.statistics import bootstrap_ratio

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PERCENTILES = (50, 90, 95, 99)


@contextmanager
def pinned(cores: int) -> Iterator[None]:
    """Keep this process and its children on as many cores as there are threads, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = sorted(os.sched_getaffinity(0))
    if cores > len(allowed):
        raise EdgemotionError(f"profile.threads is {cores}, but this process has {len(allowed)} cores; lower it")
    # The first core serves most interrupts.
    os.sched_setaffinity(0, allowed[-cores:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def runner(session: "InferenceSession") -> Callable[[np.ndarray], object]:
    """Make a call that classifies one batch, uint8 [N,H,W,C]."""
    return lambda batch: session.run(None, {"images": batch})


def interleave(
    calls: Mapping[str, Callable[[np.ndarray], object]], batches: Sequence[np.ndarray], rounds: int, warmup: int
) -> dict[str, np.ndarray]:
    """Time every call once a round, on the round's batch; nanoseconds int64 [rounds] by name.

    Every round has an order of its own, drawn from a fixed seed: a call is slower after one that emptied the caches,
    so each must follow every other equally often. An order that only rotates would keep the neighbours.
    """
    names = list(calls)
    orders = np.random.default_rng(0)
    times = {name: np.zeros(warmup + rounds, np.int64) for name in names}
    for index in range(warmup + rounds):
        batch = batches[index % len(batches)]
        for name in orders.permutation(names).tolist():
            start = time.perf_counter_ns()
            calls[name](batch)
            times[name][index] = time.perf_counter_ns() - start
    return {name: measured[warmup:] for name, measured in times.items()}


def cut(images: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut images [N,...] into batches of `size`; fewer images than that are repeated to fill one."""
    if len(images) < size:
        images = np.resize(images, (size, *images.shape[1:]))
    return [images[start : start + size] for start in range(0, len(images) - size + 1, size)]


def percentiles(times: np.ndarray) -> dict[str, float]:
    """p50_ms to p99_ms of nanoseconds [rounds]."""
    return {f"p{share}_ms": round(float(np.percentile(times, share)) / 1e6, 6) for share in PERCENTILES}


def throughput(times: np.ndarray, size: int) -> float:
    """Images a second at batches of `size`, from the median of nanoseconds [rounds]."""
    return round(size / (float(np.median(times)) / 1e9), 3)


def speedup(reference: np.ndarray, times: np.ndarray, seed: int) -> dict[str, Any]:
    """How many times faster the median is than the reference's, both [rounds] of one run, with its 95 % interval."""
    return {
        "speedup": round(float(np.median(reference) / np.median(times)), 6),
        "speedup_ci": bootstrap_ratio(reference, times, seed),
    }
