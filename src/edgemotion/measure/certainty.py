"""From which probability on a prediction may be trusted."""

import math

import numpy as np


def certain_from(probabilities: np.ndarray, labels: np.ndarray, accuracy: float) -> dict[str, float]:
    """The lowest probability from which predictions are right often enough (Geifman and El-Yaniv 2017).

    From probabilities [N,C] and labels [N]: `probability`, with the `accuracy` and `coverage` (share) of the images
    whose top-1 probability reaches it. Where no probability gives the accuracy wanted, it is 1 and covers nothing.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    right = np.cumsum((probabilities.argmax(axis=1) == labels)[order])
    reached = right / np.arange(1, len(labels) + 1)
    # Images of the same probability are taken together or not at all.
    last = np.append(ranked[1:] != ranked[:-1], True)
    enough = np.flatnonzero(last & (reached >= accuracy))
    if not len(enough):
        return {"probability": 1.0, "accuracy": 0.0, "coverage": 0.0}
    place = int(enough[-1])
    everything = place == len(labels) - 1
    return {
        # Rounded down, so that the last image stays above it.
        "probability": 0.0 if everything else math.floor(ranked[place] * 1e6) / 1e6,
        "accuracy": round(float(reached[place]), 6),
        "coverage": round((place + 1) / len(labels), 6),
    }
