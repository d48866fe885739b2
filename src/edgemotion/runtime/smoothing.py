"""Class probabilities of the frames of a stream in, steadier class probabilities out."""

import numpy as np

from edgemotion.errors import EdgemotionError

# The share of the measurement noise that remains for a frame of zero entropy: no frame is trusted without limit.
FLOOR = 0.1
# What live streams get, the variances of configs/temporal/default.yaml.
PROCESS_NOISE, MEASUREMENT_NOISE = 0.005, 0.05


class KalmanSmoother:
    """Kalman filter of a random walk over class probabilities (Kalman 1960), one scalar variance for a stream.

    With constant measurement noise such a filter is an exponential filter once its gain has settled. Here the
    noise of a frame is `measurement_noise` times its entropy, normalised to 0..1 and floored, so that an uncertain
    frame moves the state less than a confident one. Every update is a convex combination of the state and the frame,
    so the state stays a distribution.
    """

    def __init__(self, classes: int, process_noise: float, measurement_noise: float) -> None:
        """Take both noises as variances of class probabilities; EdgemotionError names a value out of range."""
        if classes < 2:
            raise EdgemotionError(f"smoothing needs at least 2 classes, not {classes}")
        if not process_noise >= 0:
            raise EdgemotionError(f"process_noise must be 0 or more, not {process_noise}")
        if not measurement_noise > 0:
            raise EdgemotionError(f"measurement_noise must be above 0, not {measurement_noise}")
        self.classes = classes
        self.process_noise = process_noise
        self.measurement_noise = measurement_noise
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next frame becomes the state."""
        self.state: np.ndarray | None = None
        self.variance = np.inf

    def update(self, probabilities: np.ndarray) -> np.ndarray:
        """Take the next frame's probabilities [classes]; return the smoothed ones, float64 [classes]."""
        measured = np.array(probabilities, np.float64)
        if measured.shape != (self.classes,):
            raise EdgemotionError(f"a frame must hold {self.classes} probabilities, not {list(measured.shape)}")
        noise = self.measurement_noise * max(FLOOR, normalised_entropy(measured))
        if self.state is None:
            self.state, self.variance = measured, noise
            return measured.copy()
        predicted = self.variance + self.process_noise
        gain = predicted / (predicted + noise)
        self.state = self.state + gain * (measured - self.state)
        self.variance = (1 - gain) * predicted
        return self.state.copy()


def smooth(stream: np.ndarray, process_noise: float, measurement_noise: float) -> np.ndarray:
    """Filter one stream of probabilities [F,C] from its first frame on; float64 [F,C]."""
    smoother = KalmanSmoother(stream.shape[1], process_noise, measurement_noise)
    return np.array([smoother.update(frame) for frame in stream]).reshape(stream.shape)


def normalised_entropy(probabilities: np.ndarray) -> float:
    """Shannon entropy of one distribution [C] over its greatest value log C: 0 for certain, 1 for uniform."""
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum() / np.log(len(probabilities)))
