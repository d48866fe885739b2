"""A VGG-like network made for 48x48 faces (Simonyan and Zisserman 2015, arXiv 1409.1556), with BatchNorm."""

from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import Positive, Share, Widths, register


@register("network")
def vgg(
    *, classes: int, channels: int, height: int, width: int, widths: Widths, hidden: Positive, dropout: Share
) -> nn.Module:
    """Build a pair of 3x3 convolutions and a max pool for each of `widths`, then a dense layer of `hidden`.

    For inputs of at least 2 ** len(widths) pixels; 1.8 M parameters at 48x48 with widths 32 to 256 and 256 hidden.
    """
    rows, columns = (size >> len(widths) for size in (height, width))
    if not rows * columns:
        raise EdgemotionError(
            f"data.height and data.width are {height} and {width}; vgg halves them {len(widths)} times "
            f"and needs at least {2 ** len(widths)}"
        )
    layers: list[nn.Module] = []
    previous = channels
    for outputs in widths:
        for inputs in (previous, outputs):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        previous = outputs
    head = [nn.Dropout(dropout), nn.Linear(previous * rows * columns, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.Linear(hidden, classes))
