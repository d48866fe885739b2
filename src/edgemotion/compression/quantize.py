"""A float ONNX file and calibration images in, an int8 ONNX model out."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from edgemotion.compression.onnx_file import DECODE
from edgemotion.errors import EdgemotionError
from edgemotion.registry import register

# Adds, pools and SiLU (x * sigmoid x) are quantized too: a float island between two int8 convolutions costs more than
# it saves. With SiLU in float an int8 YOLO is slower than fp32.
STATIC_OPERATORS = [
    "Conv", "Gemm", "MatMul", "Add", "Mul", "Sigmoid", "MaxPool", "GlobalAveragePool", "AveragePool", "Relu", "Clip",
]  # fmt: skip
CALIBRATION_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
MIN_CALIBRATION_IMAGES = 300


@register("quantize")
def static(
    source: Path, images: np.ndarray, seed: int, *, calibration_images: int, calibration_method: str, per_channel: bool
) -> onnx.ModelProto:
    """Static QDQ int8: uint8 activations with ranges measured on training images, int8 weights.

    `images` uint8 [N,H,W,C] is the training split, of which `calibration_images` are drawn. Unsigned activations with
    signed weights are the combination that x86 and ARM int8 dot products run fastest.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    if calibration_method not in CALIBRATION_METHODS:
        raise EdgemotionError(
            f"calibration_method {calibration_method!r} does not exist; use {', '.join(CALIBRATION_METHODS)}"
        )
    count = min(calibration_images, len(images))
    if count < MIN_CALIBRATION_IMAGES:
        raise EdgemotionError(
            f"calibration_images is {calibration_images} of {len(images)} training images; "
            f"ranges need at least {MIN_CALIBRATION_IMAGES}"
        )
    chosen = np.random.default_rng(seed).choice(len(images), count, replace=False)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            # One by one, because the histogram methods need batches of one size.
            self.left = iter(images[np.sort(chosen)][:, None])

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {"images": image}

    with TemporaryDirectory() as folder, quiet():
        target = Path(folder) / "model.onnx"
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=STATIC_OPERATORS,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
            calibrate_method=CalibrationMethod[CALIBRATION_METHODS[calibration_method]],
            nodes_to_exclude=decode_nodes(source),
        )
        return onnx.load(target)


@register("quantize")
def dynamic(source: Path, images: np.ndarray, seed: int, *, per_channel: bool) -> onnx.ModelProto:
    """Dynamic int8: weights are stored as int8, activation ranges are measured at each inference."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as folder, quiet():
        target = Path(folder) / "model.onnx"
        quantize_dynamic(
            source,
            target,
            per_channel=per_channel,
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=decode_nodes(source),
        )
        return onnx.load(target)


def decode_nodes(source: Path) -> list[str]:
    """The nodes that turn a detector's raw outputs into boxes: in int8 they would take all precision from them."""
    return [node.name for node in onnx.load(source).graph.node if node.name.startswith(DECODE)]


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the quantizer's advice of a pre-processing step, which changes nothing on these exports."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
