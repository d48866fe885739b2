"""Slim networks: the same architecture with fewer channels in every layer, trained from fresh weights."""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import Positive, register


@register("prune")
def slim(
    module: nn.Module,
    dense: nn.Module,
    example: torch.Tensor,
    share: float,
    *,
    width: Annotated[float, Field(gt=0, lt=1)],
    round_to: Positive,
) -> Callable[[nn.Module], None]:
    """Leave `width` of the channels of every layer, rounded down to a multiple of `round_to`, and fresh weights.

    The module is changed in place: its weights are drawn anew from torch's seed, by the initialisation of its layers
    and then its own, so the training that follows is a whole one and `share` always 1. A layer that would round to no
    channel stays whole; `example` is one normalised input [1,C,H,W]. The width multiplier of Howard et al. 2017, arXiv
    1704.04861; from fresh weights as in Liu et al. 2019, arXiv 1810.05270. Nothing is left to do after a training step,
    so the returned hook does nothing.
    """
    import torch_pruning as tp

    for name, layer in module.named_modules():
        if list(layer.parameters(recurse=False)) and not hasattr(layer, "reset_parameters"):
            raise EdgemotionError(
                f"slim cannot draw fresh weights for {name or 'the network'} ({type(layer).__name__})"
            )
    classifier = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    tp.pruner.BasePruner(
        module,
        example,
        importance=tp.importance.GroupMagnitudeImportance(),
        # The pruner rounds what it keeps down, so 0.2 of 10 channels must not become 1.999.
        pruning_ratio=1 - width - 1e-6,
        round_to=round_to,
        ignored_layers=[classifier],
    ).step()
    macs = [tp.utils.count_ops_and_params(network, example)[0] for network in (module, dense)]
    if macs[0] == macs[1]:
        raise EdgemotionError(f"width {width} changes no layer with round_to {round_to}; lower one of them")
    # The network's own rule, where it has one, comes after those of its layers.
    for layer in [*list(module.modules())[1:], module]:
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()
    return lambda module: None
