"""LandmarkCNN: few convolutions and one very large dense layer, which sees where in the face each feature lies."""

from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import Positive, Share, Widths, register


@register("network")
def landmark_cnn(
    *, classes: int, channels: int, height: int, width: int, widths: Widths, hidden: Positive, dropout: Share
) -> nn.Module:
    """Build a convolution, BatchNorm and max pool for each of `widths`, the first 5x5, then a dense layer of `hidden`.

    With widths 64 to 512 and 2560 hidden: 48.8 M parameters for 96x96 RGB and 13.4 M for 48x48, nine tenths of them
    in the dense layer. For inputs of at least 2 ** len(widths) pixels.
    """
    rows, columns = (size >> len(widths) for size in (height, width))
    if not rows * columns:
        raise EdgemotionError(
            f"data.height and data.width are {height} and {width}; landmark_cnn halves them {len(widths)} times "
            f"and needs at least {2 ** len(widths)}"
        )
    layers: list[nn.Module] = []
    previous, kernel = channels, 5
    for outputs in widths:
        layers += [nn.Conv2d(previous, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        previous, kernel = outputs, 3
    head = [nn.Dropout(dropout), nn.Linear(previous * rows * columns, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.Linear(hidden, classes))
