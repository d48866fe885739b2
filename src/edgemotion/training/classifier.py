"""A classifier and prepared splits in; the network trained on their faces, its normalisation and its history out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from edgemotion.datasets.splits import Split, faces
from edgemotion.errors import EdgemotionError
from edgemotion.networks.detector import Detector
from edgemotion.networks.network import Network
from edgemotion.registry import register
from edgemotion.settings import Train
from edgemotion.training.loop import fit


@register("trainer")
def classifier(
    module: nn.Module,
    train: Split,
    val: Split,
    *,
    settings: Train,
    precision: str,
    seed: int,
    checkpoint: Path,
    threads: int,
    on_epoch: Callable[[dict[str, float]], None],
    teachers: Sequence[Network],
) -> tuple[nn.Module, tuple[list[float], list[float]], list[dict[str, float]]]:
    """Train on the faces of both splits, normalised by the mean and standard deviation of train, one a channel.

    Returns the averaged network, (mean, std) of pixels of 0 to 255, and a row an epoch.
    """
    if isinstance(module, Detector):
        raise EdgemotionError("train.trainer is 'classifier', but the model is a detector; use train=yolo")
    train, val = faces(train), faces(val)
    mean, std = (statistic((0, 1, 2)).round(4).tolist() for statistic in (train.images.mean, train.images.std))
    trained, history = fit(
        module,
        (train.images, train.labels),
        (val.images, val.labels),
        mean=mean,
        std=std,
        settings=settings,
        precision=precision,
        seed=seed,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        teachers=teachers,
    )
    return trained, (mean, std), history
