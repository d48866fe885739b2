"""A graph as exported in; one that int8 reads images into faster out: in blocks, and as the pixels they are."""

from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgemotion.compression.onnx_file import attributes_of

# What the export puts before a network: (pixel - mean) / std.
NORMALISE = ("Transpose", "Cast", "Sub", "Div")
# The image [N,H/2,W/2,4C] whose channels are the rows, columns and channels of each 2x2 pixels.
BLOCKS = "blocks"


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
    nodes = normalisation(model, BLOCKS) or normalisation(model, "images")
    given = [tensors[name] for node in nodes for name in node.input[1:] if name in tensors]
    if len(given) != 2 or any(np.ptp(statistic) for statistic in given):
        return None
    mean, std = (statistic.flat[0] for statistic in given)
    return Pixels(nodes[-1].output[0], np.array(1 / std, np.float32), np.array(np.rint(mean), np.uint8))


def normalisation(model: onnx.ModelProto, start: str) -> list[onnx.NodeProto]:
    """The nodes of NORMALISE that follow each other from the value `start` on; none where one is missing."""
    users = {(node.op_type, node.input[0]): node for node in model.graph.node if node.input}
    found: list[onnx.NodeProto] = []
    for operator in NORMALISE:
        node = users.get((operator, found[-1].output[0] if found else start))
        if node is None:
            return []
        found.append(node)
    return found


def gather_blocks(model: onnx.ModelProto) -> None:
    """Let the first convolution of a float graph read 2x2 pixels as channels of one, where its stride is 2.

    The sums are the same. An int8 convolution collects the pixels of a window channel by channel, so a quarter as many
    pieces of four times the bytes. A 5x5 kernel becomes 6x6, with zeros. Space-to-depth stem, Ridnik et al. 2021,
    arXiv 2003.13630. Leaves alone a graph whose first layer is another, a kernel that blocks do not cover as far on
    both sides, and sizes that are odd.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = normalisation(model, "images")
    layers = [node for node in graph.node if nodes and nodes[-1].output[0] in node.input]
    _, height, width, channels = (axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim)
    if [layer.op_type for layer in layers] != ["Conv"] or height % 2 or width % 2:
        return
    (layer,) = layers
    weight = tensors.get(layer.input[1])
    if weight is None or (pad := pad_of_halving(layer, list(weight.dims))) is None:
        return
    weight.CopyFrom(numpy_helper.from_array(in_blocks(numpy_helper.to_array(weight), pad), weight.name))
    for name in {name for node in nodes for name in node.input[1:] if name in tensors}:
        statistic = numpy_helper.to_array(tensors[name])
        # Of a value for each column, two columns are one now.
        statistic = statistic[..., ::2] if statistic.shape[3] > 1 else statistic
        statistic = np.tile(statistic, (1, 4, 1, 1)) if statistic.shape[1] > 1 else statistic
        tensors[name].CopyFrom(numpy_helper.from_array(statistic, name))
    reach, size = weight.dims[2] // 2, list(weight.dims[2:])
    kept = [entry for entry in layer.attribute if entry.name not in ("strides", "pads", "kernel_shape")]
    changed = {"strides": [1, 1], "pads": [reach] * 4, "kernel_shape": size}
    del layer.attribute[:]
    layer.attribute.extend([*kept, *(helper.make_attribute(*entry) for entry in changed.items())])
    apart, together = [-1, height // 2, 2, width // 2, 2, channels], [-1, height // 2, width // 2, 4 * channels]
    for name, shape in (("block_rows", apart), (BLOCKS, together)):
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}_shape"))
    place = list(graph.node).index(nodes[0])
    rearranged = [
        helper.make_node("Reshape", ["images", "block_rows_shape"], ["block_rows"], name="block_rows"),
        helper.make_node("Transpose", ["block_rows"], ["block_pixels"], name="block_pixels", perm=[0, 1, 3, 2, 4, 5]),
        helper.make_node("Reshape", ["block_pixels", f"{BLOCKS}_shape"], [BLOCKS], name=BLOCKS),
    ]
    for offset, node in enumerate(rearranged):
        graph.node.insert(place + offset, node)
    nodes[0].input[0] = BLOCKS


def pad_of_halving(conv: onnx.NodeProto, dims: list[int]) -> int | None:
    """The pad of a square convolution that halves an image and reaches as many blocks to either side."""
    given = attributes_of(conv)
    pads = set(given.get("pads", [0]))
    plain = given.get("strides") == [2, 2] and set(given.get("dilations", [1])) == {1} and given.get("group", 1) == 1
    if not plain or dims[2] != dims[3] or len(pads) != 1:
        return None
    (pad,) = pads
    even = dims[2] == 2 * pad + 2 or (dims[2] == 2 * pad + 1 and pad % 2 == 0)
    return int(pad) if even else None


def in_blocks(weight: np.ndarray, pad: int) -> np.ndarray:
    """A kernel [O,C,K,K] that moves by two pixels as one [O,4C,B,B] over blocks of 2x2, zeros where it has no pixel."""
    outputs, channels, kernel, _ = weight.shape
    # The block at which the kernel stands, and those that its pad begins on either side.
    blocks, start = 1 + 2 * ((pad + 1) // 2), pad % 2
    whole = np.zeros((outputs, channels, 2 * blocks, 2 * blocks), weight.dtype)
    whole[:, :, start : start + kernel, start : start + kernel] = weight
    parts = whole.reshape(outputs, channels, blocks, 2, blocks, 2).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(outputs, 4 * channels, blocks, blocks)


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
