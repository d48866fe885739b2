"""Measurements of all variants and a device budget in; the champion and a reason for every other variant out."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from edgemotion.errors import EdgemotionError

# For each ranking: the unit, its number of digits, the word for losing, and whether less is better.
RANKINGS = {
    "p50_ms": ("ms", 2, "slower", True),
    "size_bytes": ("bytes", 0, "larger", True),
    "top1": ("top-1 on val", 3, "less accurate", False),
}


class Gate(NamedTuple):
    """What a gate looks at, on which side its limit lies, its digits, and what is said of a variant that it stops."""

    title: str
    side: str
    digits: int
    sentence: str


GATES = {
    "size_mb": Gate("size (MB)", "at most", 2, "{} MB, limit {}"),
    "p95_ratio": Gate("p95 of fp32's", "at most", 2, "p95 {} of fp32's, limit {}"),
    "speedup": Gate("speed-up of p50", "at least", 2, "{} times as fast as fp32, limit {}"),
    "accuracy_drop": Gate("top-1 lost on val", "at most", 3, "loses {} of top-1 on val, limit {}"),
    "worst_class_drop": Gate(
        "worst class's recall lost on val", "at most", 2, "loses {} recall of {class} on val, limit {}"
    ),
    "agreement": Gate(
        "agreement with its origin",
        "at least",
        3,
        "names the class of what it was made from on {} of val, limit {}",
    ),
}


def select(
    evaluations: Mapping[str, Mapping[str, Any]],
    profiles: Mapping[str, Mapping[str, Any]],
    infos: Mapping[str, Mapping[str, Any]],
    *,
    device: str,
    max_size_mb: float,
    max_p95_ratio: float,
    min_speedup: float,
    max_accuracy_drop: float,
    max_worst_class_drop: float,
    min_agreement: float,
    rank_by: str,
    tie: float,
) -> dict[str, Any]:
    """Gate every variant against the budget and fp32, and rank those that pass.

    All mappings go from the variant's name to its evaluation, profile and model_info; accuracy is that of the val
    split, so that the test split chooses nothing. Agreement is the parity of model_info: with the parent, or with torch
    for an exported network, whose pruning the accuracy gates judge. Figures of `rank_by` within a share `tie` of each
    other count as equal; then accuracy decides. `champion` is None when no variant passes.
    """
    reference = evaluations["fp32"]["val"]
    gates = {
        name: {
            "size_mb": gate(infos[name]["size_bytes"] / 1e6, max_size_mb),
            "p95_ratio": gate(profiles[name]["p95_ms"] / profiles["fp32"]["p95_ms"], max_p95_ratio),
            "speedup": gate_min(profiles[name]["speedup"], min_speedup),
            "accuracy_drop": gate(reference["top1"] - evaluation["val"]["top1"], max_accuracy_drop),
            "worst_class_drop": gate_class(
                reference["per_class"], evaluation["val"]["per_class"], max_worst_class_drop
            ),
            "agreement": gate_min(infos[name]["parity"]["argmax_agreement"], min_agreement),
        }
        for name, evaluation in evaluations.items()
    }
    figures = {
        name: {
            "p50_ms": profiles[name]["p50_ms"],
            "size_bytes": infos[name]["size_bytes"],
            "top1": evaluation["val"]["top1"],
        }
        for name, evaluation in evaluations.items()
    }
    passing = [name for name in evaluations if all(entry["passed"] for entry in gates[name].values())]
    order = rank({name: figures[name] for name in passing}, rank_by, tie)
    return {
        "champion": order[0] if order else None,
        "device": device,
        "budget": {
            "max_size_mb": max_size_mb,
            "max_p95_ratio": max_p95_ratio,
            "min_speedup": min_speedup,
            "max_accuracy_drop": max_accuracy_drop,
            "max_worst_class_drop": max_worst_class_drop,
            "min_agreement": min_agreement,
            "rank_by": rank_by,
            "tie": tie,
        },
        "variants": {
            name: {
                "passed": name in order,
                "rank": order.index(name) + 1 if name in order else None,
                "reason": placing(name, order, figures, rank_by, tie) if name in order else failing(gates[name]),
                "gates": gates[name],
                "parity": infos[name]["parity"],
            }
            for name in evaluations
        },
    }


def rank(figures: Mapping[str, Mapping[str, float]], rank_by: str, tie: float) -> list[str]:
    """Best first by one figure; next comes, of those within a share `tie` of the best left, the most accurate.

    Of those as accurate the one with the better figure, then the faster, then the smaller comes first.
    """
    sign = 1 if RANKINGS[rank_by][3] else -1
    costs = {name: (sign * own[rank_by], own["p50_ms"], own["size_bytes"], name) for name, own in figures.items()}
    left = sorted(figures, key=costs.__getitem__)
    order = []
    while left:
        equals = [name for name in left if ties(figures[name][rank_by], figures[left[0]][rank_by], tie)]
        order.append(max(equals, key=lambda name: figures[name]["top1"]))
        left.remove(order[-1])
    return order


def ties(figure: float, leading: float, tie: float) -> bool:
    return abs(figure - leading) <= tie * leading


def gate(value: float, limit: float) -> dict[str, Any]:
    """Compare at six digits, so that 0.75 - 0.74 keeps a limit of 0.01."""
    return {"value": round(value, 6), "limit": limit, "passed": round(value, 6) <= limit}


def gate_min(value: float, limit: float) -> dict[str, Any]:
    """Compare as `gate` does, with a limit that the value must reach."""
    return {"value": round(value, 6), "limit": limit, "passed": round(value, 6) >= limit}


def gate_class(reference: Mapping[str, float], recalls: Mapping[str, float], limit: float) -> dict[str, Any]:
    """Compare what the class that loses most loses of its recall, and name it; of equals the first."""
    drops = {name: round(recall - recalls[name], 6) for name, recall in reference.items()}
    worst = max(drops, key=drops.__getitem__)
    return gate(drops[worst], limit) | {"class": worst}


def failing(gates: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which gates a variant fails, with value and limit."""
    failed = [(sentence, gates[name]) for name, (_, _, _, sentence) in GATES.items() if not gates[name]["passed"]]
    return "; ".join(
        sentence.format(*distinct(own["value"], own["limit"], exact(own["limit"])), **own) for sentence, own in failed
    )


