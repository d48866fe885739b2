"""EfficientNet-B0 and B4 from torchvision, the stem adapted to small inputs (Tan and Le 2019, arXiv 1905.11946)."""

from typing import Literal

from torch import nn

from edgemotion.networks.pretrained import load_weights, make_head, make_stem, read_weights
from edgemotion.registry import Positive, Share, register


@register("network")
def efficientnet(
    *,
    classes: int,
    channels: int,
    height: int,
    width: int,
    variant: Literal["b0", "b4"],
    weights: str | None,
    stem_stride: Positive,
    dropout: Share,
    hidden: Positive | None,
) -> nn.Module:
    """Build EfficientNet `variant`; `weights` is null, "imagenet" (torchvision downloads) or a state dict's path.

    A stem stride of 1 in place of 2 keeps the resolution of 48x48 inputs. Stochastic depth is the published 0.2.
    """
    from torchvision import models

    network = models.get_model(f"efficientnet_{variant}")
    network.features[0][0] = make_stem(network.features[0][0], channels, stem_stride)
    network.classifier = make_head(network.classifier[1].in_features, classes, dropout, hidden)
    if weights:
        state = read_weights(weights, f"EfficientNet_{variant.upper()}_Weights.IMAGENET1K_V1")
        load_weights(network, state, name=f"efficientnet {variant}", stem="features.0.0", head="classifier")
    return network
