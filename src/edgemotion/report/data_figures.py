"""Splits in; the figures that show a person what is in them out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgemotion.datasets.splits import Split
from edgemotion.report.png import save


def class_balance(path: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Draw images a class (columns) and split (colours), on a log scale so that rare classes show."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(counts)
    for number, (split, classes) in enumerate(counts.items()):
        places = np.arange(len(classes)) + (number - (len(counts) - 1) / 2) * width
        bars = axes.bar(places, list(classes.values()), width, label=f"{split} ({sum(classes.values()):,})")
        axes.bar_label(bars, fontsize=7, padding=2)
    axes.set_xticks(range(len(classes)), list(classes))
    axes.set(yscale="log", ylabel="images")
    axes.set_title("Images a class and split", loc="left", y=1.05)
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=len(counts), loc="upper right", bbox_to_anchor=(1, 1.15))
    save(figure, path)


def samples(path: Path, split: Split, classes: Sequence[str], columns: int = 10, seed: int = 0) -> None:
    """Draw a grid of random images, a row a class."""
    from matplotlib.figure import Figure

    generator = np.random.default_rng(seed)
    figure = Figure(figsize=(columns * 0.8, len(classes) * 0.84), layout="constrained")
    grid = figure.subplots(len(classes), columns, squeeze=False)
    for label, (name, row) in enumerate(zip(classes, grid, strict=True)):
        found = np.flatnonzero(split.labels == label)
        chosen = generator.choice(found, size=min(columns, len(found)), replace=False)
        for axes in row:
            axes.axis("off")
        for axes, index in zip(row, chosen, strict=False):
            image = split.images[index]
            axes.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
        row[0].set_title(name, fontsize=9, loc="left")
    save(figure, path)
