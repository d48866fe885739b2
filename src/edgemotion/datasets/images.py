"""An archive's images by their names; each decoded to one uint8 array, cut and resized."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import cv2
import numpy as np

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
# What archives call the splits, in small letters.
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# The box of an image that is all face.
WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Record:
    """One labelled image of an archive; `image` is None where its bytes could not be read.

    `split` is train, val, test or streams; `stream` numbers the recorded sequence of a frame. `box` is the face as
    x1, y1, x2, y2 in shares of the image's width and height. `problem` is the kind of a layout error: with it an image
    is kept and told, no image is left out and told.
    """

    id: str
    split: str
    label: str
    image: np.ndarray | None
    stream: int = 0
    box: tuple[float, float, float, float] = WHOLE
    problem: str = ""


def members(zipped: zipfile.ZipFile, suffixes: tuple[str, ...] = SUFFIXES) -> dict[PurePosixPath, str]:
    """Paths of the files with one of the suffixes and their names in the archive, sorted by these.

    The shadow files that macOS adds (__MACOSX/, ._name) are left out.
    """
    named = {PurePosixPath(name): name for name in sorted(zipped.namelist()) if not name.endswith("/")}
    return {
        path: name
        for path, name in named.items()
        if path.suffix.lower() in suffixes and "__MACOSX" not in path.parts and not path.name.startswith("._")
    }


def decode(content: bytes, channels: int) -> np.ndarray | None:
    """Decode PNG, JPEG, ... to uint8 [H,W,channels] (gray or RGB); None where OpenCV cannot read it."""
    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error:
        return None
    return None if image is None else image.reshape(*image.shape[:2], channels)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 [H,W,C] by area averaging down or bilinear up; the right size passes unchanged."""
    if image.shape[:2] == (height, width):
        return image
    smaller = image.shape[0] * image.shape[1] > height * width
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return resized.reshape(height, width, image.shape[2])


def crop(image: np.ndarray, box: Sequence[float] | np.ndarray) -> np.ndarray:
    """Cut uint8 [H,W,C] to a box (x1, y1, x2, y2 in shares), rounded to whole pixels and at least one each way."""
    height, width = image.shape[:2]
    left, top, right, bottom = (
        round(float(share) * size) for share, size in zip(box, (width, height) * 2, strict=True)
    )
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return image[top : max(bottom, top + 1), left : max(right, left + 1)]
