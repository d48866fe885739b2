"""Numbers of persons and frames and a seed in; a scene with one rendered face, filmed at a steady rate, out."""

import math
import time
from collections.abc import Generator
from typing import NamedTuple

import cv2
import numpy as np

from edgemotion.camera.feed import Feed, Frame
from edgemotion.datasets.rendering import render_stream
from edgemotion.errors import EdgemotionError

# The seeds of the synthetic dataset's splits and streams begin with 0 to 3: none of its persons is filmed here.
PLACE = 4
# Gray level of the plain background.
BACKGROUND = 112
# Share of the face's side over which it fades into the background.
FADE = 0.02
# Seconds in which the face comes back to where it was: across, down, and in size.
PERIODS = (9.0, 7.0, 11.0)


class Shot(NamedTuple):
    """A face uint8 [S,S] as the scene shows it, its left top corner and what it truly shows."""

    face: np.ndarray
    left: int
    top: int
    truth: str
    stream: int


class Synthetic(Feed):
    """Persons whose expressions change, one after the other, on the left and right half in turn.

    The face is 42 to 54 % of the scene's height (or of 3/4 of its width) and moves smoothly. With `live` a thread gives
    the frames at their time, as a camera would; otherwise each one is given as soon as it is wanted.
    """

    def __init__(
        self,
        streams: int = 2,
        frames: int = 300,
        seed: int = 0,
        fps: float = 30.0,
        size: tuple[int, int] = (640, 480),
        live: bool = True,
    ) -> None:
        """Render `streams` films of `frames` frames in scenes of `size`, width and height.

        EdgemotionError names a number that is not positive.
        """
        numbers = {"streams": streams, "frames": frames, "fps": fps, "width": size[0], "height": size[1]}
        for key, value in numbers.items():
            if not value > 0 or not math.isfinite(value):
                raise EdgemotionError(f"the synthetic source needs a {key} above 0, not {value}")
        if seed < 0:
            raise EdgemotionError(f"the synthetic source needs a seed of 0 or more, not {seed}")
        super().__init__("synthetic", fps, live)
        self.size = size
        # All before the clock starts: drawing a face takes longer than a frame lasts.
        self.film = [shot for stream in range(streams) for shot in film(stream, frames, seed, fps, size)]

    def shots(self) -> Generator[Frame, None, None]:
        width, height = self.size
        for number, shot in enumerate(self.film):
            scene = np.full((height, width, 3), BACKGROUND, np.uint8)
            side = len(shot.face)
            scene[shot.top : shot.top + side, shot.left : shot.left + side] = cv2.cvtColor(
                shot.face, cv2.COLOR_GRAY2BGR
            )
            # Of a late frame too this is when it was due, so that the delay counts.
            if (when := self.due(number) if self.live else time.perf_counter()) is None:
                return
            yield Frame(scene, when, number, number / self.fps, shot.truth, shot.stream)


def film(stream: int, frames: int, seed: int, fps: float, size: tuple[int, int]) -> list[Shot]:
    """Render one person's film and place its faces in a scene of `size`, width and height."""
    images, labels = render_stream(np.random.default_rng([seed, PLACE, stream]), frames)
    width, height = size
    unit = min(height, 0.75 * width)
    shots = []
    for frame, (image, label) in enumerate(zip(images, labels, strict=True)):
        across, down, near = (math.sin(2 * math.pi * frame / fps / period) for period in PERIODS)
        side = unit * (0.48 + 0.06 * near)
        # The next person appears elsewhere, so that nobody's box goes over to another.
        x = width * (0.71 if stream % 2 else 0.29) + 0.07 * width * across - side / 2
        y = height * (0.5 + 0.2 * down) - side / 2
        face = grow(image, side, x % 1, y % 1)
        shots.append(Shot(face, math.floor(x), math.floor(y), label, stream))
    return shots


def grow(image: np.ndarray, side: float, shift_x: float, shift_y: float) -> np.ndarray:
    """Enlarge an image uint8 [S,S] to `side` pixels, shifted by less than one, and fade it into the background."""
    pixels = max(2, math.floor(side))
    scale = side / len(image)
    # Pixel centres stand half a pixel from the edge in both images.
    offset = 0.5 * scale - 0.5
    matrix = np.array([[scale, 0, offset + shift_x], [0, scale, offset + shift_y]])
    grown = cv2.warpAffine(image, matrix, (pixels, pixels), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    edge = np.arange(pixels)
    ramp = ((np.minimum(edge, edge[::-1]) + 0.5) / max(1.0, FADE * pixels)).clip(0, 1)
    mask = np.minimum(ramp[:, None], ramp[None, :])
    return np.rint(BACKGROUND + mask * (grown.astype(np.float64) - BACKGROUND)).astype(np.uint8)
