"""Images and random changes of them in; the figure that shows them side by side out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def augmentations(originals: np.ndarray, changed: np.ndarray, names: Sequence[str]) -> "Figure":
    """A row an image: the original uint8 [N,H,W,C] at the left, then its changes uint8 [N,K,H,W,C]."""
    from matplotlib.figure import Figure

    rows, columns = changed.shape[:2]
    figure = Figure(figsize=(1.1 * (columns + 1), 1.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns + 1, squeeze=False)
    for line, original, others, name in zip(grid, originals, changed, names, strict=True):
        for axes, image in zip(line, [original, *others], strict=True):
            axes.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
            axes.axis("off")
        line[0].set_title(f"{name}, original", fontsize=8, loc="left")
    return figure
