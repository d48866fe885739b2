"""Measured arrays in, PNG figures out; the same arrays give the same bytes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgemotion.report.png import save

INK, RAW, SMOOTHED, BAND = "#1f2933", "#e07b39", "#1f5fa8", "#c9d6e3"


def confusion_figure(path: Path | str, confusion: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> None:
    """Draw a confusion matrix [true][predicted]: colour is the share of the true class, the text is the count."""
    from matplotlib.figure import Figure

    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.4 + 0.62 * len(classes)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.55 else INK
        axes.text(column, row, f"{counts[row, column]:d}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    figure.colorbar(picture, label="share of the true class", fraction=0.046, pad=0.03)
    save(figure, path)


def temporal_figure(
    path: Path | str, labels: np.ndarray, raw: np.ndarray, smoothed: np.ndarray, classes: Sequence[str], title: str
) -> None:
    """Draw one stream: labels [F], raw and smoothed probabilities [F,C].

    Above, the predicted class of each frame over a band of the true one; below, the probability of the true class.
    """
    from matplotlib.figure import Figure

    frames = np.arange(len(labels))
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.25, 1])
    truth = labels[None] == np.arange(len(classes))[:, None]
    for index, present in enumerate(truth):
        above.fill_between(
            frames,
            index - 0.4,
            index + 0.4,
            where=present,
            step="mid",
            color=BAND,
            linewidth=0,
            label="true class" if index == 0 else None,
        )
    above.plot(frames, raw.argmax(axis=1), ".", color=RAW, markersize=3.5, label="raw prediction")
    above.step(frames, smoothed.argmax(axis=1), where="mid", color=SMOOTHED, linewidth=1.3, label="smoothed prediction")
    above.set_yticks(range(len(classes)), classes)
    above.set(ylabel="class")
    above.set_title(title, loc="left")
    above.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=9)
    below.plot(frames, raw[frames, labels], color=RAW, linewidth=0.7, alpha=0.75, label="raw")
    below.plot(frames, smoothed[frames, labels], color=SMOOTHED, linewidth=1.6, label="smoothed")
    below.set(
        xlabel="frame", ylabel="probability of the true class", ylim=(-0.02, 1.02), xlim=(0, max(1, len(labels) - 1))
    )
    for axes in (above, below):
        axes.grid(color="#e4e8ec", linewidth=0.6)
        axes.set_axisbelow(True)
    save(figure, path)
