"""A network in torch and images in, Grad-CAM heat maps out (Selvaraju et al. 2017, arXiv 1610.02391)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgemotion.errors import EdgemotionError

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from torch import nn


def grad_cam(module: "nn.Module", images: "torch.Tensor", labels: "torch.Tensor") -> np.ndarray:
    """Where the network looks for each image's class: float32 [N,H,W] of 0 to 1.

    `images` are normalised float [N,C,H,W], `labels` int64 [N]. The map is that of one layer's output, its channels
    weighted by the mean gradient of the class's logit over all places, kept where positive. The layer is the module's
    `cam_layer`; without one it is the last that has a spatial output which the logit depends on. EdgemotionError where
    no layer has one.

    A sequence of tokens [N,T,D] counts as spatial where T, or T - 1 after a class token, is a grid of the image's
    proportions: the tokens of its patches are the places, D are the channels, and the class token, which has no place,
    is left out. Each token is weighted by its own gradient (Draelos and Carin 2020, arXiv 2011.08891), because what a
    token means depends on its place. A transformer should name its first normalised tokens as `cam_layer`: attention
    carries the evidence to other places, so that later tokens do not show where it was.
    """
    import torch
    import torch.nn.functional as F

    size = (images.shape[2], images.shape[3])
    found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def remember(_: "nn.Module", __: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and (features := to_map(output, size)) is not None:
            found.append((output, features))

    chosen = getattr(module, "cam_layer", None)
    hooks = [layer.register_forward_hook(remember) for layer in ([chosen] if chosen else module.modules())]
    try:
        module.eval()
        logits = module(images.detach().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise EdgemotionError(
            f"Grad-CAM finds no spatial output in {type(chosen or module).__name__}; set the network's cam_layer"
        )
    evidence = logits.gather(1, labels.view(-1, 1)).sum()
    features, weights = last_with_gradient(evidence, found, size)
    heat = torch.relu((weights * features).sum(1, keepdim=True))
    heat = F.interpolate(heat, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    heat = heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return heat.detach().numpy()


def last_with_gradient(
    evidence: "torch.Tensor", found: "list[tuple[torch.Tensor, torch.Tensor]]", size: tuple[int, int]
) -> "tuple[torch.Tensor, torch.Tensor]":
    """The last map [N,C,rows,columns] that `evidence` depends on, and its weights; the last of all where none is.

    `found` holds each layer's output and the map in it. After the last attention only the class token reaches the
    logits, so that the gradient of the patches is zero there.
    """
    import torch

    for output, features in reversed(found):
        (slope,) = torch.autograd.grad(evidence, output, retain_graph=True, materialize_grads=True)
        gradient = to_map(slope, size)
        if gradient is not None and gradient.any():
            return features, gradient if output.ndim == 3 else gradient.mean((2, 3), keepdim=True)
    features = found[-1][1]
    return features, torch.zeros_like(features)


def to_map(output: "torch.Tensor", size: tuple[int, int]) -> "torch.Tensor | None":
    """A layer's output as channels at places [N,C,rows,columns], or None where it is no map of an image of `size`."""
    if output.ndim == 3:
        for tokens in (output, output[:, 1:]):
            rows = round((tokens.shape[1] * size[0] / size[1]) ** 0.5)
            columns = tokens.shape[1] // max(rows, 1)
            if rows * columns == tokens.shape[1]:
                output = tokens.transpose(1, 2).unflatten(2, (rows, columns))
                break
    return output if output.ndim == 4 and min(output.shape[2:]) > 1 else None


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
