"""An ONNX graph, float or QDQ, in; a torch module with the same answers, whose weights can be trained, out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from edgemotion.compression.onnx_file import WEIGHTED, attributes_of
from edgemotion.compression.onnx_operators import OPERATORS, Attributes
from edgemotion.errors import EdgemotionError

# What ONNX Runtime's quantizer appends to the name of a tensor that it stores as integers.
QUANTIZED = "_quantized"
# The largest int8 weight, and with static's reduce_range.
INT8_MAX, REDUCED_MAX = 127, 64
# A bias is an int32 like the sums it is added to, which need room of their own.
BIAS_MAX = 2**30
SMALLEST_SCALE = 1e-6


@dataclass(frozen=True)
class Stored:
    """The names of integers in the file, of their scale and of the real value that DequantizeLinear makes of them."""

    integers: str
    scale: str
    value: str


@dataclass(frozen=True)
class Layer:
    """A quantized Conv, Gemm or MatMul; `axis` is that of the weight's channels, None where they share one scale."""

    weight: Stored
    bias: Stored | None
    axis: int | None
    input_scale: str


@dataclass(frozen=True)
class Step:
    """A node to compute, and the values that no later one needs."""

    compute: Callable[..., Any]
    attributes: Attributes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    spent: tuple[str, ...] = ()


class Graph:
    """The part of an ONNX graph that leads to its logits."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        needed, nodes = {"logits"}, []
        for node in reversed(model.graph.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        self.nodes = nodes[::-1]
        self.makers = {name: node for node in self.nodes for name in node.output}

    def stored(self, name: str) -> Stored | None:
        """What is read from integers in the file, or None for a value that is float there or is computed."""
        maker = self.makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear" or maker.input[0] not in self.tensors:
            return None
        return Stored(maker.input[0], maker.input[1], name)

    def channel_axis(self, stored: Stored) -> int | None:
        """The axis along which the scale of stored integers changes."""
        if self.tensors[stored.scale].size == 1:
            return None
        return int(attributes_of(self.makers[stored.value]).get("axis", 1))

    def dequantized(self, stored: Stored) -> np.ndarray:
        """The real values float32 of stored integers."""
        axis, integers = self.channel_axis(stored), self.tensors[stored.integers]
        shape = [-1 if number == axis else 1 for number in range(integers.ndim)]
        scale, zero = (self.tensors[name].reshape(shape) for name in self.makers[stored.value].input[1:3])
        return (integers.astype(np.float32) - zero.astype(np.float32)) * scale

    def layer(self, node: onnx.NodeProto) -> Layer | None:
        """The names of a weighted node's tensors, or None where its weight is not stored as integers."""
        weight, *rest = (self.stored(name) for name in node.input[1:])
        if weight is None:
            return None
        return Layer(weight, rest[0] if rest else None, self.channel_axis(weight), self.makers[node.input[0]].input[1])

    def source(self, name: str) -> str:
        """A value before its rounding to integers and back, which our QuantizeLinear does both; any other as it is."""
        maker = self.makers.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            rounding = self.makers.get(maker.input[0])
            if rounding is not None and rounding.op_type == "QuantizeLinear":
                return maker.input[0]
        return name


