"""A float ONNX file in, one with int8 weights out, whose activations are quantized as it runs."""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from edgemotion.compression.quantization import Job, Quantized, decode_nodes, quiet
from edgemotion.registry import register


@register("quantize")
def dynamic(job: Job, *, per_channel: bool) -> Quantized:
    """Dynamic int8: weights are stored as int8, activation ranges are measured at each inference.

    `per_channel` gives linear layers one scale a channel; ONNX Runtime's integer convolution has one a tensor.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source = job.parent.model_path
    with TemporaryDirectory() as folder, quiet():
        target = Path(folder) / "model.onnx"
        quantize_dynamic(
            source,
            target,
            per_channel=per_channel,
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=decode_nodes(source),
        )
        return Quantized(onnx.load(target))
