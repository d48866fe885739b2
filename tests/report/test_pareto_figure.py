"""A search's figure shows every trial where it was measured, and the front apart from the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba

from edgemotion.report.pareto_figure import figure
from edgemotion.report.png import save


def trial(
    number: int, network: str, precision: str, *figures: float, front: bool, kept: bool = False
) -> dict[str, Any]:
    top1, p50_ratio, size_bytes = figures
    return {
        "trial": number,
        "network": network,
        "precision": precision,
        "top1": top1,
        "top1_ci": [top1 - 0.015, top1 + 0.015],
        "p50_ratio": p50_ratio,
        "size_bytes": size_bytes,
        "front": front,
        "kept": kept,
    }


@pytest.fixture
def trials() -> list[dict[str, Any]]:
    return [
        trial(1, "fp32", "float", 0.68, 1.0, 2_000_000, front=True),
        trial(2, "slim_50", "int8", 0.65, 0.2, 300_000, front=True, kept=True),
        trial(3, "slim_50", "mixed", 0.64, 0.4, 400_000, front=False),
    ]


def test_every_trial_is_a_point_of_both_panels(trials: list[dict[str, Any]]) -> None:
    left, right = figure(trials).axes
    for axes, key, scale in ((left, "p50_ratio", 1), (right, "size_bytes", 1e-6)):
        points = {
            tuple(np.round(points.get_offsets()[0], 6)): points
            for points in axes.collections
            if isinstance(points, PathCollection)
        }
        places = [(round(scale * entry[key], 6), round(100 * entry["top1"], 6)) for entry in trials]
        assert set(points) == set(places)
        filled = [points[place].get_facecolor().size > 0 for place in places]
        assert filled == [True, True, False]
        # What is kept has a dark edge and its number.
        assert tuple(points[places[1]].get_edgecolor()[0]) == to_rgba("#1f2933")
        assert [text.get_text() for text in axes.texts] == ["2"]
    assert left.get_title("left") == "3 trials, 2 on the front (filled)"
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["fp32", "slim_50", "float", "mixed", "int8"]


def test_the_same_bytes_twice(trials: list[dict[str, Any]], tmp_path: Path) -> None:
    for name in "ab":
        save(figure(trials), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
