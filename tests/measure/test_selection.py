"""The champion is the best of those that keep every gate, and every other variant is told why it lost."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemotion.errors import EdgemotionError
from edgemotion.measure.selection import check_gates, distinct, gate_class, rank, select, verdict

BUDGET = {
    "device": "board",
    "max_size_mb": 1.5,
    "max_p95_ratio": 0.8,
    "min_speedup": 1.0,
    "max_accuracy_drop": 0.01,
    "max_worst_class_drop": 0.1,
    "min_agreement": 0.9,
    "rank_by": "p50_ms",
    "tie": 0.02,
}
# val top-1, p50 ms, p95 ms, bytes
FP32 = (0.75, 1.0, 2.0, 2_000_000)


RECALLS = {"happy": 0.8, "disgust": 0.6}


def choose(
    variants: dict[str, tuple[float, float, float, int]],
    recalls: dict[str, dict[str, float]] | None = None,
    agreement: dict[str, float] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Select among fp32 and these variants; recalls and agreement of a variant are RECALLS and 1 unless given."""
    variants, recalls, agreement = {"fp32": FP32, **variants}, recalls or {}, agreement or {}
    vals = {name: {"top1": numbers[0], "per_class": recalls.get(name, RECALLS)} for name, numbers in variants.items()}
    return select(
        {name: {"val": val, "top1": 0.0} for name, val in vals.items()},
        {
            name: {"p50_ms": p50, "p95_ms": p95, "speedup": round(FP32[1] / p50, 6)}
            for name, (_, p50, p95, _) in variants.items()
        },
        {
            name: {"size_bytes": size, "parity": {"argmax_agreement": agreement.get(name, 1.0)}}
            for name, (_, _, _, size) in variants.items()
        },
        **BUDGET | changes,
    )


def test_fastest_passing_variant_wins() -> None:
    found = choose({"a": (0.75, 0.31, 0.4, 500_000), "b": (0.745, 0.22, 0.3, 900_000), "c": (0.70, 0.1, 0.2, 100_000)})
    assert found["champion"] == "b"
    reasons = {name: entry["reason"] for name, entry in found["variants"].items()}
    assert reasons == {
        "fp32": "2.00 MB, limit 1.50; p95 1.00 of fp32's, limit 0.80",
        "a": "passes, but slower than b (0.31 against 0.22 ms)",
        "b": "passes all gates, best of 2 by p50_ms (0.22 ms)",
        "c": "loses 0.05 of top-1 on val, limit 0.01",
    }
    assert [found["variants"][name]["rank"] for name in ("fp32", "a", "b", "c")] == [None, 2, 1, None]


@pytest.mark.parametrize(("rank_by", "champion"), [("p50_ms", "fast"), ("size_bytes", "small"), ("top1", "good")])
def test_rank_by(rank_by: str, champion: str) -> None:
    variants = {
        "fast": (0.745, 0.1, 0.2, 900_000),
        "small": (0.746, 0.2, 0.3, 100_000),
        "good": (0.78, 0.3, 0.4, 950_000),
    }
    assert choose(variants, rank_by=rank_by)["champion"] == champion


def test_gates_hold_at_their_limits() -> None:
    # 0.75 - 0.74 is 0.010000000000000009 in binary, and 0.6 - 0.5 is 0.09999999999999998.
    found = choose(
        {"edge": (0.74, 0.5, 1.6, 1_500_000)},
        recalls={"edge": {"happy": 0.9, "disgust": 0.5}},
        agreement={"edge": 0.9},
        min_speedup=2.0,
    )
    assert found["champion"] == "edge"
    assert found["variants"]["edge"]["gates"] == {
        "size_mb": {"value": 1.5, "limit": 1.5, "passed": True},
        "p95_ratio": {"value": 0.8, "limit": 0.8, "passed": True},
        "speedup": {"value": 2.0, "limit": 2.0, "passed": True},
        "accuracy_drop": {"value": 0.01, "limit": 0.01, "passed": True},
        "worst_class_drop": {"value": 0.1, "limit": 0.1, "passed": True, "class": "disgust"},
        "agreement": {"value": 0.9, "limit": 0.9, "passed": True},
    }


GOOD = (0.75, 0.5, 0.6, 500_000)


@pytest.mark.parametrize(
    ("numbers", "given", "gate", "reason"),
    [
        ((0.75, 1.25, 0.6, 500_000), {}, "speedup", "0.80 times as fast as fp32, limit 1.00"),
        (
            GOOD,
            {"recalls": {"odd": {"happy": 0.79, "disgust": 0.48}}},
            "worst_class_drop",
            "loses 0.12 recall of disgust on val, limit 0.10",
        ),
        (
            GOOD,
            {"agreement": {"odd": 0.87}},
            "agreement",
            "names the class of what it was made from on 0.87 of val, limit 0.90",
        ),
        (
            GOOD,
            {"agreement": {"odd": 0.8999}},
            "agreement",
            "names the class of what it was made from on 0.8999 of val, limit 0.9000",
        ),
    ],
)
def test_each_gate_alone_stops_a_variant(
    numbers: tuple[float, float, float, int], given: dict[str, Any], gate: str, reason: str
) -> None:
    found = choose({"odd": numbers, "plain": GOOD}, **given)
    assert found["champion"] == "plain"
    entry = found["variants"]["odd"]
    assert [name for name, entry in entry["gates"].items() if not entry["passed"]] == [gate]
    assert (entry["passed"], entry["rank"], entry["reason"]) == (False, None, reason)


