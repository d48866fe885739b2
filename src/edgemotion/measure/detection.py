"""Detections and true boxes in, average precision out, without torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgemotion.runtime.detector import Boxes

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


def evaluate_detections(
    detections: Sequence[Boxes], boxes: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """mAP50, mAP50-95 and the AP50 of each class that occurs, for images with one true box each.

    `detections` hold one entry an image, the best first; `boxes` float32 [N,4] and `labels` int64 [N] are the truth.
    Average precision with 101 recall points as COCO defines it (Lin et al. 2014, arXiv 1405.0312) and as
    ultralytics 8.4 computes it in utils/metrics.py: precision never rising with recall, the mean over the classes
    that occur.
    """
    hits = [match(found, box, label) for found, box, label in zip(detections, boxes, labels, strict=True)]
    hit = np.concatenate(hits)
    scores = np.concatenate([found.scores for found in detections])
    predicted = np.concatenate([found.labels for found in detections])
    order = np.argsort(-scores, kind="stable")
    hit, predicted = hit[order], predicted[order]
    occurring = np.unique(labels)
    precision = np.array([average_precision(hit[predicted == label], (labels == label).sum()) for label in occurring])
    return {
        "map50": float(precision[:, 0].mean()),
        "map50_95": float(precision.mean()),
        "per_class_ap50": {
            classes[label]: float(value) for label, value in zip(occurring, precision[:, 0], strict=True)
        },
    }


def match(found: Boxes, box: np.ndarray, label: int) -> np.ndarray:
    """Which detections hit the true box, bool [K,10]: at each threshold the best one of its class that overlaps it."""
    reached = (overlap(found.boxes, box)[:, None] >= THRESHOLDS) & (found.labels == label)[:, None]
    return reached & (reached.cumsum(0) == 1)


def overlap(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Intersection over union float [K] of boxes [K,4] with one box [4]."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = sides.clip(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, np.finfo(np.float32).tiny)


def average_precision(hit: np.ndarray, count: int) -> np.ndarray:
    """The area below the precision-recall curve at each threshold, float [10], of detections ordered by score.

    `hit` is bool [K,10] and `count` the number of true boxes of the class.
    """
    if not len(hit):
        return np.zeros(len(THRESHOLDS))
    found = hit.cumsum(0)
    recall, precision = found / count, found / np.arange(1, len(hit) + 1)[:, None]
    areas = []
    for reached, exact in zip(recall.T, precision.T, strict=True):
        envelope = np.maximum.accumulate(np.concatenate([[1.0], exact, [0.0, 0.0]])[::-1])[::-1]
        curve = np.interp(RECALLS, np.concatenate([[0.0], reached, reached[-1:], [1.0]]), envelope)
        areas.append(np.trapezoid(curve, RECALLS))
    return np.array(areas)
