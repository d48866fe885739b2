"""A dense 3x3 residual network made for 48x48 faces.

Dense convolutions reach most of a CPU core's int8 peak where depthwise ones reach a third of it, so at equal
accuracy they are the faster choice on such devices. ReLU and BatchNorm only: both fold into the convolutions.
"""

from typing import Literal

import torch
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import Positive, Share, Widths, register


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        # Its scale starts at one, not at the zero of some recipes, with which 12 short epochs stay near chance.
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.norm1(self.conv1(features)))
        return torch.relu(self.norm2(self.conv2(inner)) + self.shortcut(features))


class Compact(nn.Module):
    """A stem, stages of blocks of which each halves what the stem and the stages before it left, a linear layer.

    A stem of stride 2 is a 5x5 convolution and takes the first stage's halving over: at full resolution a convolution
    of one channel costs int8 more time than float. A stem of stride 1 is a 3x3 convolution.
    """

    def __init__(
        self, classes: int, channels: int, widths: list[int], depths: list[int], stem_stride: int, dropout: float
    ) -> None:
        super().__init__()
        kernel = 2 * stem_stride + 1
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], kernel, stem_stride, padding=stem_stride, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        blocks = []
        previous = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for number in range(depth):
                halves = number == 0 and not (stage == 0 and stem_stride == 2)
                blocks.append(Block(previous, width, stride=2 if halves else 1))
                previous = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(previous, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.blocks(self.stem(images))
        return self.head(self.dropout(features.mean((2, 3))))


@register("network")
def compact(
    *,
    classes: int,
    channels: int,
    height: int,
    width: int,
    widths: Widths,
    depths: list[Positive],
    stem_stride: Literal[1, 2],
    dropout: Share,
) -> nn.Module:
    """Build Compact; any input size of at least 2 ** len(widths) pixels."""
    if len(widths) != len(depths):
        raise EdgemotionError(f"model.args.widths {widths} and depths {depths} must name a number for each stage")
    return Compact(classes, channels, widths, depths, stem_stride, dropout)
