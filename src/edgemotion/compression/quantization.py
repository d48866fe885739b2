"""What every way of quantization is given, and what it gives back."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from edgemotion.compression.onnx_file import DECODE
from edgemotion.datasets.splits import Split
from edgemotion.runtime.variant import Variant
from edgemotion.settings import Train


@dataclass(frozen=True)
class Job:
    """A float variant to quantize and everything that may be used for it; the test split is not among it.

    `train` is augmented and fine-tuned by the settings of the network's own training, `train_settings`.
    """

    parent: Variant
    train: Split
    val: Split
    train_settings: Train
    seed: int
    threads: int
    # In top-1 on val, against the parent.
    max_accuracy_drop: float


@dataclass
class Quantized:
    """An int8 model, and what model_info.json should tell of how it came about."""

    model: onnx.ModelProto
    notes: Mapping[str, Any] = field(default_factory=dict)
    # How often the network runs for one image.
    passes: int = 1


def decode_nodes(source: Path) -> list[str]:
    """The nodes that turn a detector's raw outputs into boxes: in int8 they would take all precision from them."""
    return [node.name for node in onnx.load(source).graph.node if node.name.startswith(DECODE)]


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the quantizer's advice of a pre-processing step, which changes nothing on these exports."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
