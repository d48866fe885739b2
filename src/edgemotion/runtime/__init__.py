"""A variant folder and an image in, emotions out; needs numpy, onnxruntime and OpenCV only."""

import os

# Since 1.29 onnxruntime keeps a device id in the home folder and sends usage data, unless told not to beforehand.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from edgemotion.runtime.classifier import Classifier, Prediction, open_session
from edgemotion.runtime.detector import Detection, Detector
from edgemotion.runtime.smoothing import KalmanSmoother, smooth
from edgemotion.runtime.variant import Variant, load_variant

__all__ = [
    "Classifier",
    "Detection",
    "Detector",
    "KalmanSmoother",
    "Prediction",
    "Variant",
    "load_variant",
    "open_session",
    "smooth",
]
