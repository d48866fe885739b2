"""LeNet-5 with ReLU and max pooling: the small classic, as a baseline (LeCun et al. 1998)."""

from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import Share, register


class LeNet(nn.Sequential):
    """A chain of layers that, without normalisation, need weights that keep the signal."""

    def reset_parameters(self) -> None:
        """Draw fresh weights: torch's own shrink the signal layer by layer (He et al. 2015, arXiv 1502.01852)."""
        for layer in self:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.get_parameter("bias"))


@register("network")
def lenet(*, classes: int, channels: int, height: int, width: int, dropout: Share) -> nn.Module:
    """Build LeNet for inputs of at least 12x12."""
    if min(height, width) < 12:
        raise EdgemotionError(f"data.height and data.width are {height} and {width}; lenet needs at least 12")
    rows, columns = ((size // 2 - 4) // 2 for size in (height, width))
    network = LeNet(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * rows * columns, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(84, classes),
    )
    network.reset_parameters()
    return network
