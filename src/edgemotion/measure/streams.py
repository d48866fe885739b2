"""Ordered frames: drawn from a split without recordings, and scored for steadiness."""

import numpy as np

from edgemotion.errors import EdgemotionError


def sampled_stream(labels: np.ndarray, frames: int, dwell: int, rng: np.random.Generator) -> np.ndarray:
    """Draw an ordered stream from labels [N]: indices int64 [frames] into the split.

    The true class is a Markov chain, uniform over the classes present, that stays `dwell` frames in the mean;
    each frame is a random image of the current class. EdgemotionError names a length below 1.
    """
    if frames < 1 or dwell < 1:
        raise EdgemotionError(f"temporal.frames and temporal.dwell must be 1 or more, not {frames} and {dwell}")
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    change = (rng.random(frames) < 1 / dwell) & (len(members) > 1)
    # A step of 1..K-1 around the circle of K classes reaches each of the others alike.
    steps = np.where(change, rng.integers(1, max(2, len(members)), size=frames), 0)
    steps[:1] = rng.integers(len(members))
    states = np.cumsum(steps) % len(members)
    return np.array([rng.choice(members[state]) for state in states], np.int64)


def flips_per_frame(predictions: np.ndarray, labels: np.ndarray, streams: np.ndarray) -> float:
    """Share of neighbouring frames with one true class whose predicted class differs; all are integers [F].

    `streams` numbers the stream of a frame; frames of two streams are no neighbours. 0 where nothing can flip.
    """
    steady = (streams[1:] == streams[:-1]) & (labels[1:] == labels[:-1])
    flipped = predictions[1:] != predictions[:-1]
    return float(flipped[steady].mean()) if steady.any() else 0.0


def score_stream(probabilities: np.ndarray, labels: np.ndarray, streams: np.ndarray) -> dict[str, float]:
    """Top-1 and flips a frame of probabilities [F,C]."""
    predictions = probabilities.argmax(axis=1)
    return {
        "top1": round(float((predictions == labels).mean()), 6),
        "flips_per_frame": round(flips_per_frame(predictions, labels, streams), 6),
    }