def placing(name: str, order: list[str], figures: Mapping[str, Mapping[str, float]], rank_by: str, tie: float) -> str:
    """Say why a passing variant wins or loses against the first."""
    unit, digits, worse, less_is_better = RANKINGS[rank_by]
    first = order[0]
    own, best = figures[name][rank_by], figures[first][rank_by]
    leading = (min if less_is_better else max)(figures[passing][rank_by] for passing in order)
    if name == first:
        return f"passes all gates, best of {len(order)} by {rank_by} ({own:.{digits}f} {unit})"
    # Of equals the more accurate wins, so where accuracy itself ranks nobody less accurate equals the first.
    if own != best and (rank_by == "top1" or not ties(own, leading, tie)):
        return "passes, but {} than {} ({} against {} {})".format(worse, first, *distinct(own, best, digits), unit)
    if rank_by == "top1" and figures[name]["p50_ms"] != figures[first]["p50_ms"]:
        slower = distinct(figures[name]["p50_ms"], figures[first]["p50_ms"], 2)
        return "passes and equals {} in top-1 on val, but is slower ({} against {} ms)".format(first, *slower)
    if figures[name]["top1"] == figures[first]["top1"]:
        return f"passes, but only equals {first} in {rank_by} and top-1 on val"
    less = distinct(figures[name]["top1"], figures[first]["top1"], 3)
    return "passes and equals {} in {}, but is less accurate on val ({} against {})".format(first, rank_by, *less)


def exact(limit: float) -> int:
    """How many digits, two at least, write a limit as it was given: 3 of 0.005, which two would round to 0.01."""
    return next((digits for digits in range(2, 6) if round(limit, digits) == limit), 6)


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


def check_gates(selection: Mapping[str, Any]) -> None:
    """Raise EdgemotionError with every variant's failing gates when none of them passes."""
    if selection["champion"] is None:
        raise EdgemotionError(verdict(selection))
