"""A small archive of every layout: the same faces, written as the layout wants them; the contract tests read them back.

A new layout needs a function here, under its registry name in SAMPLES.
"""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

CLASSES = ["angry", "happy", "sad"]
SIZE = 12


class Face(NamedTuple):
    """One encoded image with its place."""

    split: str
    label: str
    content: bytes


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def faces(images: int = 2, seed: int = 0) -> list[Face]:
    """Noise of SIZE x SIZE gray pixels, `images` a class and split, in the order of split and class."""
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 256, (3 * len(CLASSES) * images, SIZE, SIZE), dtype=np.uint8)
    places = [(split, label) for split in ("train", "val", "test") for label in CLASSES for _ in range(images)]
    return [Face(split, label, png(image)) for (split, label), image in zip(places, noise, strict=True)]


def write(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


def image_folder(path: Path, given: Sequence[Face]) -> Path:
    return write(path, {f"{face.split}/{face.label}/{place:03d}.png": face.content for place, face in enumerate(given)})


def fer2013(path: Path, given: Sequence[Face]) -> Path:
    usages = {"train": ("train", "Training"), "val": ("test", "PublicTest"), "test": ("test", "PrivateTest")}
    names = ["{}/{label}/{}_{place:03d}.png".format(*usages[face.split], label=face.label, place=place)
             for place, face in enumerate(given)]  # fmt: skip
    return write(path, dict(zip(names, (face.content for face in given), strict=True)))


def yolo(path: Path, given: Sequence[Face]) -> Path:
    """Each face a little smaller than its image, its line without an end."""
    names = sorted({*CLASSES, *(face.label for face in given)})
    members = {"any/data.yaml": f"nc: {len(names)}\nnames: {json.dumps(names)}\n".encode()}
    for place, face in enumerate(given):
        folder = f"any/{face.split.replace('val', 'valid')}"
        members[f"{folder}/images/{place:03d}.png"] = face.content
        members[f"{folder}/labels/{place:03d}.txt"] = f"{names.index(face.label)} 0.5 0.5 0.75 0.5".encode()
    return write(path, members)


SAMPLES: dict[str, Callable[[Path, Sequence[Face]], Path]] = {
    "fer2013": fer2013,
    "image_folder": image_folder,
    "yolo": yolo,
}
