"""Published weights in, a torchvision network with another head, stem and input size out."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from edgemotion.errors import EdgemotionError, first_line


def make_head(inputs: int, classes: int, dropout: float, hidden: int | None) -> nn.Sequential:
    """One linear layer after dropout; with `hidden` a layer of that width and ReLU between."""
    if hidden is None:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, classes))
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def make_stem(published: nn.Conv2d, channels: int, stride: int) -> nn.Conv2d:
    """The first convolution for another number of channels and another stride; its kernels keep their size."""
    kernel, padding = published.kernel_size[0], int(published.padding[0])
    return nn.Conv2d(channels, published.out_channels, kernel, stride, padding, bias=published.bias is not None)


def read_weights(weights: str, published: str) -> dict[str, torch.Tensor]:
    """Read a state dict, never unpickling code: "imagenet" downloads torchvision's `published`, else it is a path."""
    if weights == "imagenet":
        from torchvision.models import get_weight

        try:
            return dict(get_weight(published).get_state_dict(progress=True, check_hash=True, weights_only=True))
        # An unreachable server is an OSError, a damaged download one of the others, a file with code the last.
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            reason = first_line(error)
            raise EdgemotionError(
                f"model.args.weights: 'imagenet' cannot be downloaded or read ({reason}); give a path or null"
            ) from None
    if not Path(weights).is_file():
        raise EdgemotionError(f"model.args.weights: {weights} is missing; give a state dict's path, 'imagenet' or null")
    try:
        state = dict(torch.load(weights, map_location="cpu", weights_only=True))
    except Exception as error:
        raise EdgemotionError(f"model.args.weights: {weights} is no state dict ({first_line(error)})") from None
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise EdgemotionError(
                f"model.args.weights: {weights} is no state dict (its {name!r} is a {type(tensor).__name__})"
            )
    return state


def load_weights(network: nn.Module, state: dict[str, torch.Tensor], *, name: str, stem: str, head: str) -> None:
    """Load all but the head; EdgemotionError names the network and a tensor that does not fit.

    `stem` and `head` are the names of the first convolution and of the head. Where the network takes gray images, the
    kernels of three channels are summed, which gives the activations of the gray image repeated three times.
    """
    state = {key: tensor for key, tensor in state.items() if not key.startswith(f"{head}.")}
    kernels = f"{stem}.weight"
    if kernels in state and network.get_parameter(kernels).shape[1] == 1:
        state[kernels] = state[kernels].sum(1, keepdim=True)
    try:
        found = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise EdgemotionError(
            f"model.args.weights does not fit {name}: {str(error).splitlines()[-1].strip()}"
        ) from None
    strange = [key for key in found.missing_keys if not key.startswith(f"{head}.")] + found.unexpected_keys
    if strange:
        raise EdgemotionError(f"model.args.weights does not fit {name}: {strange[0]}")


def fit_positions(positions: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Resize positional embeddings [1,1+S*S,D], class token first, to [1,1+rows*columns,D] (arXiv 2010.11929, 3.2).

    Bicubic with antialiasing, because a face of 48 pixels has fewer patches than the image they were learnt on.
    """
    side = round((positions.shape[1] - 1) ** 0.5) if positions.ndim == 3 else 0
    if positions.ndim != 3 or side < 1 or side**2 + 1 != positions.shape[1]:
        raise EdgemotionError(
            f"model.args.weights: positional embeddings of shape {list(positions.shape)} are no class token and square "
            "grid; give the weights of a ViT trained on square images"
        )
    token, grid = positions[:, :1], positions[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(grid, (rows, columns), mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([token, grid.flatten(2).transpose(1, 2)], 1)
