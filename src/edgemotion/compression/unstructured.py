"""Unstructured pruning: single weights become zero, so the file compresses better; the latency stays."""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from edgemotion.registry import register


@register("prune")
def unstructured(
    module: nn.Module,
    dense: nn.Module,
    example: torch.Tensor,
    share: float,
    *,
    sparsity: Annotated[float, Field(gt=0, lt=1)],
) -> Callable[[nn.Module], None]:
    """Zero the smallest weights of all layers together (global L1) until `share` of `sparsity` are zero.

    The returned hook keeps them zero in training.
    Han et al. 2015, arXiv 1506.02626.
    """
    from torch.nn.utils import prune

    # A round of training leaves weights channels last, which torch's pruning cannot flatten.
    module.to(memory_format=torch.contiguous_format)
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    prune.global_unstructured(
        [(layer, "weight") for layer in layers.values()], pruning_method=prune.L1Unstructured, amount=share * sparsity
    )
    masks = {name: layer.get_buffer("weight_mask").clone() for name, layer in layers.items()}
    for layer in layers.values():
        prune.remove(layer, "weight")

    @torch.no_grad()
    def keep_zero(trained: nn.Module) -> None:
        for name, mask in masks.items():
            weight = trained.get_parameter(f"{name}.weight")
            weight.mul_(mask.to(weight.device))

    return keep_zero
