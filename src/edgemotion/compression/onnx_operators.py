"""The nodes of an ONNX graph as functions of torch, each of the node's attributes and its inputs."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from onnx import TensorProto

from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import is_unsafe

Attributes = Mapping[str, Any]


class FakeQuantize(torch.autograd.Function):
    """Round to multiples of a learned scale, from `low` to `high` of them: LSQ, Esser et al. 2020, arXiv 1902.08153.

    The gradient of the values passes within the range and is zero outside. That of the scale is equation 3 of the
    paper, divided by the root of an image's number of values times the largest multiple, so that a scale moves about
    as fast as a weight.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, scale: torch.Tensor, low: int, high: int) -> torch.Tensor:
        multiples = values / scale
        ctx.save_for_backward(multiples)
        ctx.low, ctx.high = low, high
        return multiples.round().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        (gradient,), (multiples,) = gradients, ctx.saved_tensors
        clamped = multiples.clamp(ctx.low, ctx.high)
        inside = (clamped == multiples).to(multiples.dtype)
        slope = clamped.round().sub_(clamped.mul_(inside))
        weight = (multiples[0].numel() * max(-ctx.low, ctx.high)) ** -0.5
        return inside.mul_(gradient), slope.mul_(gradient).sum() * weight, None, None


def padding(given: Attributes) -> list[int]:
    """The rows and columns to add on either side; EdgemotionError where the sides differ."""
    pads = list(given.get("pads", [0, 0, 0, 0]))
    if pads[:2] != pads[2:] or given.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise EdgemotionError(
            f"the graph pads by {pads}, which quantization-aware training does not know; pad both sides equally"
        )
    return pads[:2]


def fake_quantize(given: Attributes, values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = FakeQuantize.apply(values, scale, given["low"], given["high"])
    return found


def dequantize(given: Attributes, pixels: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor) -> torch.Tensor:
    # Only images come as integers, and augmented ones lie between them.
    return (pixels.round() - zero_point) * scale


def conv(
    given: Attributes, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", 1)
    if is_unsafe(weight, strides):
        images, weight = (values.clone(memory_format=torch.contiguous_format) for values in (images, weight))
    return F.conv2d(images, weight, bias, strides, padding(given), dilations, given.get("group", 1))


def gemm(given: Attributes, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
    product = (a.T if given.get("transA") else a) @ (b.T if given.get("transB") else b) * given.get("alpha", 1.0)
    return product if c is None else product + given.get("beta", 1.0) * c


def max_pool(given: Attributes, images: torch.Tensor) -> torch.Tensor:
    window, strides, ceil = given["kernel_shape"], given.get("strides", 1), bool(given.get("ceil_mode"))
    return F.max_pool2d(images, window, strides, padding(given), given.get("dilations", 1), ceil)


def average_pool(given: Attributes, images: torch.Tensor) -> torch.Tensor:
    window, strides, ceil = given["kernel_shape"], given.get("strides", 1), bool(given.get("ceil_mode"))
    return F.avg_pool2d(images, window, strides, padding(given), ceil, bool(given.get("count_include_pad")))


def cast(given: Attributes, values: torch.Tensor) -> torch.Tensor:
    if given["to"] != TensorProto.FLOAT:
        raise EdgemotionError("the graph casts to another type than float, which has no gradient; use static")
    return values.float()


def reshape(given: Attributes, values: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    # A zero stands for the size that the axis has, unless told otherwise.
    copied = zip(shape.tolist(), [*values.shape, *[0] * len(shape)], strict=False)
    return values.reshape([size or (0 if given.get("allowzero") else kept) for size, kept in copied])


def split(given: Attributes, values: torch.Tensor, sizes: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
    axis = given.get("axis", 0)
    parts = -(-values.shape[axis] // given["num_outputs"]) if sizes is None else sizes.tolist()
    return tuple(values.split(parts, axis))


def layer_norm(
    given: Attributes, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    return F.layer_norm(values, values.shape[given.get("axis", -1) :], weight, bias, given.get("epsilon", 1e-5))


OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": lambda given, a, b: a + b,
    "AveragePool": average_pool,
    "Cast": cast,
    "Clip": lambda given, values, low=None, high=None: values.clamp(low, high),
    "Concat": lambda given, *parts: torch.cat(parts, given["axis"]),
    "Conv": conv,
    "DequantizeLinear": dequantize,
    "Div": lambda given, a, b: a / b,
    "Flatten": lambda given, values: values.flatten(given.get("axis", 1)),
    "Gelu": lambda given, values: F.gelu(values, approximate=given.get("approximate", b"none").decode()),
    "Gemm": gemm,
    "GlobalAveragePool": lambda given, images: images.mean((2, 3), keepdim=True),
    "LayerNormalization": layer_norm,
    "MatMul": lambda given, a, b: a @ b,
    "MaxPool": max_pool,
    "Mul": lambda given, a, b: a * b,
    "QuantizeLinear": fake_quantize,
    "ReduceMean": lambda given, values, axes: values.mean(axes.tolist(), keepdim=bool(given.get("keepdims", 1))),
    "Relu": lambda given, values: values.relu(),
    "Reshape": reshape,
    "Sigmoid": lambda given, values: values.sigmoid(),
    "Softmax": lambda given, values: values.softmax(given.get("axis", -1)),
    "Split": split,
    "Sub": lambda given, a, b: a - b,
    # Of one term: static parts a float layer from int8 ones by it.
    "Sum": lambda given, value: value,
    "Transpose": lambda given, values: values.permute(given["perm"]),
}
