"""MobileNetV2 from torchvision, its stem adapted to small inputs (Sandler et al. 2018, arXiv 1801.04381)."""

from torch import nn

from edgemotion.networks.pretrained import load_weights, make_head, make_stem, read_weights
from edgemotion.registry import Positive, Share, register


@register("network")
def mobilenet_v2(
    *,
    classes: int,
    channels: int,
    height: int,
    width: int,
    weights: str | None,
    stem_stride: Positive,
    dropout: Share,
    hidden: Positive | None = None,
) -> nn.Module:
    """Build MobileNetV2; `weights` is null (random), "imagenet" (torchvision downloads) or a state dict's path.

    A stem stride of 1 in place of 2 keeps the resolution of 48x48 inputs. `hidden` puts a layer before the last.
    """
    from torchvision.models import mobilenet_v2 as build

    network = build()
    network.features[0][0] = make_stem(network.features[0][0], channels, stem_stride)
    network.classifier = make_head(network.last_channel, classes, dropout, hidden)
    if weights:
        state = read_weights(weights, "MobileNet_V2_Weights.IMAGENET1K_V1")
        load_weights(network, state, name="mobilenet_v2", stem="features.0.0", head="classifier")
    return network
