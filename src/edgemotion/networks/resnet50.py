"""ResNet50 from torchvision, its stem adapted to small inputs (He et al. 2016, arXiv 1512.03385)."""

from typing import Literal

from torch import nn

from edgemotion.networks.pretrained import load_weights, make_head, make_stem, read_weights
from edgemotion.registry import Positive, Share, register

# The whole stride of the stem: that of the 7x7 convolution, and whether the max pool of stride 2 follows it.
STEMS = {4: (2, True), 2: (2, False), 1: (1, False)}


@register("network")
def resnet50(
    *,
    classes: int,
    channels: int,
    height: int,
    width: int,
    weights: str | None,
    stem_stride: Literal[1, 2, 4],
    dropout: Share,
    hidden: Positive | None,
) -> nn.Module:
    """Build ResNet50; `weights` is null (random), "imagenet" (torchvision downloads) or a state dict's path.

    A stem stride of 4 is the published one; 2 drops the max pool, which has no weights, and 1 the convolution's stride
    too: 48x48 inputs end in maps of 2x2, 3x3 and 6x6 at 0.2, 0.7 and 2.9 G multiply-accumulates.
    """
    from torchvision.models import resnet50 as build

    stride, pool = STEMS[stem_stride]
    network = build()
    network.conv1 = make_stem(network.conv1, channels, stride)
    if not pool:
        network.maxpool = nn.Identity()
    network.fc = make_head(network.fc.in_features, classes, dropout, hidden)
    if weights:
        state = read_weights(weights, "ResNet50_Weights.IMAGENET1K_V1")
        load_weights(network, state, name="resnet50", stem="conv1", head="fc")
    return network
