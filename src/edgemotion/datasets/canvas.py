"""A view of a face and shapes in face units in; the gray image they are drawn on out."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edgemotion.datasets.facs import sample, span

SIZE = 48
SUPERSAMPLING = 3
ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
# The outline of an ellipse of half width and half height 1.
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


@dataclass(frozen=True)
class View:
    """How the camera sees a face: angles in degrees, lengths as shares of the image side, tones in gray levels."""

    roll: float = span(-12, 12)
    yaw: float = span(-16, 16)
    pitch: float = span(-10, 10)
    scale: float = span(0.46, 0.54)
    shift_x: float = span(-0.05, 0.05)
    shift_y: float = span(-0.11, -0.03)
    gaze: float = span(-0.35, 0.35)
    light_angle: float = span(0, 360)
    light_slope: float = span(0.0, 0.4)
    gain: float = span(0.75, 1.2)
    gamma: float = span(0.75, 1.3)
    background: float = span(40, 200)
    background_slope: float = span(-40, 40)
    # In pixels of the 48x48 image.
    blur: float = span(0.0, 0.8)
    noise: float = span(2, 10)
    # A hand covers part of the left or right cheek beyond -0.9 or 0.9.
    hand: float = span(-1, 1)


def sample_view(rng: np.random.Generator) -> View:
    """Draw a pose, lighting and camera."""
    return sample(View, rng)


class Canvas:
    """A gray image, SUPERSAMPLING times as large as the result, on which shapes in face units are drawn."""

    def __init__(self, view: View):
        self.view = view
        self.side = SIZE * SUPERSAMPLING
        ramp = np.linspace(-1, 1, self.side)[:, None] * view.background_slope + view.background
        self.image: np.ndarray = np.repeat(ramp.clip(0, 255).astype(np.uint8), self.side, axis=1)
        # Folds of the skin: gray levels to take away, softened before they are.
        self.shade = np.zeros_like(self.image)

    def length(self, units: float) -> float:
        """Pixels of the canvas, float, for a length in face units."""
        return units * self.view.scale * self.side

    def place(self, points: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Points [N,2] of the face, `lift` above its ellipsoid, in 1/16 pixels of the canvas as int32 [N,1,2]."""
        view = self.view
        x, y = points.T
        depth = 0.75 * np.sqrt(np.maximum(1 - (x / 0.9) ** 2 - (y / 1.2) ** 2, 0)) + lift
        yaw, pitch, roll = (math.radians(angle) for angle in (view.yaw, view.pitch, view.roll))
        x, y = x * math.cos(yaw) + depth * math.sin(yaw), y * math.cos(pitch) + depth * math.sin(pitch)
        turned = np.stack([x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)], axis=1)
        pixels = self.length(1) * turned + self.side * (0.5 + np.array([view.shift_x, view.shift_y]))
        return np.rint(pixels * 16).astype(np.int32)[:, None]

    def fill(self, points: np.ndarray, tone: float, lift: float = 0.0) -> None:
        """Paint the inside of an outline [N,2]."""
        cv2.fillPoly(self.image, [self.place(points, lift)], level(tone), cv2.LINE_AA, shift=4)

    def stroke(self, points: np.ndarray, tone: float, width: float, lift: float = 0.0, closed: bool = False) -> None:
        """Paint a line along points [N,2], `width` in face units."""
        thickness = max(1, round(self.length(width)))
        cv2.polylines(self.image, [self.place(points, lift)], closed, level(tone), thickness, cv2.LINE_AA, shift=4)

    def fold(self, points: np.ndarray, depth: float, width: float = 0.025, lift: float = 0.0) -> None:
        """Add a fold of the skin, `depth` gray levels dark; none below one level."""
        if depth >= 1:
            thickness = max(1, round(self.length(width)))
            cv2.polylines(self.shade, [self.place(points, lift)], False, level(depth), thickness, cv2.LINE_AA, shift=4)

    def sink_folds(self) -> None:
        """Take the softened folds from the image."""
        self.image = cv2.subtract(self.image, cv2.GaussianBlur(self.shade, (5, 5), 1.2))
        self.shade[:] = 0


def level(tone: float) -> int:
    """The nearest gray level."""
    return round(min(max(tone, 0.0), 255.0))


def oval(x: float, y: float, half_width: float, half_height: float) -> np.ndarray:
    """The outline float64 [32,2] of an ellipse."""
    return np.array([x, y]) + CIRCLE * (half_width, half_height)
