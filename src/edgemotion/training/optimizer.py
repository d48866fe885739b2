"""A module and settings in; the optimizer of its free parameters and the course of its learning rate out."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from edgemotion.errors import EdgemotionError

OPTIMIZERS = ("sgd", "adamw")


def build_optimizer(
    module: nn.Module, name: str, *, learning_rate: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), which takes no momentum.

    Raises EdgemotionError for another name.
    """
    groups = decay_groups(module, weight_decay)
    match name:
        case "sgd":
            return torch.optim.SGD(groups, learning_rate, momentum, nesterov=momentum > 0)
        case "adamw":
            return torch.optim.AdamW(groups, learning_rate)
    raise EdgemotionError(f"optimizer is {name!r}; choose one of {', '.join(OPTIMIZERS)}")


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on the matrices and kernels of layers only, not on biases, normalisations and embeddings."""
    free = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    kernels = {name for name, parameter in free if parameter.ndim > 1 and name.endswith("weight")}
    return [
        {"params": [parameter for name, parameter in free if name in kernels], "weight_decay": weight_decay},
        {"params": [parameter for name, parameter in free if name not in kernels], "weight_decay": 0.0},
    ]


def rate_schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Rise linearly over a share `warmup` of all steps, then fall to zero along a cosine."""
    rising = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor


def freeze(module: nn.Module, prefixes: Sequence[str]) -> list[nn.Module]:
    """Let parameters below dotted prefixes keep their values; return the layers that must stay in evaluation mode.

    `features.1` means the parts of features.1 and not those of features.10. A frozen layer stays in evaluation mode,
    because training mode would move the statistics of its BatchNorm and drop its units.
    Raises EdgemotionError for a prefix that no parameter has, and where nothing is left to train.
    """
    parameters = dict(module.named_parameters())
    for prefix in prefixes:
        if not any(below(name, prefix) for name in parameters):
            parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in parameters))
            raise EdgemotionError(
                f"freeze names {prefix!r}, below which the network has no parameter; its parts are {parts}"
            )
    for name, parameter in parameters.items():
        if any(below(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise EdgemotionError(f"freeze {list(prefixes)} leaves no parameter to train; name fewer parts")
    return [layer for name, layer in module.named_modules() if any(below(name, prefix) for prefix in prefixes)]


def below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
