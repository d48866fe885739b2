"""A camera's number or address or a film's path in; its frames, with the time of their capture, out."""

import math
import re
import time
from collections.abc import Generator
from pathlib import Path

import cv2

from edgemotion.camera.feed import Feed, Frame
from edgemotion.errors import EdgemotionError

# Many cameras tell no rate; this one is common, and only the frame rate of a written film depends on it.
CAMERA_FPS = 30.0
# How long a stream may keep silent, when it is opened and between two frames, in milliseconds.
PATIENCE = 10_000


class Camera(Feed):
    """A camera by its number, its device file or the address of its stream; a frame is captured when it is handed over.

    Of a stream that is when it has come and is decoded: its way through the network is in no latency.
    """

    def __init__(self, place: int | str, width: int = 640, height: int = 480) -> None:
        """Open the camera; EdgemotionError where there is none or it shows nothing."""
        # OpenCV tells the terminal of each driver that it tries.
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self.capture = open_capture(place)
            # A stream keeps its own size.
            self.capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            self.capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
            self.capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            shown = self.capture.isOpened() and self.capture.read()[0]
        finally:
            cv2.utils.logging.setLogLevel(level)
        name = f"camera {without_secrets(str(place))}"
        if not shown:
            self.capture.release()
            other = "another index" if isinstance(place, int) else "the address of one that is on"
            raise EdgemotionError(f"{name} cannot be opened; give {other}, synthetic or a video file")
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        super().__init__(name, fps if 0 < fps < 1000 else CAMERA_FPS, live=True)

    def shots(self) -> Generator[Frame, None, None]:
        number, first = 0, time.perf_counter()
        try:
            while not self.stopped:
                good, image = self.capture.read()
                if not good:
                    self.failure = f"{self.name} gave no more frames"
                    return
                captured = time.perf_counter()
                yield Frame(image, captured, number, captured - first)
                number += 1
        finally:
            self.capture.release()


def is_address(source: str) -> bool:
    """Whether a source's text is a stream's address or a device file."""
    return "://" in source or Path(source).is_char_device()


def without_secrets(address: str) -> str:
    """An address without its user, password and query, which may hold either."""
    return re.sub(r"(?<=://)[^/]*@|\?.*", "", address)


def open_capture(place: int | str) -> cv2.VideoCapture:
    if isinstance(place, int):
        # OpenCV takes no greater number; no camera has this one either.
        return cv2.VideoCapture(min(place, 2**31 - 1))
    if "://" not in place:
        return cv2.VideoCapture(place, cv2.CAP_V4L2)
    patience = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, PATIENCE, cv2.CAP_PROP_READ_TIMEOUT_MSEC, PATIENCE]
    return cv2.VideoCapture(place, cv2.CAP_FFMPEG, patience)


class Video(Feed):
    """A film: every frame of it, or with `real_time` those that a camera's loop would have been in time for."""

    def __init__(self, path: Path | str, real_time: bool = False) -> None:
        """Open the file; EdgemotionError where it is missing, no film or, in real time, tells no frame rate."""
        if not Path(path).is_file():
            raise EdgemotionError(
                f"the video {path} is missing; give a camera's number or address, synthetic or a video file"
            )
        self.capture = cv2.VideoCapture(str(path))
        if not self.capture.isOpened():
            raise EdgemotionError(f"{path} is not a video that OpenCV can read")
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(fps) and fps > 0):
            self.capture.release()
            raise EdgemotionError(f"{path} tells no frame rate; write the video again with one")
        super().__init__(str(path), fps, live=real_time)

    def shots(self) -> Generator[Frame, None, None]:
        number = 0
        try:
            while (shot := self.capture.read())[0]:
                # Outside real time the work on a frame begins when it is decoded.
                when = self.due(number) if self.live else time.perf_counter()
                if when is None:
                    return
                yield Frame(shot[1], when, number, number / self.fps)
                number += 1
        finally:
            self.capture.release()
