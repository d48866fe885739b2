"""A variant folder and an image in, emotions out; needs numpy, onnxruntime and OpenCV only."""

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
