"""Whole images in, the faces' boxes with their emotions out, by ONNX Runtime and OpenCV."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from edgemotion.errors import EdgemotionError
from edgemotion.runtime.classifier import check_images, fit, open_session, run_session
from edgemotion.runtime.variant import load_variant


class Boxes(NamedTuple):
    """What is left of one image's candidates, the best first.

    `boxes` float32 [K,4] as x1, y1, x2, y2 in shares of the image, `scores` float32 [K], `labels` int64 [K].
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Detection:
    """One face: its class, the score of 0 to 1, and the box x1, y1, x2, y2 in pixels of the given image."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class Detector:
    """A detection variant opened for inference; preprocessing and box decoding are inside its graph."""

    def __init__(self, folder: Path | str, threads: int = 1) -> None:
        self.variant = load_variant(folder)
        if not self.variant.detects:
            raise EdgemotionError(
                f"{folder} holds a classifier of face crops, which finds no boxes; "
                "open it with edgemotion.runtime.Classifier"
            )
        self.session = open_session(self.variant.model_path, threads)

    def run(self, images: np.ndarray, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """All candidates of uint8 [N,H,W,C]: boxes [N,A,4] in shares of the image and scores [N,A,classes], float32."""
        check_images(self.variant, images)
        boxes, scores = run_session(self.session, images, batch_size, ("boxes", "scores"))
        return boxes, scores

    def detect(
        self, image: np.ndarray, confidence: float = 0.25, iou: float = 0.7, max_detections: int = 300
    ) -> list[Detection]:
        """Find the faces in uint8 [H,W], [H,W,1] or [H,W,3] BGR of any size, the best first."""
        fitted = fit(image, self.variant.height, self.variant.width, self.variant.channels)
        boxes, scores = self.run(fitted[None])
        found = suppress(boxes[0], scores[0], confidence, iou, max_detections)
        pixels = found.boxes.clip(0, 1) * np.tile(image.shape[1::-1], 2)
        return [
            Detection(self.variant.classes[label], score, (x1, y1, x2, y2))
            for label, score, (x1, y1, x2, y2) in zip(
                found.labels.tolist(), found.scores.tolist(), pixels.tolist(), strict=True
            )
        ]


def suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    confidence: float,
    iou: float,
    max_detections: int = 300,
    multi_label: bool = False,
) -> Boxes:
    """Drop candidates that overlap a better one of the same class by more than `iou` (non-maximum suppression).

    `boxes` float32 [A,4] and `scores` float32 [A,classes] are those of one image. A box counts for its best class,
    or with `multi_label` for every class that reaches the confidence.
    """
    if multi_label:
        rows, labels = np.nonzero(scores > confidence)
    else:
        labels = scores.argmax(1)
        rows = np.flatnonzero(scores.max(1) > confidence)
        labels = labels[rows]
    chosen, reached = boxes[rows], scores[rows, labels]
    corner_and_size = np.concatenate([chosen[:, :2], chosen[:, 2:] - chosen[:, :2]], axis=1)
    # OpenCV's stubs ask for lists, its code takes arrays.
    suppression: Any = cv2.dnn.NMSBoxesBatched
    kept = suppression(corner_and_size, reached, labels.astype(np.int32), confidence, iou)
    # OpenCV answers an empty tuple where nothing is left.
    best = np.asarray(kept, np.int64).reshape(-1)[:max_detections]
    return Boxes(chosen[best], reached[best], labels[best].astype(np.int64))


def validation_boxes(boxes: np.ndarray, scores: np.ndarray) -> list[Boxes]:
    """The candidates of many images, [N,A,4] and [N,A,classes], suppressed as ultralytics does to measure mAP.

    Its validator takes every class of a box, the confidence 0.001, an overlap of 0.7 and at most 300 boxes an image.
    """
    return [suppress(*pair, confidence=0.001, iou=0.7, multi_label=True) for pair in zip(boxes, scores, strict=True)]
