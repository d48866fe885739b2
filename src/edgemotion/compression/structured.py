"""Structured pruning: whole channels go, so the network gets smaller and faster."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import Positive, register

STEPS = 40
Weighted = nn.Conv2d | nn.Linear
# By the weights' norm, by the loss's first-order change, by the scale that batch normalisation gives a channel.
IMPORTANCES = {"magnitude": "GroupMagnitudeImportance", "taylor": "GroupTaylorImportance", "scale": "BNScaleImportance"}


@register("prune")
def structured(
    module: nn.Module,
    dense: nn.Module,
    example: torch.Tensor,
    share: float,
    *,
    macs_ratio: Annotated[float, Field(gt=0, lt=1)],
    round_to: Positive,
    importance: Literal["magnitude", "taylor", "scale"],
) -> Callable[[nn.Module], None]:
    """Remove the least important channels until `share` of `macs_ratio` of the dense network's MACs are gone.

    Layers that must stay equally wide lose `round_to` channels at a time, those that have kept most of theirs first.
    The module, which must hold gradients for the importance `taylor`, is changed in place; `example` is one normalised
    input [1,C,H,W]. Fang et al. 2023, DepGraph, arXiv 2301.12900. Nothing is left to do after a training step, so the
    returned hook does nothing.
    """
    import torch_pruning as tp

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
    sizes = output_sizes(module, example)
    names = {layer: name for name, layer in module.named_modules()}

    def kept(group: tp.Group) -> float:
        layer = group[0].dep.target.module
        return layer.weight.shape[0] / dense.get_parameter(f"{names[layer]}.weight").shape[0]

    groups = (group for _ in range(STEPS) for group in sorted(pruner.step(interactive=True), key=kept, reverse=True))
    # The full count runs a copy of the network, which for ResNet50 took nine tenths of the pruning's time.
    while weight_macs(sizes) > wanted or tp.utils.count_ops_and_params(module, example)[0] > wanted:
        group = next(groups, None)
        if group is None:
            raise EdgemotionError(
                f"macs_ratio {macs_ratio} cannot be reached with round_to {round_to}; lower one of them"
            )
        # Found anew, because the groups before it may have moved its channels within the layers that read them.
        root = group[0]
        pruner.DG.get_pruning_group(root.dep.target.module, root.dep.handler, root.idxs).prune()
    return lambda module: None


def output_sizes(module: nn.Module, example: torch.Tensor) -> dict[Weighted, int]:
    """How often an inference uses each weight of a convolution or linear layer, which pruning does not change."""
    sizes: dict[Weighted, int] = {}

    def count(layer: Any, _: Any, output: torch.Tensor) -> None:
        sizes[layer] = sizes.get(layer, 0) + output.numel() // layer.weight.shape[0]

    handles = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, Weighted)]
    with torch.no_grad():
        module(example)
    for handle in handles:
        handle.remove()
    return sizes


def weight_macs(sizes: Mapping[Weighted, int]) -> int:
    """MACs of the convolutions and linear layers of `output_sizes`: at most those of the network."""
    return sum(layer.weight.numel() * size for layer, size in sizes.items())
