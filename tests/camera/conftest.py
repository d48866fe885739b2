"""A champion that answers by brightness, a finder of bright squares and films of them: all known by hand."""

import json
import os
from collections.abc import Callable, Generator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgemotion.camera.feed import Feed, Frame
from edgemotion.runtime.faces import Face


class SquareFinder:
    """Finds the bounding box of everything brighter than 40; `calls` counts the searches."""

    def __init__(self) -> None:
        self.calls = 0

    def find(self, scene: np.ndarray) -> list[Face]:
        self.calls += 1
        x, y, width, height = cv2.boundingRect((scene[:, :, 0] > 40).astype(np.uint8))
        return [Face((x, y, x + width, y + height), 0.9)] if width else []


class Slides(Feed):
    """The given images and truths, in turn or at a rate."""

    def __init__(
        self, images: list[np.ndarray], truths: list[str | None] | None = None, fps: float = 30.0, live: bool = False
    ) -> None:
        super().__init__("slides", fps, live)
        self.images, self.truths = images, truths or [None] * len(images)

    def shots(self) -> Generator[Frame, None, None]:
        for number, (image, truth) in enumerate(zip(self.images, self.truths, strict=True)):
            if (when := self.due(number)) is None:
                return
            yield Frame(image, when, number, number / self.fps, truth)


def square(level: int, left: int = 60, top: int = 50, side: int = 40) -> np.ndarray:
    """A black scene, 160x120, with one gray square."""
    scene = np.zeros((120, 160, 3), np.uint8)
    scene[top : top + side, left : left + side] = level
    return scene


@pytest.fixture
def finder() -> SquareFinder:
    return SquareFinder()


@pytest.fixture
def champion(tmp_path: Path, make_variant: Callable[..., Path]) -> Path:
    """Classes dark, middle, bright by mean brightness; certain from 0.6 on."""
    folder = make_variant(tmp_path / "champion")
    card = {
        "dataset": "brightness",
        "metrics": {},
        "certain": {"probability": 0.6, "accuracy": 0.9, "coverage": 0.8},
        "face_side": 0.9,
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def make_square() -> Callable[..., np.ndarray]:
    return square


@pytest.fixture
def make_slides() -> type[Slides]:
    return Slides


@pytest.fixture
def yunet() -> Path:
    """The face detector that EDGEMOTION_FACES names."""
    if not (path := os.environ.get("EDGEMOTION_FACES")):
        pytest.skip("EDGEMOTION_FACES names no face detector")
    return Path(path)
