"""Structured pruning: whole channels go, so the network gets smaller and faster."""

from collections.abc import Callable

import torch
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import register

STEPS = 40


@register("prune")
def structured(
    module: nn.Module, example: torch.Tensor, *, macs_ratio: float, round_to: int
) -> Callable[[nn.Module], None]:
    """Remove the channels of smallest group magnitude until `macs_ratio` of the multiply-accumulates are gone.

    The module is changed in place; `example` is one normalised input [1,C,H,W]. Fang et al. 2023, DepGraph,
    arXiv 2301.12900. Nothing is left to do after a training step, so the returned hook does nothing.
    """
    import torch_pruning as tp

    if not 0 < macs_ratio < 1:
        raise EdgemotionError(f"macs_ratio is {macs_ratio}; it is the share of MACs to remove, between 0 and 1")
    classifier = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    pruner = tp.pruner.BasePruner(
        module,
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.95,
        iterative_steps=STEPS,
        round_to=round_to,
        ignored_layers=[classifier],
    )
    dense, _ = tp.utils.count_ops_and_params(module, example)
    for _ in range(STEPS):
        pruner.step()
        if tp.utils.count_ops_and_params(module, example)[0] <= dense * (1 - macs_ratio):
            return lambda module: None
    raise EdgemotionError(f"macs_ratio {macs_ratio} cannot be reached with round_to {round_to}; lower one of them")
