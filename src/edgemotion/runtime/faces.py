"""Scenes in, the boxes of their faces, square crops around them and what these show out, by YuNet and a classifier."""

import os
import threading
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgemotion.errors import EdgemotionError
from edgemotion.files import replacing, sha256_file
from edgemotion.runtime.classifier import Classifier, fit

# YuNet (Wu et al. 2023), MIT licence, from OpenCV's model zoo.
YUNET_URL = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/"
    "face_detection_yunet_2023mar.onnx"
)
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_VARIABLE = "EDGEMOTION_FACES"


@dataclass(frozen=True)
class Face:
    """The box x1, y1, x2, y2 of a face in pixels of its scene and a score of 0 to 1."""

    box: tuple[float, float, float, float]
    score: float


class FaceFinder:
    """YuNet, opened for scenes of any size; calls from several threads wait for each other."""

    def __init__(self, model: Path | str, longest: int = 320, score: float = 0.6) -> None:
        """Look at scenes whose longer side is above `longest` pixels at that size; keep faces of at least `score`."""
        self.longest, self.lock = longest, threading.Lock()
        # OpenCV 5 warns at each opening that its new engine knows no targets, which nobody asked it for.
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self.detector = cv2.FaceDetectorYN.create(str(model), "", (longest, longest), score, 0.3, 100)
        except cv2.error as error:
            raise EdgemotionError(f"{model} does not load as a YuNet face detector: {error.err}") from None
        finally:
            cv2.utils.logging.setLogLevel(level)

    def find(self, scene: np.ndarray) -> list[Face]:
        """Find the faces in a scene uint8 [H,W], [H,W,1] or [H,W,3] BGR, the best first."""
        if scene.ndim == 2 or scene.shape[2] == 1:
            scene = cv2.cvtColor(scene, cv2.COLOR_GRAY2BGR)
        height, width = scene.shape[:2]
        shrink = min(1.0, self.longest / max(height, width))
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        if size != (width, height):
            scene = cv2.resize(scene, size, interpolation=cv2.INTER_AREA)
        with self.lock:
            self.detector.setInputSize(size)
            found = self.detector.detect(scene)[1]
        if found is None:
            return []
        across, down = width / size[0], height / size[1]
        rows = sorted(found[:, [0, 1, 2, 3, 14]].tolist(), key=lambda row: -row[4])
        return [Face((x * across, y * down, (x + w) * across, (y + h) * down), score) for x, y, w, h, score in rows]


def crop_face(scene: np.ndarray, box: tuple[float, float, float, float], side: float) -> np.ndarray:
    """Cut the square around a box's centre, `side` box heights long; what lies outside the scene repeats its border.

    A network knows faces as its dataset framed them, so the side belongs to the champion (`face_side` of its card).
    """
    x1, y1, x2, y2 = box
    length = max(1, round((y2 - y1) * side))
    left, top = round((x1 + x2 - length) / 2), round((y1 + y2 - length) / 2)
    height, width = scene.shape[:2]
    rows = np.arange(top, top + length).clip(0, height - 1)
    columns = np.arange(left, left + length).clip(0, width - 1)
    # A slice is many times as fast as the same choice by indices, which only a square at the border needs.
    square = scene[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if square.shape[:2] != (length, length):
        square = square[(rows - rows[0])[:, None], columns - columns[0]]
    return np.ascontiguousarray(square)


def classify_crops(classifier: Classifier, crops: Sequence[np.ndarray]) -> np.ndarray:
    """Class probabilities float32 [N,classes] of face crops, uint8 [H,W,3] BGR or [H,W] of any size, in one batch."""
    variant = classifier.variant
    return classifier.run(np.stack([fit(crop, variant.height, variant.width, variant.channels) for crop in crops]))[1]


def find_yunet(path: Path | str | None = None) -> Path:
    """The face detector's file: `path`, that of EDGEMOTION_FACES, or the one that was downloaded before.

    Raises EdgemotionError where there is none, and says how to get it; nothing is downloaded unasked.
    """
    if path or os.environ.get(YUNET_VARIABLE):
        path = Path(path or os.environ[YUNET_VARIABLE])
        if not path.is_file():
            raise EdgemotionError(f"the face detector {path} is missing; give the path of YuNet's ONNX file")
        return path
    kept = kept_yunet()
    if not kept.is_file():
        raise EdgemotionError(
            f"there is no face detector; run `edgemotion faces` to download it, or set {YUNET_VARIABLE} to its file"
        )
    return kept


def download_yunet() -> Path:
    """Download the face detector once and check its SHA-256; EdgemotionError for a failure or another content."""
    kept = kept_yunet()
    if kept.is_file() and sha256_file(kept) == YUNET_SHA256:
        return kept
    try:
        with replacing(kept) as partial:
            with urllib.request.urlopen(YUNET_URL, timeout=30) as answer:
                partial.write_bytes(answer.read(1 << 24))
            if (found := sha256_file(partial)) != YUNET_SHA256:
                raise EdgemotionError(f"{YUNET_URL} has the SHA-256 {found[:12]}, not {YUNET_SHA256[:12]}")
    except OSError as error:
        raise EdgemotionError(
            f"{YUNET_URL} cannot be downloaded ({error}); put the file at {kept} or set {YUNET_VARIABLE} to it"
        ) from None
    return kept


def kept_yunet() -> Path:
    """Where a downloaded face detector is kept: the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "edgemotion" / "face_detection_yunet_2023mar.onnx"