def test_a_better_class_hides_no_lost_one_and_no_loss_is_below_zero() -> None:
    drop = gate_class({"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.3}, 0.1)
    assert drop == {"value": 0.2, "limit": 0.1, "passed": False, "class": "b"}
    assert gate_class({"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.6}, 0.1)["value"] == -0.1


def test_the_limits_are_told_with_the_outcome() -> None:
    assert choose({})["budget"] == {key: value for key, value in BUDGET.items() if key != "device"}


def test_within_a_tie_accuracy_decides() -> None:
    found = choose(
        {
            "fast": (0.742, 0.2, 0.3, 100),
            "good": (0.748, 0.204, 0.3, 100),
            "twin": (0.748, 0.204, 0.3, 100),
            # Within a tie of good, but not of the fastest.
            "best": (0.75, 0.2041, 0.3, 100),
        }
    )
    reasons = {name: entry["reason"] for name, entry in found["variants"].items() if entry["passed"]}
    assert reasons == {
        "good": "passes all gates, best of 4 by p50_ms (0.20 ms)",
        "twin": "passes, but only equals good in p50_ms and top-1 on val",
        "fast": "passes and equals good in p50_ms, but is less accurate on val (0.742 against 0.748)",
        "best": "passes, but slower than good (0.2041 against 0.2040 ms)",
    }
    assert [found["variants"][name]["rank"] for name in ("good", "twin", "fast", "best")] == [1, 2, 3, 4]


def test_where_accuracy_ranks_a_less_accurate_variant_is_called_so() -> None:
    found = choose(
        {
            "a slow one": (0.748, 0.45, 0.5, 100),
            "best": (0.748, 0.4, 0.5, 100),
            "twin": (0.748, 0.4, 0.5, 100),
            "near": (0.747, 0.2, 0.3, 100),
        },
        rank_by="top1",
    )
    reasons = {name: entry["reason"] for name, entry in found["variants"].items() if entry["passed"]}
    assert reasons == {
        "best": "passes all gates, best of 4 by top1 (0.748 top-1 on val)",
        "twin": "passes, but only equals best in top1 and top-1 on val",
        "a slow one": "passes and equals best in top-1 on val, but is slower (0.45 against 0.40 ms)",
        "near": "passes, but less accurate than best (0.747 against 0.748 top-1 on val)",
    }
    assert [found["variants"][name]["rank"] for name in ("best", "twin", "a slow one", "near")] == [1, 2, 3, 4]


figures = st.fixed_dictionaries(
    {"p50_ms": st.floats(0.01, 10), "size_bytes": st.integers(1, 99), "top1": st.floats(0, 1)}
)


@given(st.dictionaries(st.text(max_size=3), figures, max_size=8), st.sampled_from(["p50_ms", "size_bytes", "top1"]))
def test_every_passing_variant_has_a_rank(given: dict[str, dict[str, float]], rank_by: str) -> None:
    order = rank(given, rank_by, 0.02)
    assert sorted(order) == sorted(given)
    best = (max if rank_by == "top1" else min)((entry[rank_by] for entry in given.values()), default=0)
    assert not order or abs(given[order[0]][rank_by] - best) <= 0.02 * best
    # Without a tie the figure alone decides.
    exact = [given[name][rank_by] for name in rank(given, rank_by, 0.0)]
    assert exact == sorted(exact, reverse=rank_by == "top1")


def test_of_equals_the_faster_and_then_the_smaller_comes_first() -> None:
    numbers = {"slow": (0.5, 50), "large": (0.4, 200), "small": (0.4, 100)}
    found = {name: {"top1": 0.7, "p50_ms": p50, "size_bytes": size} for name, (p50, size) in numbers.items()}
    assert rank(found, "top1", 0.0) == ["small", "large", "slow"]


def test_nothing_passes() -> None:
    found = choose({"big": (0.75, 0.2, 0.3, 9_000_000)})
    assert found["champion"] is None
    assert re.search(r"^no variant .*'board' \(fp32: .*p95 1\.00.*; big: 9\.00 MB, limit 1\.50\)$", verdict(found))
    with pytest.raises(EdgemotionError, match="no variant keeps the budget"):
        check_gates(found)
    check_gates(choose({"small": (0.75, 0.2, 0.3, 900_000)}))


def test_a_limit_is_told_as_it_was_given() -> None:
    found = choose({"lossy": (0.65, 0.2, 0.3, 900_000)}, max_accuracy_drop=0.005)
    assert "of top-1 on val, limit 0.005" in found["variants"]["lossy"]["reason"]


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_distinct_numbers_read_differently(first: int, second: int) -> None:
    one, other = distinct(first / 1e6, second / 1e6, 2)
    assert (one == other) == (first == second)
