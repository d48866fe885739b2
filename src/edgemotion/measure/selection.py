"""Measurements of all variants and a device budget in; the champion and a reason for every other variant out."""

from collections.abc import Mapping
from typing import Any

from edgemotion.errors import EdgemotionError

# For each ranking: the unit, its number of digits, the word for losing, and whether less is better.
RANKINGS = {
    "p50_ms": ("ms", 2, "slower", True),
    "size_bytes": ("bytes", 0, "larger", True),
    "top1": ("top-1 on val", 3, "less accurate", False),
}


def select(
    evaluations: Mapping[str, Mapping[str, Any]],
    profiles: Mapping[str, Mapping[str, Any]],
    infos: Mapping[str, Mapping[str, Any]],
    *,
    device: str,
    max_size_mb: float,
    max_p95_ratio: float,
    max_accuracy_drop: float,
    rank_by: str,
) -> dict[str, Any]:
    """Gate every variant against the budget and fp32, and rank those that pass.

    All mappings go from the variant's name to its evaluation, profile and model_info; accuracy is that of the val
    split, so that the test split chooses nothing. `champion` is None when no variant passes.
    Raises EdgemotionError for an unknown `rank_by`.
    """
    if rank_by not in RANKINGS:
        raise EdgemotionError(f"select.rank_by is {rank_by!r}; choose one of {', '.join(RANKINGS)}")
    gates = {
        name: {
            "size_mb": gate(infos[name]["size_bytes"] / 1e6, max_size_mb),
            "p95_ratio": gate(profiles[name]["p95_ms"] / profiles["fp32"]["p95_ms"], max_p95_ratio),
            "accuracy_drop": gate(
                evaluations["fp32"]["val"]["top1"] - evaluations[name]["val"]["top1"], max_accuracy_drop
            ),
        }
        for name in evaluations
    }
    figures = {
        name: {
            "p50_ms": profiles[name]["p50_ms"],
            "size_bytes": infos[name]["size_bytes"],
            "top1": evaluation["val"]["top1"],
        }
        for name, evaluation in evaluations.items()
    }
    sign = 1 if RANKINGS[rank_by][3] else -1
    passing = [name for name in evaluations if all(entry["passed"] for entry in gates[name].values())]
    order = sorted(passing, key=lambda name: (sign * figures[name][rank_by], name))
    return {
        "champion": order[0] if order else None,
        "device": device,
        "budget": {
            "max_size_mb": max_size_mb,
            "max_p95_ratio": max_p95_ratio,
            "max_accuracy_drop": max_accuracy_drop,
            "rank_by": rank_by,
        },
        "variants": {
            name: {
                "passed": name in order,
                "rank": order.index(name) + 1 if name in order else None,
                "reason": placing(name, order, {key: figures[key][rank_by] for key in order}, rank_by)
                if name in order
                else failing(gates[name]),
                "gates": gates[name],
                "parity": infos[name]["parity"],
            }
            for name in evaluations
        },
    }


def gate(value: float, limit: float) -> dict[str, Any]:
    """Compare at six digits, so that 0.75 - 0.74 keeps a limit of 0.01."""
    return {"value": round(value, 6), "limit": limit, "passed": round(value, 6) <= limit}


def failing(gates: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which gates a variant fails, with value and limit."""
    sentences = {
        "size_mb": "{} MB, limit {}",
        "p95_ratio": "p95 {} of fp32's, limit {}",
        "accuracy_drop": "loses {} of top-1 on val, limit {}",
    }
    return "; ".join(
        sentence.format(*distinct(gates[name]["value"], gates[name]["limit"], 2))
        for name, sentence in sentences.items()
        if not gates[name]["passed"]
    )


def placing(name: str, order: list[str], figures: Mapping[str, float], rank_by: str) -> str:
    """Say why a passing variant wins or loses against the first."""
    unit, digits, worse, _ = RANKINGS[rank_by]
    if name == order[0]:
        return f"passes all gates, best of {len(order)} by {rank_by} ({figures[name]:.{digits}f} {unit})"
    if figures[name] == figures[order[0]]:
        return f"passes, but only equals {order[0]} in {rank_by} and comes after it by name"
    own, best = distinct(figures[name], figures[order[0]], digits)
    return f"passes, but {worse} than {order[0]} ({own} against {best} {unit})"


def distinct(first: float, second: float, digits: int) -> tuple[str, str]:
    """Write two different numbers with as many digits as it takes to tell them apart."""
    while digits < 6 and f"{first:.{digits}f}" == f"{second:.{digits}f}":
        digits += 1
    return f"{first:.{digits}f}", f"{second:.{digits}f}"


def verdict(selection: Mapping[str, Any]) -> str:
    """One sentence: the winner and why, or every variant's failing gates when nothing keeps the budget."""
    champion = selection["champion"]
    if champion is not None:
        return f"{champion}, {selection['variants'][champion]['reason']}"
    reasons = "; ".join(f"{name}: {entry['reason']}" for name, entry in selection["variants"].items())
    return f"no variant keeps the budget of select.device {selection['device']!r} ({reasons})"
