"""A frame and its faces' emotions in; the same frame with boxes, labels and bars drawn on it out."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edgemotion.camera.tracks import Box

Colour = tuple[int, int, int]

# Okabe and Ito's colours, BGR, which people with a colour-vision deficiency can tell apart.
PALETTE: tuple[Colour, ...] = (
    (0, 94, 213),
    (115, 158, 0),
    (167, 121, 204),
    (66, 228, 240),
    (200, 200, 200),
    (233, 180, 86),
    (0, 159, 230),
    (178, 114, 0),
)
WHITE, FAINT, DARK, TROUGH = (255, 255, 255), (185, 185, 185), (24, 24, 24), (84, 84, 84)
UNSURE = (190, 190, 190)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Shown(NamedTuple):
    """A face to draw: its box in pixels, the probabilities [classes] and whether the label is uncertain."""

    box: Box
    probabilities: np.ndarray
    uncertain: bool


class Pen:
    """Draws on one frame, in lengths that fit its height."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]
        self.unit = max(0.5, min(self.height / 480, self.width / 640))

    def length(self, pixels: float) -> int:
        """Pixels of this frame for pixels of one of 640x480."""
        return max(1, round(pixels * self.unit))

    def panel(self, left: int, top: int, width: int, height: int) -> None:
        """Darken a rectangle, so that text is readable on it and the scene shines through."""
        part = self.image[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
        if part.size:
            part[:] = cv2.convertScaleAbs(part, alpha=0.16, beta=12)

    def write(self, text: str, left: int, base: int, size: float, colour: Colour, thick: int = 1) -> None:
        scale = size * self.unit
        cv2.putText(self.image, text, (left, base), FONT, scale, colour, self.length(thick), cv2.LINE_AA)

    def measure(self, text: str, size: float, thick: int = 1) -> int:
        """Width of a text in pixels of this frame."""
        return int(cv2.getTextSize(text, FONT, size * self.unit, self.length(thick))[0][0])


def draw(image: np.ndarray, faces: Sequence[Shown], classes: Sequence[str], status: str) -> None:
    """Draw on uint8 [H,W,3] BGR in place: a box and a label a face, bars for the first, and `status` in a corner."""
    pen = Pen(image)
    for face in reversed(faces):
        draw_box(pen, face)
    for place, face in enumerate(faces):
        best = int(face.probabilities.argmax())
        draw_label(pen, face, classes[best])
        if place == 0:
            draw_bars(pen, face, classes)
    width = pen.measure(status, 0.5) + pen.length(20)
    # At the bottom, for labels stand above their faces.
    pen.panel(pen.length(8), pen.height - pen.length(34), width, pen.length(26))
    pen.write(status, pen.length(18), pen.height - pen.length(16), 0.5, WHITE)


def colour_of(face: Shown) -> Colour:
    return UNSURE if face.uncertain else PALETTE[int(face.probabilities.argmax()) % len(PALETTE)]


def draw_box(pen: Pen, face: Shown) -> None:
    """A frame with strong corners; an uncertain face has the corners only. A dark rim parts it from bright scenes."""
    x1, y1, x2, y2 = (round(value) for value in face.box)
    reach = round(0.16 * min(x2 - x1, y2 - y1))
    colour = colour_of(face)
    if not face.uncertain:
        cv2.rectangle(pen.image, (x1, y1), (x2, y2), DARK, pen.length(3), cv2.LINE_AA)
        cv2.rectangle(pen.image, (x1, y1), (x2, y2), colour, pen.length(1), cv2.LINE_AA)
    lines = [
        np.array([(x, y + down), (x, y), (x + across, y)], np.int32)
        for x, across in ((x1, reach), (x2, -reach))
        for y, down in ((y1, reach), (y2, -reach))
    ]
    cv2.polylines(pen.image, lines, False, DARK, pen.length(6), cv2.LINE_AA)
    cv2.polylines(pen.image, lines, False, colour, pen.length(3), cv2.LINE_AA)


def draw_label(pen: Pen, face: Shown, label: str) -> None:
    """The label and its probability above the box, or below its upper edge where the frame ends."""
    text, percent = (f"{label}?" if face.uncertain else label), f"{face.probabilities.max():.0%}"
    gap, height = pen.length(12), pen.length(32)
    first, second = pen.measure(text, 0.7, 2), pen.measure(percent, 0.6)
    width = first + second + 3 * gap
    left = min(max(round(face.box[0]), 0), max(0, pen.width - width))
    top = round(face.box[1]) - height - pen.length(6)
    if top < 0:
        top = max(0, round(face.box[1]) + pen.length(6))
    pen.panel(left, top, width, height)
    stripe = left + pen.length(4)
    if not face.uncertain:
        cv2.rectangle(pen.image, (left, top), (stripe, top + height - 1), colour_of(face), cv2.FILLED)
    base = top + pen.length(22)
    pen.write(text, left + gap, base, 0.7, FAINT if face.uncertain else WHITE, 1 if face.uncertain else 2)
    pen.write(percent, left + first + 2 * gap, base, 0.6, FAINT if face.uncertain else WHITE)


def draw_bars(pen: Pen, face: Shown, classes: Sequence[str]) -> None:
    """Each class' probability as a bar, beside the box where there is most room."""
    margin, row, bar = pen.length(10), pen.length(20), pen.length(84)
    names = max(pen.measure(name, 0.45) for name in classes)
    width, height = names + bar + 3 * margin, len(classes) * row + margin
    x1, y1, x2, _ = (round(value) for value in face.box)
    left = x2 + margin if pen.width - x2 >= x1 else x1 - margin - width
    left = min(max(left, 0), max(0, pen.width - width))
    top = min(max(y1, 0), max(0, pen.height - height))
    pen.panel(left, top, width, height)
    best = int(face.probabilities.argmax())
    for place, (name, share) in enumerate(zip(classes, face.probabilities.tolist(), strict=True)):
        base = top + row * place + pen.length(19)
        strong = place == best
        pen.write(name, left + margin, base, 0.45, WHITE if strong else FAINT)
        start, y = left + names + 2 * margin, base - pen.length(9)
        cv2.rectangle(pen.image, (start, y), (start + bar, y + pen.length(8)), TROUGH, cv2.FILLED)
        if (filled := round(bar * min(max(share, 0.0), 1.0))) > 0:
            colour = colour_of(face) if strong else FAINT
            cv2.rectangle(pen.image, (start, y), (start + filled, y + pen.length(8)), colour, cv2.FILLED)
