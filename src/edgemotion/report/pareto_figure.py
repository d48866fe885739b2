"""The trials of a search in; the figure of their accuracy against latency and size, the front marked, out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgemotion.report.figures import colours, logarithmic_if_wide, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = {"float": "o", "mixed": "D", "int8": "s"}


def figure(trials: Sequence[Mapping[str, Any]]) -> "Figure":
    """Top-1 on val against p50 and against size: the front filled and with its interval, the other trials pale.

    A trial has trial (its number), network, precision, variant, top1, top1_ci, p50_ratio, size_bytes, front and kept.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    networks = sorted({trial["network"] for trial in trials})
    hues = dict(zip(networks, colours(len(networks)), strict=True))
    for axes, key, scale in zip(panels, ("p50_ratio", "size_bytes"), (1, 1e-6), strict=True):
        for trial in sorted(trials, key=lambda trial: trial["front"]):
            mark(axes, scale * trial[key], trial, hues[trial["network"]])
        logarithmic_if_wide(axes, [scale * trial[key] for trial in trials])
        axes.margins(x=0.08, y=0.08)
        tidy(figure, axes, "both")
    panels[0].set(xlabel="latency p50 (of fp32's, batch 1)", ylabel="top-1 on val (%), 95 % interval on the front")
    panels[1].set(xlabel="size (MB)")
    found = sum(trial["front"] for trial in trials)
    panels[0].set_title(f"{len(trials)} trials, {found} on the front (filled)", loc="left", fontsize=11)
    for name in networks:
        panels[1].plot([], [], "o", color=hues[name], markersize=8, label=name)
    for precision, marker in MARKERS.items():
        panels[1].plot([], [], marker, color="#52606d", markersize=8, linestyle="none", label=precision)
    panels[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return figure


def mark(axes: "Axes", x: float, trial: Mapping[str, Any], hue: str) -> None:
    """Draw one trial; what is kept of the front has a dark edge and its number."""
    y, marker = 100 * trial["top1"], MARKERS[trial["precision"]]
    if not trial["front"]:
        axes.scatter(x, y, s=26, marker=marker, facecolor="none", edgecolor=hue, alpha=0.45, linewidth=0.9, zorder=2)
        return
    low, high = (100 * end for end in trial["top1_ci"])
    axes.errorbar(x, y, yerr=[[y - low], [high - y]], fmt="none", color=hue, linewidth=0.8, alpha=0.5, zorder=2)
    edge, width = ("#1f2933", 1.6) if trial["kept"] else ("white", 0.8)
    axes.scatter(x, y, s=75, marker=marker, color=hue, edgecolor=edge, linewidth=width, zorder=3)
    if trial["kept"]:
        axes.annotate(str(trial["trial"]), (x, y), xytext=(6, 5), textcoords="offset points", fontsize=9, zorder=4)
