"""Splits in; the figures that show a person what is in them out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgemotion.datasets.splits import Split
from edgemotion.files import replacing


def class_balance(path: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Draw images a class (columns) and split (colours), on a log scale so that rare classes show."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
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
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    generator = np.random.default_rng(seed)
    figure, grid = plt.subplots(
        len(classes), columns, figsize=(columns * 0.8, len(classes) * 0.84), layout="constrained", squeeze=False
    )
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


def save(figure: object, path: Path) -> None:
    """Write a figure as PNG, byte-identical for the same content, and free it."""
    import matplotlib.pyplot as plt

    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110)  # type: ignore[attr-defined]
    plt.close(figure)  # type: ignore[arg-type]
