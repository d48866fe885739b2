"""Splits in; the figures that show a person what is in them out."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgemotion.datasets.cleaning import Finding
from edgemotion.datasets.splits import Split
from edgemotion.report.png import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    # From just below one image on, whatever the smallest class: bars of nearly equal counts look nearly equal.
    axes.set_ylim(bottom=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=len(counts), loc="upper right", bbox_to_anchor=(1, 1.15))
    save(figure, path)


def samples(path: Path, split: Split, columns: int = 10, seed: int = 0) -> None:
    """Draw a grid of random images, a row a class."""
    from matplotlib.figure import Figure

    generator = np.random.default_rng(seed)
    figure = Figure(figsize=(columns * 0.8, len(split.classes) * 0.84), layout="constrained")
    grid = figure.subplots(len(split.classes), columns, squeeze=False)
    for label, (name, row) in enumerate(zip(split.classes, grid, strict=True)):
        found = np.flatnonzero(split.labels == label)
        chosen = generator.choice(found, size=min(columns, len(found)), replace=False)
        for axes in row:
            axes.axis("off")
        for axes, index in zip(row, chosen, strict=False):
            show(axes, split.images[index])
        row[0].set_title(name, fontsize=9, loc="left")
    save(figure, path)


def mean_faces(path: Path, split: Split, columns: int = 4) -> None:
    """Draw the mean of each class's images, with their number; a class without images stays empty."""
    from matplotlib.figure import Figure

    columns = min(columns, len(split.classes))
    rows = -(-len(split.classes) // columns)
    figure = Figure(figsize=(columns * 1.9, rows * 2.1 + 0.3), layout="constrained")
    figure.suptitle("Mean face a class, training split", fontsize=11)
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells:
        axes.axis("off")
    for label, (name, axes) in enumerate(zip(split.classes, cells, strict=False)):
        chosen = split.images[split.labels == label]
        axes.set_title(f"{name} ({len(chosen):,})", fontsize=9)
        if len(chosen):
            show(axes, np.rint(chosen.mean(axis=0)).astype(np.uint8))
    save(figure, path)


def duplicates(
    path: Path, splits: Mapping[str, Split], findings: Sequence[Finding], groups: int = 16, columns: int = 9
) -> None:
    """Draw groups of identical images side by side, each copy with its split and label (red where labels contradict).

    At most `groups` are drawn, those of contradicting labels first, then those across splits, and `columns` copies of
    each; a plain note stands where no image occurs twice. `findings` are those of cleaning `splits`.
    """
    from matplotlib.figure import Figure

    listed = sorted((finding for finding in findings if finding.group), key=lambda finding: finding.group)
    found = [list(group) for _, group in groupby(listed, key=lambda finding: finding.group)]
    found.sort(key=lambda group: (group[0].kind != "conflict", len({copy.split for copy in group}) == 1))
    cells = flow([min(len(group), columns) for group in found[:groups]], columns)
    rows = cells[-1][0] + 1 if cells else 0
    figure = Figure(figsize=(columns * 1.1, rows * 1.35 + 0.6), layout="constrained")
    conflicts = sum(group[0].kind == "conflict" for group in found)
    told = f"{len(found):,} groups of identical images, {conflicts:,} with contradicting labels; {len(cells)} shown"
    figure.suptitle(told if found else "No image occurs twice", fontsize=11)
    index = {(name, id_): number for name in splits for number, id_ in enumerate(splits[name].ids)}
    grid = figure.add_gridspec(max(rows, 1), columns)
    for (row, start), group in zip(cells, found, strict=False):
        for column, copy in enumerate(group[:columns], start=start):
            axes = figure.add_subplot(grid[row, column])
            axes.axis("off")
            show(axes, splits[copy.split].images[index[copy.split, copy.id]])
            rest = f" +{len(group) - columns}" if len(group) > columns == column + 1 else ""
            colour = "firebrick" if copy.kind == "conflict" else "black"
            axes.set_title(f"{copy.split}\n{copy.label}{rest}", fontsize=7, color=colour)
    save(figure, path)


def flow(widths: Sequence[int], columns: int) -> list[tuple[int, int]]:
    """Place blocks of cells in rows of `columns`, a free cell between two: the row and first column of each."""
    places: list[tuple[int, int]] = []
    row, column = 0, 0
    for width in widths:
        if column and column + width > columns:
            row, column = row + 1, 0
        places.append((row, column))
        column += width + 1
    return places


def show(axes: "Axes", image: np.ndarray) -> None:
    """Show uint8 [H,W,1 or 3] at its own brightness."""
    axes.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
