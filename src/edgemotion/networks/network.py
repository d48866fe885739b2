"""A network on disk: model.safetensors, network.json and history.csv in one folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from edgemotion import registry
from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, replacing, write_csv, write_json
from edgemotion.measure.environment import made_with

NETWORKS = Path("models/networks")
# Channels that oneDNN computes at a time, at most.
BLOCK = 16


@dataclass
class Network:
    """A module with all that is needed to build it again and to feed it.

    The module takes float [N,channels,height,width], normalised as (pixel - mean) / std with pixels of 0 to 255 and
    one mean and std a channel, and returns logits [N,classes].
    """

    module: nn.Module
    name: str
    args: dict[str, Any]
    classes: list[str]
    height: int
    width: int
    channels: int
    mean: list[float]
    std: list[float]
    parent: str | None
    method: str
    settings: dict[str, Any]
    data_sha256: dict[str, str]

    def description(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        return {key: value for key, value in vars(self).items() if key != "module"}


def build(name: str, args: Mapping[str, Any], classes: int, channels: int, height: int, width: int) -> nn.Module:
    """Build a registered network with fresh weights."""
    module = registry.call("network", name, classes=classes, channels=channels, height=height, width=width, args=args)
    assert isinstance(module, nn.Module)
    return module


def nchw(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N,H,W,C] to float [N,C,H,W]."""
    return images.permute(0, 3, 1, 2).float()


def normalise(
    images: torch.Tensor, scale: torch.Tensor, layout: torch.memory_format = torch.channels_last
) -> torch.Tensor:
    """(pixel - mean) / std a channel, in the memory layout that convolutions are fastest in, or another.

    `images` float [N,C,H,W] of 0 to 255; `scale` [2,1,C,1,1] holds the means and the standard deviations.
    """
    pixels = (images - scale[0]) / scale[1]
    # Images of one channel pass as contiguous in either layout, and what convolutions make of them takes theirs.
    return pixels.contiguous(memory_format=layout) if layout is torch.channels_last else pixels.to(memory_format=layout)


def training_layout(module: nn.Module) -> torch.memory_format:
    """The fastest memory layout, channels last, or the one in which the module's gradients are right."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    unsafe = any(is_unsafe(layer.weight, layer.stride) for layer in layers)
    return torch.contiguous_format if unsafe else torch.channels_last


def is_unsafe(weight: torch.Tensor, stride: Sequence[int]) -> bool:
    """Whether the weight [O,I,H,W] of a convolution gets a wrong gradient on a CPU in channels last.

    That of a strided 1x1 convolution with less than a block of input channels makes oneDNN write past its memory: wrong
    numbers, a crash or an endless wait (uxlfoundation/oneDNN#6035).
    """
    return tuple(weight.shape[2:]) == (1, 1) and max(stride) > 1 and weight.shape[1] < BLOCK


def save(folder: Path | str, network: Network, history: Sequence[Mapping[str, float]]) -> None:
    """Write the folder whole; the same network gives the same bytes."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.module.state_dict().items()}
    with replacing(folder) as partial:
        partial.mkdir()
        save_file(state, partial / "model.safetensors")
        write_json(partial / "network.json", {**network.description(), "made_with": made_with()})
        header = list(history[0]) if history else ["epoch"]
        write_csv(partial / "history.csv", header, [[f"{row[key]:.6g}" for key in header] for row in history])


def load(folder: Path | str) -> Network:
    """Read a folder back, pruned networks included; EdgemotionError names what is missing or does not fit."""
    folder = Path(folder)
    description = read_json(folder / "network.json")
    description.pop("made_with", None)
    try:
        state = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise EdgemotionError(
            f"{folder / 'model.safetensors'} cannot be read ({error}); run `dvc repro train`"
        ) from None
    # The weights come from the folder, so the network must not look for the pretrained ones it started from.
    args = {key: None if key == "weights" else value for key, value in description["args"].items()}
    module = build(
        description["name"],
        args,
        classes=len(description["classes"]),
        channels=description["channels"],
        height=description["height"],
        width=description["width"],
    )
    shrink_to(module, state)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise EdgemotionError(
            f"{folder / 'model.safetensors'} does not fit {folder / 'network.json'} "
            f"({str(error).splitlines()[-1].strip()}); run `dvc repro train`"
        ) from None
    return Network(module=module.eval(), **description)


def shrink_to(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Give every layer the size of its tensors in `state`: a structurally pruned network has fewer channels."""
    for name, layer in module.named_modules():
        weight = state.get(f"{name}.weight")
        if weight is None or weight.shape == layer.weight.shape:
            continue
        if isinstance(layer, nn.Conv2d):
            depthwise = layer.groups > 1 and layer.groups == layer.in_channels
            layer.groups = weight.shape[0] if depthwise else layer.groups
            layer.out_channels, layer.in_channels = weight.shape[0], weight.shape[1] * layer.groups
        elif isinstance(layer, nn.BatchNorm2d):
            layer.num_features = weight.shape[0]
            for key in ("running_mean", "running_var"):
                setattr(layer, key, torch.empty_like(state[f"{name}.{key}"]))
        elif isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = weight.shape
        else:
            raise EdgemotionError(
                f"{name}: a {type(layer).__name__} cannot be pruned by channels; choose compression=quantized"
            )
        for key, parameter in layer.named_parameters(recurse=False):
            setattr(layer, key, nn.Parameter(torch.empty_like(state[f"{name}.{key}"]), parameter.requires_grad))
