"""Decoded images in, answers out: the champion and the face finder, each opened once for all requests."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edgemotion.errors import EdgemotionError
from edgemotion.runtime.champion import load_card
from edgemotion.runtime.classifier import Classifier
from edgemotion.runtime.detector import Detector
from edgemotion.runtime.faces import FaceFinder, classify_crops, crop_face, find_yunet
from edgemotion.runtime.smoothing import KalmanSmoother
from edgemotion.serve.images import UploadError, decode_image, pixels
from edgemotion.serve.options import Options

# Of one inference; what is quicker may run in the event loop.
QUICK_MS = 2.0


@dataclass
class Timings:
    """Milliseconds that one request spent in decoding, in finding faces and in the model."""

    decode_ms: float = 0.0
    faces_ms: float = 0.0
    inference_ms: float = 0.0


class Engine:
    """Everything that answers; its methods may be called from several threads at once."""

    def __init__(self, options: Options) -> None:
        # Each request has its thread; OpenCV's own would only take turns with the others.
        cv2.setNumThreads(1)
        self.options = options
        self.card = load_card(options.champion)
        self.classifier = Classifier(options.champion, options.threads)
        self.variant = self.classifier.variant
        self.version = str(self.variant.info["sha256"])
        self.detector = Detector(options.champion, options.threads) if self.variant.detects else None
        self.finder: FaceFinder | None = None
        self.no_faces = ""
        if self.detector is None:
            try:
                self.finder = FaceFinder(find_yunet(options.faces))
            except EdgemotionError as error:
                # A path that was given must work; without one the other routes do.
                if options.faces:
                    raise
                self.no_faces = str(error)
        self.quick = self.warm_up() < QUICK_MS

    def warm_up(self) -> float:
        """Run a few times, so that the first request finds everything allocated; the milliseconds of the fastest."""
        image = np.zeros((1, self.variant.height, self.variant.width, self.variant.channels), np.uint8)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            self.classifier.run(image)
            times.append(milliseconds_since(started))
        return min(times)

    def decode(self, contents: Sequence[bytes], timings: Timings, channels: int | None = None) -> list[np.ndarray]:
        """Decode a request's images, to the champion's channels; UploadError tells which of several it is about."""
        if len(contents) > self.options.max_batch:
            raise UploadError(413, f"{len(contents)} images are too many; send at most {self.options.max_batch}")
        # One image's limit is that of decode_image; several are held together, so it is also that of their sum.
        most = self.options.max_pixels
        if len(contents) > 1 and (total := sum(map(pixels, contents))) > most:
            raise UploadError(413, f"the images have {total} pixels together; at most {most} are taken in one request")
        started, images = time.perf_counter(), []
        for number, content in enumerate(contents):
            try:
                images.append(decode_image(content, most, channels or self.variant.channels))
            except UploadError as error:
                if len(contents) == 1:
                    raise
                raise UploadError(error.status, f"file {number}: {error.detail}") from None
        timings.decode_ms = milliseconds_since(started)
        return images

    def classify(self, crops: Sequence[np.ndarray], timings: Timings) -> np.ndarray:
        """Class probabilities float32 [N,classes] of face crops, and how long they took."""
        started = time.perf_counter()
        probabilities = classify_crops(self.classifier, crops)
        timings.inference_ms = milliseconds_since(started)
        return probabilities

    def answer(self, probabilities: np.ndarray) -> dict[str, Any]:
        """Label, all scores and whether the label is uncertain, of the probabilities of one face."""
        return self.card.answer(self.variant.classes, probabilities)

    def find(self, scene: np.ndarray, timings: Timings) -> list[dict[str, Any]]:
        """The faces of a scene, the best first, each with its box in pixels, its score and its emotion.

        Raises UploadError 503 where no face detector is installed.
        """
        started = time.perf_counter()
        if self.detector:
            found = self.detector.detect(scene)
            timings.inference_ms = milliseconds_since(started)
            return [placed(face.box, face.score) | {"label": face.label} for face in found]
        if self.finder is None:
            raise UploadError(503, self.no_faces)
        faces = self.finder.find(scene)[: self.options.max_batch]
        timings.faces_ms = milliseconds_since(started)
        if not faces:
            return []
        crops = [crop_face(scene, face.box, self.card.face_side) for face in faces]
        answers = [self.answer(row) for row in self.classify(crops, timings)]
        return [placed(face.box, face.score) | answer for face, answer in zip(faces, answers, strict=True)]

    def smoother(self) -> KalmanSmoother:
        """A filter for one stream of this champion's probabilities."""
        options = self.options
        return KalmanSmoother(len(self.variant.classes), options.process_noise, options.measurement_noise)


def placed(box: tuple[float, float, float, float], score: float) -> dict[str, Any]:
    """A face's place in an answer; a tenth of a pixel is finer than any detector."""
    return {"box": [round(value, 1) for value in box], "score": round(score, 6)}


def milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
