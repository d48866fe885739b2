"""True and predicted labels of frames in; how long the prediction takes to follow the truth out."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Lag:
    """How long the predicted label takes to follow the true one; see `measure_lag`."""

    changes: int
    never_followed: int
    median_frames: float | None
    median_ms: float | None


def measure_lag(
    predictions: np.ndarray, labels: np.ndarray, streams: np.ndarray, numbers: np.ndarray, times: np.ndarray
) -> Lag:
    """The median lag of the predicted label behind the true one; all arguments [F], of the scored frames in order.

    A change is a frame whose true label is not that of the scored frame before it, of the same stream; its lag runs to
    the first frame with the new label predicted, while that label stays the true one. It is counted in the numbers that
    the source gave the frames, dropped ones too, and in milliseconds between their times in the source, so that the
    latency of a frame comes on top. 0 says that the label was right at once. A change that is never followed counts as
    infinitely late: None stands for a median that is infinite, and where there is no change.
    """
    lags: list[tuple[float, float]] = []
    borders = (labels[1:] != labels[:-1]) | (streams[1:] != streams[:-1])
    starts = [0, *(np.flatnonzero(borders) + 1).tolist(), len(labels)]
    for start, end in pairwise(starts[1:]):
        if streams[start] != streams[start - 1]:
            continue
        followed = np.flatnonzero(predictions[start:end] == labels[start])
        if len(followed):
            frame = start + followed[0]
            lags.append((float(numbers[frame] - numbers[start]), 1000 * float(times[frame] - times[start])))
        else:
            lags.append((np.inf, np.inf))
    medians = np.median(lags, axis=0) if lags else np.array([np.inf, np.inf])
    frames, milliseconds = (round(float(value), 3) if np.isfinite(value) else None for value in medians)
    return Lag(len(lags), sum(lag[0] == np.inf for lag in lags), frames, milliseconds)
