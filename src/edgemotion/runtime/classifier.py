"""Face images in, logits and class probabilities out, by ONNX Runtime on the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from edgemotion.cpu import exact_int8
from edgemotion.errors import EdgemotionError, first_line
from edgemotion.runtime.variant import Variant, load_variant

# The key of a file's metadata that limits how many of its images an inference may take.
LARGEST_BATCH = "batch"


@dataclass(frozen=True)
class Prediction:
    """The most probable class and the probability of each class."""

    label: str
    probabilities: dict[str, float]


def open_session(model: Path | str | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a model file, or its bytes, on the CPU; EdgemotionError names a file that ONNX Runtime cannot load."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle workers that spin would take the cores of other sessions and of the camera.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for entry in exact_int8().items():
        options.add_session_config_entry(*entry)
    try:
        source = model if isinstance(model, bytes) else str(model)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    # ONNX Runtime's errors share no base class of their own.
    except Exception as error:
        version, reason = onnxruntime.__version__, first_line(error)
        name = "the model" if isinstance(model, bytes) else model
        raise EdgemotionError(f"{name} does not load in ONNX Runtime {version}: {reason}") from None


def run_session(
    session: onnxruntime.InferenceSession,
    images: np.ndarray,
    batch_size: int = 64,
    names: Sequence[str] = ("logits", "probabilities"),
) -> tuple[np.ndarray, ...]:
    """Run uint8 [N,H,W,C] in batches: the named outputs, by default logits and probabilities float32 [N,classes].

    No batch is larger than the file allows.
    """
    batch_size = min(batch_size, int(session.get_modelmeta().custom_metadata_map.get(LARGEST_BATCH, batch_size)))
    # No images still make one batch, which gives the arrays their number of classes.
    batches = [
        session.run(list(names), {"images": np.ascontiguousarray(images[start : start + batch_size])})
        for start in range(0, max(1, len(images)), batch_size)
    ]
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))


class Classifier:
    """A variant opened for inference; preprocessing and softmax are inside its graph."""

    def __init__(self, folder: Path | str, threads: int = 1) -> None:
        self.variant = load_variant(folder)
        self.session = open_session(self.variant.model_path, threads)

    def run(self, images: np.ndarray, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Classify uint8 [N,H,W,C] of the variant's size: logits and probabilities, both float32 [N,classes]."""
        check_images(self.variant, images)
        logits, probabilities = run_session(self.session, images, batch_size)
        return logits, probabilities

    def predict(self, image: np.ndarray) -> Prediction:
        """Classify one face crop, uint8 [H,W], [H,W,1] or [H,W,3] BGR of any size."""
        fitted = fit(image, self.variant.height, self.variant.width, self.variant.channels)
        probabilities = self.run(fitted[None])[1][0]
        named = dict(zip(self.variant.classes, probabilities.tolist(), strict=True))
        return Prediction(self.variant.classes[int(probabilities.argmax())], named)


def check_images(variant: Variant, images: np.ndarray) -> None:
    """Raise EdgemotionError for images of another type or size than the variant takes."""
    shape = (variant.height, variant.width, variant.channels)
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise EdgemotionError(
            f"{variant.name} takes uint8 images [N,{','.join(map(str, shape))}], "
            f"not {images.dtype} {list(images.shape)}"
        )


def fit(image: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """Bring a crop, uint8 [H,W], [H,W,1] or [H,W,3] BGR, to uint8 [height,width,channels], gray or RGB.

    The rules are those of edgemotion.datasets.images, so that a client sees what training saw.
    """
    if image.ndim == 2:
        image = image[:, :, None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise EdgemotionError(
            f"an image must be uint8 [H,W], [H,W,1] or [H,W,3], not {image.dtype} {list(image.shape)}"
        )
    codes = {(3, 1): cv2.COLOR_BGR2GRAY, (1, 3): cv2.COLOR_GRAY2RGB, (3, 3): cv2.COLOR_BGR2RGB}
    if (code := codes.get((image.shape[2], channels))) is not None:
        image = cv2.cvtColor(np.ascontiguousarray(image), code)
    if image.shape[:2] != (height, width):
        # Averaging over the area avoids aliasing when shrinking; it degrades to blocks when growing.
        smaller = image.shape[0] * image.shape[1] > height * width
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        image = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=method)
    return image.reshape(height, width, channels)
