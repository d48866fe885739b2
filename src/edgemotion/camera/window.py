"""Drawn frames in; a window that shows them, until a key closes it, out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from edgemotion.errors import EdgemotionError

TITLE = "edgemotion"
ESCAPE = 27


@contextmanager
def window() -> Iterator[Callable[[np.ndarray], bool]]:
    """Yield a function that shows an image uint8 [H,W,3] BGR and tells whether Escape or q was pressed.

    Raises EdgemotionError where OpenCV was built without windows or finds no screen.
    """
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)
    except cv2.error:
        raise EdgemotionError(
            "this OpenCV opens no window; install opencv-python in place of opencv-python-headless, or write a film"
        ) from None

    def show(image: np.ndarray) -> bool:
        cv2.imshow(TITLE, image)
        return cv2.waitKey(1) & 0xFF in (ESCAPE, ord("q"))

    try:
        yield show
    finally:
        cv2.destroyWindow(TITLE)