class OnnxModule(nn.Module):
    """What a classifier's graph computes of images float [N,C,H,W] of 0 to 255: logits float [N,classes].

    The weights and biases of Conv, Gemm and MatMul are parameters. Those that a QDQ graph stores as integers are
    rounded like there: int8 weights to multiples of the largest magnitude / 127 (/ 64 where the graph has none beyond),
    one a channel if the graph has so, and int32 biases to multiples of input scale * weight scale. The scales of
    activations are parameters too; their zero points are fixed. Gradients ignore the rounding (straight-through
    estimator).
    """

    def __init__(self, model: onnx.ModelProto, weights: Mapping[str, np.ndarray] | None = None) -> None:
        """Read a graph; `weights` by name are the float ones that the int8 ones of a QDQ graph were rounded from.

        Raises EdgemotionError for an operator that is not known here.
        """
        super().__init__()
        graph = Graph(model)
        # Names of values in the graph, and of the parameters and buffers that hold them.
        self.held: dict[str, str] = {}
        self.layers = [layer for node in graph.nodes if node.op_type in WEIGHTED and (layer := graph.layer(node))]
        for layer in self.layers:
            name = layer.weight.integers
            self.hold(name, "weight", (weights or {})[name.removesuffix(QUANTIZED)])
            if layer.bias:
                self.hold(layer.bias.integers, "bias", graph.dequantized(layer.bias))
        stored_weights = [graph.tensors[layer.weight.integers].astype(int) for layer in self.layers]
        largest = max((np.abs(weight).max() for weight in stored_weights), default=0)
        self.weight_max = REDUCED_MAX if largest <= REDUCED_MAX else INT8_MAX
        ready = {stored.value for layer in self.layers for stored in (layer.weight, layer.bias) if stored}
        steps = []
        for node in graph.nodes:
            if graph.stored(node.output[0]) or graph.source(node.output[0]) != node.output[0]:
                continue
            if node.op_type not in OPERATORS:
                raise EdgemotionError(
                    f"{node.name} is a {node.op_type}, which quantization-aware training does not know; use static"
                )
            attributes, inputs = attributes_of(node), tuple(graph.source(name) for name in node.input)
            if node.op_type == "QuantizeLinear":
                value, scale, zero_point = inputs
                self.hold(scale, "scale", graph.tensors[scale].reshape(()))
                zero, limits = int(graph.tensors[zero_point].item()), np.iinfo(graph.tensors[zero_point].dtype)
                attributes, inputs = {"low": limits.min - zero, "high": limits.max - zero}, (value, scale)
            for place, name in enumerate(inputs):
                kind = "constant"
                if node.op_type in WEIGHTED and place > 0:
                    kind = "weight" if place == 1 else "bias"
                if name in graph.tensors:
                    self.hold(name, kind, graph.tensors[name])
                elif name not in ready and (stored := graph.stored(name)):
                    self.hold(name, "constant", graph.dequantized(stored))
            steps.append(Step(OPERATORS[node.op_type], attributes, inputs, tuple(node.output)))
        self.steps = with_spent(steps, graph.source("logits"))
        self.answer = graph.source("logits")

    def hold(self, name: str, kind: str, value: np.ndarray) -> None:
        """Keep a tensor under the first `kind` it is asked for: weight, bias and scale are trained, constant is not."""
        if name in self.held:
            return
        # torch allows no dots; a weight is told from the others by the end of its name.
        self.held[name] = f"{name.replace('.', '/')}:{kind}"
        tensor = torch.from_numpy(np.array(value))
        if kind == "constant":
            self.register_buffer(self.held[name], tensor, persistent=False)
        else:
            self.register_parameter(self.held[name], nn.Parameter(tensor))

    def tensor(self, name: str) -> torch.Tensor:
        found: torch.Tensor = getattr(self, self.held[name])
        return found

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values: dict[str, torch.Tensor | None] = {name: self.tensor(name) for name in self.held}
        values |= {"": None, "images": images.permute(0, 2, 3, 1)}
        for layer in self.layers:
            for stored, (integers, scale) in self.rounded(layer).items():
                value = self.tensor(stored.integers)
                values[stored.value] = value + (integers * scale - value).detach()
        for step in self.steps:
            found = step.compute(step.attributes, *(values[name] for name in step.inputs))
            values.update(zip(step.outputs, found if isinstance(found, tuple) else (found,), strict=True))
            for name in step.spent:
                del values[name]
        logits = values[self.answer]
        assert logits is not None
        return logits

    @torch.no_grad()
    def rounded(self, layer: Layer) -> dict[Stored, tuple[torch.Tensor, torch.Tensor]]:
        """The integers (as float) of a layer's weight and bias, each with its scale in a shape to multiply them by."""
        weight = self.tensor(layer.weight.integers)
        others = [axis for axis in range(weight.ndim) if axis != layer.axis]
        scale = weight.abs().amax(others) / self.weight_max
        if layer.bias is None:
            return {layer.weight: around(weight, scale.clamp(min=SMALLEST_SCALE**2), layer.axis)}
        bias, input_scale = self.tensor(layer.bias.integers), self.tensor(layer.input_scale)
        # A channel of tiny weights would have a bias of more multiples than an int32 counts.
        needed = bias.abs() / (input_scale * BIAS_MAX)
        scale = torch.maximum(scale, needed if layer.axis is not None else needed.max()).clamp(min=SMALLEST_SCALE**2)
        return {
            layer.weight: around(weight, scale, layer.axis),
            layer.bias: around(bias, scale * input_scale, None if layer.axis is None else 0),
        }

    def store(self, model: onnx.ModelProto) -> None:
        """Write the parameters back into the graph that this module was read from, rounded as they are used here."""
        written = {name: self.tensor(name).detach() for name, key in self.held.items() if not key.endswith(":constant")}
        for layer in self.layers:
            for stored, (integers, scale) in self.rounded(layer).items():
                written |= {stored.integers: integers, stored.scale: scale}
        for initializer in model.graph.initializer:
            if initializer.name in written:
                dtype = helper.tensor_dtype_to_np_dtype(initializer.data_type)
                array = written[initializer.name].cpu().numpy().astype(dtype).reshape(initializer.dims)
                initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))


def around(value: torch.Tensor, scale: torch.Tensor, axis: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest multiples of `scale`, one a channel along `axis`, and the scale in a shape to multiply them by."""
    scale = scale.view([-1 if number == axis else 1 for number in range(value.ndim)])
    return (value / scale).round(), scale


@torch.no_grad()
def keep_positive(module: nn.Module) -> None:
    """Hold the scales of activations above zero; to be called after every step of a training."""
    for name, parameter in module.named_parameters():
        if name.endswith(":scale"):
            parameter.clamp_(min=SMALLEST_SCALE)


def with_spent(steps: Iterable[Step], answer: str) -> list[Step]:
    """Tell each step which values it is the last to need, so that not all of a batch's lie in memory at once."""
    found, needed = [], {answer, ""}
    for step in reversed(list(steps)):
        spent = {*step.inputs, *step.outputs} - needed
        needed |= spent
        found.append(replace(step, spent=tuple(sorted(spent))))
    return found[::-1]
