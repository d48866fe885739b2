"""The Pareto front of measured trials, what the budget says of it and what is kept of it."""

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemotion.search.front import compression, judge, keep, on_front
from edgemotion.search.networks import choices
from edgemotion.settings import Distill, Pareto, Prune, Quantize, Select

BUDGET = Select("board", 1.0, 1.0, 1.0, 0.02, 0.1, 0.9, "p50_ms", 0.02)
# Few values a objective, so that equal ones are common.
FIGURES = st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3))


def row(trial: int, top1: float, p50_ratio: float, size_bytes: float, **changes: Any) -> dict[str, Any]:
    """A trial of slim_50; the first is fp32 itself."""
    network = "slim_50" if trial > 1 else "fp32"
    return {
        "trial": trial,
        "network": network,
        "variant": f"{network}_mixed_{trial}" if trial > 1 else network,
        "float_layers": [f"blocks.{trial}"],
        "top1": top1,
        "per_class": {"happy": top1},
        "agreement": 1.0,
        "p50_ratio": p50_ratio,
        "p95_ratio": p50_ratio,
        "size_bytes": size_bytes,
        **changes,
    }


def judged(*figures: tuple[float, float, float]) -> list[dict[str, Any]]:
    return judge([row(number, *values) for number, values in enumerate(figures, 1)], BUDGET)


@given(st.lists(FIGURES, min_size=1, max_size=12))
def test_front_is_optunas(figures: list[tuple[int, int, int]]) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    for values in figures:
        study.add_trial(optuna.trial.create_trial(values=values))
    found = on_front([row(number, *values) for number, values in enumerate(figures, 1)])
    assert [number for number, mark in enumerate(found) if mark] == [trial.number for trial in study.best_trials]


def test_the_budget_of_select_judges_against_fp32() -> None:
    rows = judged((0.70, 1.02, 900_000), (0.69, 0.5, 500_000), (0.66, 0.3, 300_000), (0.70, 0.9, 1_200_000))
    assert [entry["front"] for entry in rows] == [True, True, True, True]
    # fp32 is the unit of latency, whatever its trial measured, and counts once.
    assert [entry["passed"] for entry in rows] == [True, True, False, False]
    assert [entry["rank"] for entry in rows] == [2, 1, None, None]
    assert rows[2]["reason"] == "loses 0.04 of top-1 on val, limit 0.02"
    assert rows[3]["reason"] == "1.20 MB, limit 1.00"


def test_keeps_the_champion_and_then_the_farthest_within_the_budget() -> None:
    rows = judged(
        (0.70, 1.00, 900_000),
        # The fastest within the budget, one that is nearly the same, and one at the other end.
        (0.690, 0.50, 500_000),
        (0.691, 0.51, 500_000),
        (0.699, 0.90, 400_000),
        # Too inaccurate, and dominated.
        (0.600, 0.10, 100_000),
        (0.689, 0.52, 600_000),
    )
    assert [entry["trial"] for entry in keep(rows, 1)] == [2]
    assert [entry["trial"] for entry in keep(rows, 2)] == [2, 4]
    assert [entry["trial"] for entry in keep(rows, 9)] == [2, 3, 4]


def test_keeps_of_the_whole_front_where_nothing_is_within_the_budget() -> None:
    rows = judged((0.70, 1.0, 900_000), (0.60, 0.5, 500_000), (0.62, 0.6, 500_000), (0.50, 0.1, 100_000))
    assert [entry["trial"] for entry in keep(rows, 1)] == [3]
    assert [entry["trial"] for entry in keep(rows, 9)] == [2, 3, 4]


def test_fp32_alone_leaves_nothing_to_keep() -> None:
    assert keep(judged((0.70, 1.0, 900_000)), 6) == []


def test_keeps_no_more_than_asked_for() -> None:
    assert keep(judged((0.70, 1.0, 900_000), (0.69, 0.5, 500_000)), 0) == []


@pytest.fixture
def space() -> Pareto:
    distill = Distill("dense", 0.9, 2.0)
    structured = Prune("structured", 1, 3, 0.02, distill, {"macs_ratio": 0.5, "round_to": 8})
    slim = Prune("slim", 1, 12, 0.1, distill, {"width": 0.5, "round_to": 8})
    return Pareto(60, [0.5, 0.125], [0.75], structured, slim, Quantize("static", "fp32", {"images": 512}), 300, 6)


def test_each_value_names_a_network(space: Pareto) -> None:
    found = choices(space)
    assert list(found) == ["structured_50", "structured_12_5", "slim_75"]
    assert found["structured_12_5"].args == {"macs_ratio": 0.125, "round_to": 8}
    assert (found["slim_75"].args, found["slim_75"].epochs) == ({"width": 0.75, "round_to": 8}, 12)
    assert space.slim.args["width"] == 0.5


def test_config_names_only_what_the_kept_variants_need(space: Pareto) -> None:
    kept = [
        row(2, 0.7, 0.5, 1, network="slim_75", variant="slim_75"),
        row(3, 0.7, 0.5, 1, network="slim_75", variant="slim_75_mixed_3"),
        row(4, 0.7, 0.5, 1, network="fp32", variant="fp32_int8", float_layers=[]),
    ]
    found = compression(kept, choices(space), space.quantize)
    assert list(found["prune"]) == ["slim_75"] and found["prune"]["slim_75"]["args"]["width"] == 0.75
    assert found["networks"] == ["fp32", "slim_75"]
    assert found["variants"] == ["fp32", "slim_75", "slim_75_mixed_3", "fp32_int8"]
    # Whatever select allows to be lost, the stage makes what was measured.
    assert found["quantize"] == {
        name: {
            "method": "static",
            "parent": parent,
            "args": {"images": 512, "float_layers": layers, "max_accuracy_drop": 1.0},
        }
        for name, parent, layers in (("slim_75_mixed_3", "slim_75", ["blocks.3"]), ("fp32_int8", "fp32", []))
    }


def test_the_slowest_answers_and_the_agreement_are_judged_too() -> None:
    good = (0.7, 0.5, 500_000)
    rows = judge([row(1, 0.7, 1.0, 900_000), row(2, *good, p95_ratio=1.2), row(3, *good, agreement=0.8)], BUDGET)
    assert [entry["reason"] for entry in rows[1:]] == [
        "p95 1.20 of fp32's, limit 1.00",
        "names the class of what it was made from on 0.80 of val, limit 0.90",
    ]
