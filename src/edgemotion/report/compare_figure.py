"""The rows of a comparison in; the figure of accuracy against latency and cost out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgemotion.report.figures import colours, logarithmic_if_wide, tidy
from edgemotion.report.tables import megabytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Top-1 with its interval against p50 and against MACs, two panels a dataset; the legend tells each number."""
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    figure = Figure(figsize=(12, 0.4 + 4.4 * len(datasets)), layout="constrained")
    grid = figure.subplots(len(datasets), 2, squeeze=False, sharey="row")
    hues = dict(zip((row["experiment"] for row in rows), colours(len(rows)), strict=True))
    for (left, right), dataset in zip(grid, datasets, strict=True):
        shown = [(str(number), row) for number, row in enumerate(rows, 1) if row["dataset"] == dataset]
        for number, row in shown:
            hue, int8 = hues[row["experiment"]], row["int8"]
            mark(left, row["p50_ms"], row, "o", number, hue)
            mark(right, row["macs"] / 1e6, row, "o", number, hue)
            if int8:
                ends = [row["p50_ms"], int8["p50_ms"]], [100 * row["top1"], 100 * int8["top1"]]
                left.plot(*ends, color=hue, linewidth=1, linestyle=":")
                mark(left, int8["p50_ms"], int8, "s", number, hue)
        logarithmic_if_wide(left, [part["p50_ms"] for _, row in shown for part in (row, row["int8"]) if part])
        logarithmic_if_wide(right, [row["macs"] / 1e6 for _, row in shown])
        left.set(xlabel="latency p50 (ms, batch 1)", ylabel="top-1 on test (%), 95 % interval")
        right.set(xlabel="multiply-accumulates of fp32 (millions)")
        left.set_title(f"{dataset}: circles fp32, squares int8_static", loc="left", fontsize=11)
        for axes in (left, right):
            axes.margins(x=0.1, y=0.12)
            tidy(figure, axes, "both")
        for number, row in shown:
            label = f"{number} {row['experiment']} ({row['network']}, {megabytes(row['size_bytes'])})"
            right.plot([], [], "o", color=hues[row["experiment"]], markersize=9, label=label)
        right.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return figure


def mark(axes: "Axes", x: float, entry: Mapping[str, Any], marker: str, number: str, hue: str) -> None:
    """Draw one numbered point with its interval."""
    y, (low, high) = 100 * entry["top1"], [100 * end for end in entry["top1_ci"]]
    axes.errorbar(x, y, yerr=[[y - low], [high - y]], fmt="none", color=hue, linewidth=1.2, capsize=3)
    axes.scatter(x, y, s=170, marker=marker, color=hue, edgecolor="white", linewidth=1, zorder=3)
    axes.annotate(number, (x, y), color="white", fontsize=8, fontweight="bold", ha="center", va="center", zorder=4)
