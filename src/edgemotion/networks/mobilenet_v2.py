"""MobileNetV2 from torchvision, its stem adapted to small inputs (Sandler et al. 2018, arXiv 1801.04381)."""

from pathlib import Path

import torch
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import register


@register("network")
def mobilenet_v2(
    *, classes: int, channels: int, height: int, width: int, weights: str | None, stem_stride: int, dropout: float
) -> nn.Module:
    """Build MobileNetV2; `weights` is null (random), "imagenet" (torchvision downloads) or a state dict's path.

    ImageNet's first convolution sees three channels; for gray images its kernels are summed over them, which gives
    the activations of the gray image repeated three times. A stem stride of 1 keeps the resolution of 48x48 inputs.
    """
    from torchvision.models import mobilenet_v2 as build

    network = build(num_classes=classes, dropout=dropout)
    stem = network.features[0][0]
    network.features[0][0] = nn.Conv2d(channels, stem.out_channels, 3, stem_stride, padding=1, bias=False)
    if weights:
        load_imagenet(network, read_weights(weights), channels)
    return network


def read_weights(weights: str) -> dict[str, torch.Tensor]:
    """Read ImageNet weights by torchvision or from a file, never unpickling code."""
    if weights == "imagenet":
        from torchvision.models import MobileNet_V2_Weights

        try:
            return dict(MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(progress=True))
        # An unreachable server is an OSError, a damaged download a RuntimeError.
        except (OSError, RuntimeError) as error:
            raise EdgemotionError(
                f"model.args.weights: 'imagenet' cannot be downloaded ({error}); give a state dict's path or null"
            ) from None
    if not Path(weights).is_file():
        raise EdgemotionError(f"model.args.weights: {weights} is missing; give a state dict's path, 'imagenet' or null")
    try:
        return dict(torch.load(weights, map_location="cpu", weights_only=True))
    except Exception as error:
        raise EdgemotionError(
            f"model.args.weights: {weights} is no state dict ({str(error).splitlines()[0]})"
        ) from None


def load_imagenet(network: nn.Module, state: dict[str, torch.Tensor], channels: int) -> None:
    """Load all but the classifier; EdgemotionError names a tensor that does not fit."""
    state = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    stem = "features.0.0.weight"
    if channels == 1 and stem in state:
        state[stem] = state[stem].sum(1, keepdim=True)
    try:
        missing = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise EdgemotionError(
            f"model.args.weights does not fit mobilenet_v2: {str(error).splitlines()[-1].strip()}"
        ) from None
    strange = [name for name in missing.missing_keys if not name.startswith("classifier.")] + missing.unexpected_keys
    if strange:
        raise EdgemotionError(f"model.args.weights does not fit mobilenet_v2: {strange[0]}")
