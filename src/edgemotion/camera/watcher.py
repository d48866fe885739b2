"""One frame after the other in; the persons seen in it, each with its smoothed emotion, out."""

import time
from pathlib import Path
from typing import Protocol

import numpy as np

from edgemotion.camera.tracks import Track, Tracker, area
from edgemotion.errors import EdgemotionError
from edgemotion.runtime.champion import load_card
from edgemotion.runtime.classifier import Classifier
from edgemotion.runtime.faces import Face, classify_crops, crop_face
from edgemotion.runtime.smoothing import MEASUREMENT_NOISE, PROCESS_NOISE, KalmanSmoother


class Finder(Protocol):
    """What finds faces; edgemotion.runtime.faces.FaceFinder is one."""

    def find(self, scene: np.ndarray) -> list[Face]: ...


class Watcher:
    """A champion, a face finder and the persons seen so far."""

    def __init__(
        self,
        champion: Path,
        finder: Finder,
        *,
        threads: int = 1,
        detect_every: int = 1,
        max_faces: int = 5,
        process_noise: float = PROCESS_NOISE,
        measurement_noise: float = MEASUREMENT_NOISE,
    ) -> None:
        """Open the champion; EdgemotionError for a number below 1 and for a champion that finds faces itself."""
        for key, value in {"threads": threads, "detect_every": detect_every, "max_faces": max_faces}.items():
            if value < 1:
                raise EdgemotionError(f"{key} must be 1 or more, not {value}")
        self.card, self.classifier = load_card(champion), Classifier(champion, threads)
        self.variant, self.finder = self.classifier.variant, finder
        self.threads, self.detect_every, self.max_faces = threads, detect_every, max_faces
        if self.variant.detects:
            raise EdgemotionError(f"{champion} holds a detector; the camera needs a champion that classifies faces")
        classes = len(self.variant.classes)
        self.tracker = Tracker(lambda: KalmanSmoother(classes, process_noise, measurement_noise))
        self.looked = self.searches = 0

    def warm_up(self, width: int = 640, height: int = 480) -> None:
        """Run everything once, so that the first frame finds all allocated."""
        scene = np.zeros((height, width, 3), np.uint8)
        self.finder.find(scene)
        classify_crops(self.classifier, [crop_face(scene, (0, 0, width, height), self.card.face_side)])

    def search(self, image: np.ndarray) -> float | None:
        """Take the boxes of the largest faces if it is their turn, or nobody is there: the seconds that it took."""
        turn = self.looked % self.detect_every == 0 or not self.tracker.visible()
        self.looked += 1
        if not turn:
            return None
        started = time.perf_counter()
        boxes = sorted((face.box for face in self.finder.find(image)), key=area, reverse=True)
        self.tracker.update(boxes[: self.max_faces])
        self.searches += 1
        return time.perf_counter() - started

    def recognise(self, image: np.ndarray) -> list[Track]:
        """Crop, classify and smooth whoever is visible, the largest face first."""
        tracks = self.tracker.visible()
        if tracks:
            crops = [crop_face(image, track.box, self.card.face_side) for track in tracks]
            for track, row in zip(tracks, classify_crops(self.classifier, crops), strict=True):
                track.update(row)
        return tracks
