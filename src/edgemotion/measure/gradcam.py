"""A network in torch and images in, Grad-CAM heat maps out (Selvaraju et al. 2017, arXiv 1610.02391)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from torch import nn


def grad_cam(module: "nn.Module", images: "torch.Tensor", labels: "torch.Tensor") -> np.ndarray:
    """Where the network looks for each image's class: float32 [N,H,W] of 0 to 1.

    `images` are normalised float [N,C,H,W]. The map is that of the last layer with a spatial output, its channels
    weighted
    by the mean gradient of the class's logit, kept where positive.
    """
    import torch
    import torch.nn.functional as F

    maps: list[torch.Tensor] = []

    def remember(_: "nn.Module", __: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            maps.append(output)

    hooks = [layer.register_forward_hook(remember) for layer in module.modules()]
    try:
        module.eval()
        logits = module(images)
    finally:
        for hook in hooks:
            hook.remove()
    features = maps[-1]
    chosen = logits.gather(1, labels.view(-1, 1)).sum()
    (gradient,) = torch.autograd.grad(chosen, features)
    heat = torch.relu((gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True))
    heat = F.interpolate(heat, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    heat = heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return heat.detach().numpy()


def pick(labels: np.ndarray, classes: int, count: int) -> np.ndarray:
    """The first `count` test images of each class, as indices [classes*count] in class order."""
    return np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(classes)])


def draw(
    images: np.ndarray, heat: np.ndarray, truth: Sequence[str], predicted: Sequence[str], columns: int
) -> "Figure":
    """A figure of faces with their heat maps laid over; a wrong prediction is written in red."""
    from matplotlib.figure import Figure

    rows = -(-len(images) // columns)
    figure = Figure(figsize=(columns * 1.1, rows * 1.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, warm, true, found in zip(grid.flat, images, heat, truth, predicted, strict=False):
        axes.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axes.imshow(warm, cmap="inferno", alpha=0.45, vmin=0, vmax=1)
        right = true == found
        axes.set_title(true if right else f"{true}: {found}", fontsize=7, color="black" if right else "crimson")
    return figure
