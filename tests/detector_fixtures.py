"""Drawn faces on backgrounds at known boxes, a tiny detector and training settings for the tests of detection.

Taken by `runpy.run_path`, as torch_fixtures.py is.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from edgemotion.datasets.canvas import sample_view
from edgemotion.datasets.facs import sample_expression, sample_identity
from edgemotion.datasets.rendering import render
from edgemotion.datasets.splits import Split
from edgemotion.networks.detector import Detector
from edgemotion.networks.network import Network
from edgemotion.settings import Train

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "torch_fixtures.py")))
need_ultralytics = given.need_ultralytics
CLASSES = ["happy", "neutral", "surprise"]


def scenes(count: int, seed: int = 0, size: int = 64, channels: int = 3) -> Split:
    """Noise with one face each, of half to most of the image's side: whole images and the faces' boxes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, size, size, channels)).astype(np.uint8)
    labels, boxes = np.arange(count) % 3, np.zeros((count, 4), np.float32)
    for image, label, box in zip(images, labels, boxes, strict=True):
        face = render(sample_identity(rng), sample_expression(CLASSES[label], 1.0, rng), sample_view(rng), rng=rng)
        side = int(rng.integers(size // 2, size - size // 8))
        x, y = rng.integers(0, size - side, 2).tolist()
        # The tint of a skin, so that channels in the wrong order are found out.
        tint = np.array([1.0, 0.75, 0.6])[:channels]
        image[y : y + side, x : x + side] = cv2.resize(face, (side, side))[:, :, None] * tint
        box[:] = np.array([x, y, x + side, y + side]) / size
    ids = [f"{seed}/{number}.png" for number in range(count)]
    return Split(images, labels, ids, np.zeros(count, bool), np.zeros(count, np.int64), boxes, CLASSES)


class TinyDetector(Detector):
    """Four anchors, one a quarter of the image: a convolution gives distances of the box's sides and class logits."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Conv2d(8, 4 + classes, 1)
        grid = torch.cartesian_prod(torch.arange(2), torch.arange(2)).flip(1)
        self.register_buffer("anchors", (grid + 0.5) / 2)

    def detect(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raw = self.head(self.backbone(images)).flatten(2).transpose(1, 2)
        distance = raw[..., :4].sigmoid()
        corners = [self.anchors - distance[..., :2], self.anchors + distance[..., 2:]]
        return torch.cat(corners, 2), raw[..., 4:]


def tiny_network(channels: int = 3, size: int = 16) -> Network:
    """A detection network that needs no extra."""
    torch.manual_seed(0)
    module = TinyDetector(3, channels).eval()
    torch.nn.init.normal_(module.head.weight)
    return Network(
        module, "tiny", {}, CLASSES, size, size, channels, [0.0] * channels, [255.0] * channels,
        parent=None, method="train", settings={}, data_sha256={},
    )  # fmt: skip


def yolo_settings(augment: dict[str, Any] | None = None, **changes: Any) -> Train:
    """Two quick epochs of what a YOLO's training knows."""
    return given.train_settings(
        augment, **{"trainer": "yolo", "label_smoothing": 0.0, "learning_rate": 0.01, **changes}
    )
