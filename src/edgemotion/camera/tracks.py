"""The boxes of the faces in each frame in; which person is which, each with its smoothed emotion, out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgemotion.runtime.smoothing import KalmanSmoother

Box = tuple[float, float, float, float]


@dataclass
class Track:
    """One person: the last box, the filter, and the raw and smoothed probabilities [classes] of the last frame."""

    number: int
    box: Box
    smoother: KalmanSmoother
    missed: int = 0
    raw: np.ndarray | None = None
    smoothed: np.ndarray | None = None

    def update(self, probabilities: np.ndarray) -> None:
        self.raw, self.smoothed = probabilities, self.smoother.update(probabilities)


class Tracker:
    """Persons by the overlap of their boxes from one search to the next."""

    def __init__(self, make_smoother: Callable[[], KalmanSmoother], overlap: float = 0.3, patience: int = 15) -> None:
        """Boxes overlapping by an IoU of `overlap` or more are one person, who is forgotten after `patience` misses."""
        self.make_smoother, self.overlap, self.patience = make_smoother, overlap, patience
        self.tracks: list[Track] = []
        self.numbers = 0

    def update(self, boxes: Sequence[Box]) -> None:
        """Take the boxes of a search: the greatest overlaps are joined first, and what is left over is a new person."""
        pairs = sorted(
            ((iou(track.box, box), old, new) for old, track in enumerate(self.tracks) for new, box in enumerate(boxes)),
            key=lambda pair: (-pair[0], pair[1:]),
        )
        joined: dict[int, int] = {}
        for share, old, new in pairs:
            if share >= self.overlap and old not in joined and new not in joined.values():
                joined[old] = new
        for old, track in enumerate(self.tracks):
            track.missed = 0 if old in joined else track.missed + 1
            if old in joined:
                track.box = boxes[joined[old]]
        self.tracks = [track for track in self.tracks if track.missed <= self.patience]
        for new in sorted(set(range(len(boxes))) - set(joined.values())):
            self.tracks.append(Track(self.numbers, boxes[new], self.make_smoother()))
            self.numbers += 1

    def visible(self) -> list[Track]:
        """Who was seen in the last search, the largest face first."""
        return sorted((track for track in self.tracks if not track.missed), key=lambda track: -area(track.box))


def area(box: Box) -> float:
    x1, y1, x2, y2 = box
    return max(0.0, x2 - x1) * max(0.0, y2 - y1)


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2, in 0..1; 0 where both are empty."""
    starts, ends = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = area((*starts.tolist(), *ends.tolist()))
    union = area(first) + area(second) - shared
    return shared / union if union > 0 else 0.0
