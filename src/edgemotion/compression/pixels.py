"""A quantized graph that normalises an image in float in; one whose integers are the image's own pixels out."""

from typing import NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

# What the export puts before a network: (pixel - mean) / std.
NORMALISE = ("Transpose", "Cast", "Sub", "Div")


class Pixels(NamedTuple):
    """The normalised image's name in a graph, and the scale and zero point by which the uint8 image stores it."""

    normalised: str
    scale: np.ndarray
    zero_point: np.ndarray


def read_pixels(model: onnx.ModelProto) -> Pixels | None:
    """How uint8 pixels are the integers of (pixel - mean) / std: scale 1 / std, zero point mean, rounded to a level.

    None where channels differ in mean or std, as int8 has one scale for all, and for a graph without normalisation.
    """
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = {(node.op_type, node.input[0]): node for node in model.graph.node if node.input}
    name, given = "images", []
    for operator in NORMALISE:
        node = nodes.get((operator, name))
        if node is None:
            return None
        name = node.output[0]
        given += [tensors[other] for other in node.input[1:] if other in tensors]
    if len(given) != 2 or any(np.ptp(statistic) for statistic in given):
        return None
    mean, std = (statistic.flat[0] for statistic in given)
    return Pixels(name, np.array(1 / std, np.float32), np.array(np.rint(mean), np.uint8))


def fold_normalisation(model: onnx.ModelProto, normalised: str) -> None:
    """Let DequantizeLinear read the uint8 image itself: float arithmetic on every pixel takes longer than a layer.

    Leaves a graph alone whose first layer is float.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    users = [node for node in graph.node if normalised in node.input]
    if [node.op_type for node in users] != ["QuantizeLinear"]:
        return
    divide = makers[normalised]
    subtract = makers[divide.input[0]]
    cast = makers[subtract.input[0]]
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == users[0].output[0]:
                node.input[place] = cast.input[0]
    for node in (cast, subtract, divide, users[0]):
        graph.node.remove(node)
    unused = {subtract.input[1], divide.input[1]} - {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in unused]:
        graph.initializer.remove(tensor)
