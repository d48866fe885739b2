"""Learnable images, tiny networks and quick training settings for the tests that need torch.

Test folders are no packages: a test file takes what it needs with `runpy.run_path`.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgemotion.compression.export import to_onnx
from edgemotion.compression.onnx_file import strip
from edgemotion.compression.quantization import Job
from edgemotion.datasets.splits import Split, whole_boxes
from edgemotion.networks.network import Network, build
from edgemotion.runtime.variant import Variant
from edgemotion.settings import Augment, Distill, Train

CLASSES = ["left", "right", "middle"]
COMPACT: dict[str, Any] = {"widths": [8, 16], "depths": [1, 1], "stem_stride": 1, "dropout": 0.2}
NO_AUGMENT: dict[str, Any] = {
    "flip": False,
    "rotate_degrees": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "noise": 0.0,
    "erase_probability": 0.0,
    "erase_size": 0.0,
}

torch.set_num_threads(1)


def patterned(count: int, size: int = 16, channels: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one bright third: images uint8 [N,size,size,channels] and labels int64 [N] of CLASSES."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = generator.integers(0, 120, (count, size, size, channels))
    for start, chosen in zip((0, 2, 1), range(3), strict=True):
        images[labels == chosen, :, start * size // 3 : (start + 1) * size // 3] += 100
    return images.astype(np.uint8), labels.astype(np.int64)


def split_of(count: int, seed: int, size: int = 16) -> Split:
    """The same as a split on disk has it."""
    images, labels = patterned(count, size=size, seed=seed)
    ids = [f"{seed}/{index}.png" for index in range(count)]
    leaked, streams = np.zeros(count, bool), np.zeros(count, np.int64)
    return Split(images, labels, ids, leaked, streams, whole_boxes(count), CLASSES)


def network_of(
    name: str = "compact",
    args: dict[str, Any] = COMPACT,
    classes: int = 3,
    channels: int = 1,
    size: int = 16,
    seed: int = 0,
) -> Network:
    """A network whose weights and BatchNorm statistics have seen images, so that its logits are not near zero."""
    torch.manual_seed(seed)
    module = build(name, args, classes, channels, size, size)
    images = torch.from_numpy(patterned(32, size, channels)[0]).permute(0, 3, 1, 2).float()
    mean, std = [110.0 + channel for channel in range(channels)], [50.0 + channel for channel in range(channels)]
    module.train()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        for batch in images.split(16):
            module((batch - 110) / 50)
    labels = [f"class {number}" for number in range(classes)]
    return Network(
        module.eval(), name, dict(args), labels, size, size, channels, mean, std,
        parent=None, method="train", settings={"seed": seed}, data_sha256={"images.npy": "0" * 64},
    )  # fmt: skip


def train_settings(augment: dict[str, Any] | None = None, **changes: Any) -> Train:
    """Two quick epochs without augmentation, or with the given part of it."""
    given: dict[str, Any] = {
        "trainer": "classifier",
        "epochs": 2,
        "batch_size": 16,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "warmup": 0.25,
        "label_smoothing": 0.1,
        "mixup": 0.0,
        "ema_decay": 0.9,
        "balance": "none",
        "freeze": [],
        "device": "cpu",
        "distill": Distill("none", weight=0.9, temperature=2.0),
    }
    return Train(**{**given, **changes}, augment=Augment(**{**NO_AUGMENT, **(augment or {})}))


def job_of(network: Network, folder: Path, train: Split, val: Split, **changes: Any) -> Job:
    """A network as the export stage leaves it, and what may be used to quantize it."""
    folder.mkdir(parents=True, exist_ok=True)
    model = to_onnx(network)
    strip(model)
    onnx.save(model, folder / "model.onnx")
    info = {
        "name": "fp32",
        "classes": network.classes,
        "input": {"height": network.height, "width": network.width, "channels": network.channels},
        "sha256": digest((folder / "model.onnx").read_bytes()),
    }
    arguments = {"train_settings": train_settings(), "seed": 7, "threads": 1, "max_accuracy_drop": 1.0, **changes}
    return Job(Variant(folder, info), train, val, **arguments)


def need_ultralytics() -> None:
    """Skip where the extra is missing; importing it here, as importorskip does, would leave it connected."""
    if find_spec("ultralytics") is None:
        pytest.skip("needs the extra: uv run --extra yolo pytest")


def digest(content: bytes) -> str:
    """SHA-256 in hex; a failed comparison of the bytes themselves would keep pytest busy for minutes."""
    return hashlib.sha256(content).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all files of a folder by their relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path.read_bytes()) for path in paths}


def model_digest(model: onnx.ModelProto) -> str:
    """SHA-256 of a model as it would be written."""
    return digest(model.SerializeToString(deterministic=True))
