"""Predictions and labels of a split in, accuracy figures with their intervals out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgemotion.measure.calibration import ece


def top1(correct: np.ndarray) -> dict[str, Any]:
    """Top-1 accuracy of bool [N] with its 95 % interval (Wilson 1927); both are None without images."""
    from scipy.stats import binomtest

    count = len(correct)
    if not count:
        return {"n": 0, "top1": None, "top1_ci": None}
    interval = binomtest(int(correct.sum()), count).proportion_ci(confidence_level=0.95, method="wilson")
    return {
        "n": count,
        "top1": round(float(correct.mean()), 6),
        "top1_ci": [round(float(interval.low), 6), round(float(interval.high), 6)],
    }


def recalls(predicted: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Recall of each class by name, from predicted classes [N] and labels [N]; 0 for a class without images."""
    from sklearn.metrics import recall_score

    found = recall_score(labels, predicted, labels=list(range(len(classes))), average=None, zero_division=0.0)
    return {name: round(float(recall), 6) for name, recall in zip(classes, found, strict=True)}


def evaluate(
    probabilities: np.ndarray, labels: np.ndarray, leaked: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """Score probabilities [N,C] against labels [N]; `leaked` bool [N] marks images seen in the official training split.

    Returns n, top1 and top1_ci, macro_f1, ece, per_class recall by name, leak_free and leaked {n, top1, top1_ci} and
    confusion [true][predicted]. A class without images has recall 0 and counts in macro-F1.
    """
    from sklearn.metrics import confusion_matrix, f1_score

    predicted = probabilities.argmax(axis=1)
    known = list(range(len(classes)))
    macro_f1 = f1_score(labels, predicted, labels=known, average="macro", zero_division=0.0)
    correct = predicted == labels
    return {
        **top1(correct),
        "macro_f1": round(float(macro_f1), 6),
        "ece": round(ece(probabilities, labels), 6),
        "per_class": recalls(predicted, labels, classes),
        "leak_free": top1(correct[~leaked]),
        "leaked": top1(correct[leaked]),
        "confusion": confusion_matrix(labels, predicted, labels=known).tolist(),
    }
