"""A summary and the reports behind it in; the PNG figures that compare variants out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgemotion.report.png import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = Path("reports/figures")
# The colours of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8a6d00")
# What comes after the last colour has the first again, paler and in another shape or hatch.
SHAPES = ("o", "s", "^", "D")
HATCHES = ("", "///", "...", "xxx")


def figure_names(variants: Sequence[str]) -> list[str]:
    """Every figure of a run, in the order of the report."""
    confusion, temporal = [f"confusion/{name}" for name in variants], [f"temporal/{name}" for name in variants]
    data = ["class_balance", "samples", "mean_faces", "duplicates"]
    return ["tradeoff", "latency", "robustness", "training", *confusion, *temporal, "gradcam", "augmentation", *data]


def draw(
    summary: Mapping[str, Any],
    robustness: Mapping[str, Mapping[str, Any]],
    profiles: Mapping[str, Mapping[str, Any]],
    folder: Path = FOLDER,
) -> None:
    """Write tradeoff.png, latency.png and robustness.png."""
    save(tradeoff(summary["variants"], summary["champion"]), folder / "tradeoff.png")
    save(latency(profiles, list(summary["variants"])), folder / "latency.png")
    save(corruptions(robustness), folder / "robustness.png")


def tradeoff(variants: Mapping[str, Mapping[str, Any]], champion: str | None) -> "Figure":
    """Top-1 with its interval against p50; the area of a bubble is the size of the file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    largest = max(entry["size_bytes"] for entry in variants.values())
    for number, ((name, entry), colour) in enumerate(zip(variants.items(), colours(len(variants)), strict=True)):
        shape = after_colours(number, SHAPES)
        low, high = entry["top1_ci"]
        error = [[100 * (entry["top1"] - low)], [100 * (high - entry["top1"])]]
        x, y = entry["p50_ms"], 100 * entry["top1"]
        axes.errorbar(x, y, yerr=error, fmt="none", color=colour, linewidth=1.2, capsize=3)
        area = 60 + 900 * entry["size_bytes"] / largest
        edge = "#1f2933" if name == champion else "white"
        axes.scatter(x, y, s=area, marker=shape, color=colour, alpha=0.75, edgecolor=edge, linewidth=1.8, zorder=3)
        label = f"{name} ({entry['size_bytes'] / 1e6:.2f} MB)"
        # A handle of its own size: the bubbles would burst the legend.
        axes.plot([], [], shape, color=colour, label=f"{label}, champion" if name == champion else label)
    logarithmic_if_wide(axes, [entry["p50_ms"] for entry in variants.values()])
    axes.margins(x=0.12, y=0.12)
    axes.set(xlabel="latency p50 (ms, batch 1)", ylabel="top-1 on test (%), 95 % interval")
    axes.set_title("Accuracy against latency; the area is the file size", loc="left", fontsize=11)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return tidy(figure, axes, "both")


def latency(profiles: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> "Figure":
    """The span from p50 to p99 of each variant."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.3 + 0.42 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True)):
        timing = profiles[name]
        axes.plot([timing["p50_ms"], timing["p99_ms"]], [row, row], color=colour, linewidth=5, alpha=0.35)
        for key, marker in (("p50_ms", "o"), ("p95_ms", "D"), ("p99_ms", "|")):
            axes.plot(timing[key], row, marker, color=colour, markersize=11 if marker == "|" else 7, markeredgewidth=2)
    for marker, label in (("o", "p50"), ("D", "p95"), ("|", "p99")):
        axes.plot([], [], marker, color="#52606d", label=label, linestyle="none", markeredgewidth=2)
    logarithmic_if_wide(axes, [profiles[name][key] for name in names for key in ("p50_ms", "p99_ms")])
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("latency (ms, batch 1)")
    axes.set_title("Latency from p50 to p99, all variants interleaved in one run", loc="left", fontsize=11)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return tidy(figure, axes, "x")


def corruptions(robustness: Mapping[str, Mapping[str, Any]]) -> "Figure":
    """Top-1 with its interval under each scenario, a group of bars a scenario."""
    from matplotlib.figure import Figure

    scenarios = list(next(iter(robustness.values()))["scenarios"])
    figure = Figure(figsize=(max(8, 1.4 * len(scenarios) + 2), 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.84 / len(robustness)
    for number, ((name, report), colour) in enumerate(zip(robustness.items(), colours(len(robustness)), strict=True)):
        scores = [report["scenarios"][scenario] for scenario in scenarios]
        top1 = np.array([score["top1"] for score in scores])
        error = np.abs(np.array([score["top1_ci"] for score in scores]).T - top1)
        places = np.arange(len(scenarios)) + (number - (len(robustness) - 1) / 2) * width
        hatch = after_colours(number, HATCHES)
        axes.bar(places, 100 * top1, width, color=colour, label=name, hatch=hatch, edgecolor="white", linewidth=0)
        axes.errorbar(places, 100 * top1, yerr=100 * error, fmt="none", color="#1f2933", linewidth=0.8, capsize=1.5)
    axes.set_xticks(range(len(scenarios)), scenarios)
    if len(scenarios) > 6:
        axes.tick_params("x", labelrotation=30)
    axes.set_ylabel("top-1 on test (%), 95 % interval")
    axes.set_title("Accuracy under corruption", loc="left", fontsize=11)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return tidy(figure, axes, "y")


def logarithmic_if_wide(axes: "Axes", values: Sequence[float]) -> None:
    """Show values that differ more than tenfold on a logarithmic axis, in plain numbers."""
    if max(values) > 10 * min(values):
        from matplotlib.ticker import LogLocator, NullLocator

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 300 * min(values) else (1,)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.set_xlim(0, 1.08 * max(values))


def colours(count: int) -> list[str]:
    """The colours in turn, half as strong every further turn."""
    from matplotlib.colors import to_hex, to_rgb

    found = []
    for index in range(count):
        strength = 0.5 ** (index // len(COLOURS))
        red, green, blue = (1 - strength * (1 - part) for part in to_rgb(COLOURS[index % len(COLOURS)]))
        found.append(to_hex((red, green, blue)))
    return found


def after_colours(number: int, looks: Sequence[str]) -> str:
    """The look that tells an entry from the one with the same colour before it."""
    return looks[number // len(COLOURS) % len(looks)]


def tidy(figure: "Figure", axes: "Axes", grid: str) -> "Figure":
    axes.grid(axis=grid, color="#e4e8ec", linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
