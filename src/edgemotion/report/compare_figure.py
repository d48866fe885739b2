"""The rows of a comparison in; the figure of accuracy, latency and cost out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgemotion.report.figures import COLOURS, logarithmic_if_wide, tidy
from edgemotion.report.tables import megabytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# How far below the middle of its line a mark stands, its shape and its colour.
LOOKS = {"fp32": (-0.15, "o", COLOURS[0]), "int8_static": (0.15, "s", COLOURS[1])}


def figure(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """A line an experiment in the order of the table; top-1 with its interval, p50 and MACs, three panels a dataset.

    Recipes of one network lie too close for a plane of accuracy against latency.
    """
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    figure = Figure(figsize=(13, 1.2 + 0.9 * len(datasets) + 0.38 * len(rows)), layout="constrained")
    # A title and an axis take as much height as two lines.
    heights = [2 + sum(row["dataset"] == dataset for row in rows) for dataset in datasets]
    grid = figure.subplots(len(datasets), 3, squeeze=False, sharey="row", height_ratios=heights, width_ratios=[4, 3, 3])
    for panels, dataset in zip(grid, datasets, strict=True):
        shown = [row for row in rows if row["dataset"] == dataset]
        accuracy, latency, cost = panels
        for place, row in enumerate(shown):
            for variant, entry in (("fp32", row), ("int8_static", row["int8"])):
                if entry:
                    low, high = entry["top1_ci"]
                    mark(accuracy, 100 * entry["top1"], place, variant, (100 * low, 100 * high))
                    mark(latency, entry["p50_ms"], place, variant)
            mark(cost, row["macs"] / 1e6, place, "fp32")
        names = [f"{row['experiment']} ({row['network']}, {megabytes(row['size_bytes'])})" for row in shown]
        accuracy.set_yticks(range(len(shown)), names, fontsize=9)
        accuracy.set_ylim(len(shown) - 0.5, -0.5)
        logarithmic_if_wide(latency, [part["p50_ms"] for row in shown for part in (row, row["int8"]) if part])
        logarithmic_if_wide(cost, [row["macs"] / 1e6 for row in shown])
        accuracy.set_title(dataset, loc="left", fontsize=11)
        accuracy.set_xlabel("top-1 on test (%), 95 % interval")
        latency.set_xlabel("latency p50 (ms, batch 1)")
        cost.set_xlabel("MACs of fp32 (millions)")
        for axes in panels:
            axes.margins(x=0.08)
            tidy(figure, axes, "both")
    handles = [grid[0][0].plot([], [], shape, color=hue, label=name)[0] for name, (_, shape, hue) in LOOKS.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return figure


def mark(axes: "Axes", x: float, place: int, variant: str, interval: tuple[float, float] | None = None) -> None:
    """Draw one point on the line of its experiment."""
    beside, shape, hue = LOOKS[variant]
    if interval:
        axes.hlines(place + beside, *interval, color=hue, linewidth=1.4)
    axes.plot(x, place + beside, shape, color=hue, markersize=5.5)
