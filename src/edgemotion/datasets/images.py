"""One encoded image in; one uint8 array of the wanted size and channels out."""

from dataclasses import dataclass

import cv2
import numpy as np

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True)
class Record:
    """One labelled image of an archive; `image` is None where its bytes could not be read.

    `split` is train, val, test or streams; `stream` numbers the recorded sequence of a frame.
    """

    id: str
    split: str
    label: str
    image: np.ndarray | None
    stream: int = 0


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
