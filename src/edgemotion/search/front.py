"""Measured trials in; the Pareto front, how the device budget judges it and the variants to keep of it, out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from edgemotion.measure.selection import select
from edgemotion.search.networks import FP32
from edgemotion.settings import Prune, Quantize, Select

# What a trial is better in, each with the sign that makes less of it better.
OBJECTIVES = {"top1": -1, "p50_ratio": 1, "size_bytes": 1}
Row = dict[str, Any]


def costs(row: Mapping[str, Any]) -> list[float]:
    """The objectives of a row, less being better."""
    return [sign * row[key] for key, sign in OBJECTIVES.items()]


def dominates(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether a row is as good as another in all objectives and better in one."""
    pairs = list(zip(costs(first), costs(second), strict=True))
    return all(own <= other for own, other in pairs) and any(own < other for own, other in pairs)


def on_front(rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Mark each row that no other dominates."""
    return [not any(dominates(other, row) for other in rows) for row in rows]


def judge(rows: Sequence[Row], budget: Select) -> list[Row]:
    """The rows with `front`, and `passed`, `rank` and `reason` by the gates of select, which val alone can answer.

    One row must be that of fp32 with all layers in float; its latency is the unit, whatever its trial measured.
    """
    named = {name_of(row): row for row in rows}
    itself = {"p50_ms": 1.0, "p95_ms": 1.0, "speedup": 1.0}
    selection = select(
        {name: {"val": row} for name, row in named.items()},
        {name: itself if name == FP32 else profile(row) for name, row in named.items()},
        {
            name: {"size_bytes": row["size_bytes"], "parity": {"argmax_agreement": row["agreement"]}}
            for name, row in named.items()
        },
        **asdict(budget),
    )["variants"]
    return [
        {**row, "front": mark, **verdict(selection[name_of(row)])}
        for row, mark in zip(rows, on_front(rows), strict=True)
    ]


def name_of(row: Row) -> str:
    """What select calls a row: by its trial, but for the reference."""
    return FP32 if row["variant"] == FP32 else str(row["trial"])


def profile(row: Mapping[str, Any]) -> dict[str, float]:
    """Latency in units of fp32's, whose milliseconds differ from trial to trial."""
    return {"p50_ms": row["p50_ratio"], "p95_ms": row["p95_ratio"], "speedup": 1 / row["p50_ratio"]}


def verdict(entry: Mapping[str, Any]) -> dict[str, Any]:
    passed = entry["passed"]
    return {"passed": passed, "rank": entry["rank"], "reason": None if passed else entry["reason"]}


def keep(rows: Sequence[Row], count: int) -> list[Row]:
    """At most `count` of the judged front, by trial: those within the budget, or any where none of it is.

    The first is the one that select would choose, or the most accurate one; each further one is the farthest from
    those before it, in objectives scaled to the front's range. The fp32 variant itself is measured anyway.
    """
    front = [row for row in rows if row["front"] and row["variant"] != FP32]
    pool = [row for row in front if row["passed"]] or front
    if not pool or count < 1:
        return []
    scaled = np.array([costs(row) for row in pool])
    scaled = (scaled - scaled.min(0)) / np.maximum(np.ptp(scaled, axis=0), 1e-12)
    chosen = [min(range(len(pool)), key=lambda index: (pool[index]["rank"] or 0, -pool[index]["top1"]))]
    while len(chosen) < min(count, len(pool)):
        distance = np.linalg.norm(scaled[:, None] - scaled[chosen], axis=2).min(1)
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
    return [pool[index] for index in sorted(chosen)]


def as_chosen(float_layers: Sequence[str]) -> dict[str, Any]:
    """The arguments by which quantize keeps the layers that were chosen in float and no other, however much they lose.

    A layer more, and the stage would make another model than the one that was measured.
    """
    return {"float_layers": list(float_layers), "max_accuracy_drop": 1.0}


def compression(kept: Sequence[Row], networks: Mapping[str, Prune], quantize: Quantize) -> dict[str, Any]:
    """What a file of configs/compression/ holds, so that the pipeline makes and measures the kept variants."""
    pruned = [name for name in networks if name in {row["network"] for row in kept}]
    return {
        "prune": {name: asdict(networks[name]) for name in pruned},
        "quantize": {
            row["variant"]: {
                "method": quantize.method,
                "parent": row["network"],
                "args": {**quantize.args, **as_chosen(row["float_layers"])},
            }
            for row in kept
            if row["variant"] != row["network"]
        },
        "networks": [FP32, *pruned],
        "variants": [FP32, *(row["variant"] for row in kept)],
    }
