"""More variants than colours stay apart in every figure that shows them together."""

from typing import Any

import pytest
from matplotlib.collections import PathCollection

from edgemotion.report.figures import COLOURS, corruptions, tradeoff
from edgemotion.report.training_figures import curves

NAMES = [f"variant_{number}" for number in range(2 * len(COLOURS) + 1)]
SCORE: dict[str, Any] = {"top1": 0.7, "top1_ci": [0.68, 0.72]}


@pytest.mark.parametrize("count", [1, len(NAMES)])
def test_no_two_variants_look_alike(count: int) -> None:
    names = NAMES[:count]
    entry = SCORE | {"size_bytes": 1_000_000, "p50_ms": 0.5}
    (legend,) = tradeoff(dict.fromkeys(names, entry), names[0]).legends
    handles = [(handle.get_color(), handle.get_marker()) for handle in legend.get_lines()]
    assert len(set(handles)) == len(handles) == count

    report = {"scenarios": {"clean": SCORE, "dark": SCORE}}
    figure = corruptions(dict.fromkeys(names, report))
    # A container of bars a variant; those of error bars hold no patches.
    bars = [group.patches[0] for group in figure.axes[0].containers if getattr(group, "patches", None)]
    looks = [(bar.get_facecolor(), bar.get_hatch()) for bar in bars]
    assert len(set(looks)) == len(looks) == count

    (legend,) = curves({name: [{"epoch": 1, "val_top1": 0.5}] for name in names}).legends
    lines = [line.get_color() for line in legend.get_lines()]
    assert len(set(lines)) == len(lines) == count


@pytest.mark.parametrize("slowest", [2.0, 20.0])
def test_every_bubble_lies_inside(slowest: float) -> None:
    entry = SCORE | {"size_bytes": 1_000_000}
    figure = tradeoff({"quick": entry | {"p50_ms": 1.0}, "slow": entry | {"p50_ms": slowest}}, None)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    frame = axes.get_window_extent()
    # The error bars are collections too, of lines.
    bubbles = [found for found in axes.collections if isinstance(found, PathCollection)]
    assert len(bubbles) == 2
    for bubble in bubbles:
        x, y = axes.transData.transform(bubble.get_offsets()[0])
        radius = bubble.get_sizes()[0] ** 0.5 / 2 * figure.dpi / 72
        assert frame.x0 < x - radius and x + radius < frame.x1 and frame.y0 < y - radius and y + radius < frame.y1
