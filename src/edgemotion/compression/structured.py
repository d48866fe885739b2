"""Structured pruning: whole channels go, so the network gets smaller and faster."""

from collections.abc import Callable

import torch
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import register

STEPS = 40
# By the weights' norm, by the loss's first-order change, by the scale that batch normalisation gives a channel.
IMPORTANCES = {"magnitude": "GroupMagnitudeImportance", "taylor": "GroupTaylorImportance", "scale": "BNScaleImportance"}


@register("prune")
def structured(
    module: nn.Module,
    dense: nn.Module,
    example: torch.Tensor,
    *,
    share: float,
    macs_ratio: float,
    round_to: int,
    importance: str,
) -> Callable[[nn.Module], None]:
    """Remove the least important channels until `share` of `macs_ratio` of the dense network's MACs are gone.

    The module, which must hold gradients for the importance `taylor`, is changed in place; `example` is one normalised
    input [1,C,H,W]. Fang et al. 2023, DepGraph, arXiv 2301.12900. Nothing is left to do after a training step, so the
    returned hook does nothing.
    """
    import torch_pruning as tp

    if not 0 < macs_ratio < 1:
        raise EdgemotionError(f"macs_ratio is {macs_ratio}; it is the share of MACs to remove, between 0 and 1")
    if importance not in IMPORTANCES:
        raise EdgemotionError(f"importance is {importance!r}; choose one of {', '.join(IMPORTANCES)}")
    classifier = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    pruner = tp.pruner.BasePruner(
        module,
        example,
        importance=getattr(tp.importance, IMPORTANCES[importance])(),
        pruning_ratio=0.95,
        iterative_steps=STEPS,
        round_to=round_to,
        ignored_layers=[classifier],
    )
    wanted = tp.utils.count_ops_and_params(dense, example)[0] * (1 - share * macs_ratio)
    for _ in range(STEPS):
        pruner.step()
        if tp.utils.count_ops_and_params(module, example)[0] <= wanted:
            return lambda module: None
    raise EdgemotionError(f"macs_ratio {macs_ratio} cannot be reached with round_to {round_to}; lower one of them")
