"""Pixels as the integers of a normalised image: the same answers for every level, without arithmetic on each pixel."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgemotion.compression.onnx_file import run_logits
from edgemotion.compression.pixels import fold_normalisation, gather_blocks, read_pixels

# Every level once.
IMAGES = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=3)


def graph(mean: list[float], std: list[float], quantized: bool = True) -> onnx.ModelProto:
    """(pixel - mean) / std of 1x1 images as the export writes it, rounded as the quantizer does it, as logits."""
    weights: dict[str, np.ndarray] = {
        "mean": np.array(mean, np.float32).reshape(1, -1, 1, 1),
        "std": np.array(std, np.float32).reshape(1, -1, 1, 1),
        "scale": np.array(1 / std[0], np.float32),
        "zero_point": np.array(round(mean[0]), np.uint8),
    }
    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalised"]),
    ]
    if quantized:
        nodes += [
            helper.make_node("QuantizeLinear", ["normalised", "scale", "zero_point"], ["levels"]),
            helper.make_node("DequantizeLinear", ["levels", "scale", "zero_point"], ["rounded"]),
        ]
    nodes.append(helper.make_node("Flatten", [nodes[-1].output[0]], ["logits"]))
    made = helper.make_graph(
        nodes,
        "normalise",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 1, 1, len(mean)])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(mean)])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(("mean", "std"), [(110.0, 50.0), (110.4, 63.7), (0.0, 255.0), (129.6, 1.5)])
def test_folding_changes_no_level(mean: float, std: float) -> None:
    model = graph([mean] * 3, [std] * 3)
    before = run_logits(model, IMAGES, threads=1)
    fold_normalisation(model, "normalised")
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Transpose", "DequantizeLinear", "Flatten"]
    assert {tensor.name for tensor in model.graph.initializer} == {"scale", "zero_point"}
    found = run_logits(model, IMAGES, threads=1)
    np.testing.assert_allclose(found, before, atol=1e-6)
    # A mean between two levels moves all pixels by less than half a level, and none of them against another.
    np.testing.assert_allclose(found, ((np.arange(256) - mean) / std)[:, None].repeat(3, 1), atol=0.5 / std + 1e-6)


def test_pixels_are_integers_of_the_normalised_image() -> None:
    pixels = read_pixels(graph([110.6] * 3, [63.7] * 3, quantized=False))
    assert pixels is not None and pixels.normalised == "normalised"
    assert (pixels.scale, pixels.zero_point) == (np.float32(1 / 63.7), 111)
    assert (pixels.scale.dtype, pixels.zero_point.dtype) == (np.float32, np.uint8)


@pytest.mark.parametrize(
    ("mean", "std"), [([110.0, 111.0, 110.0], [50.0] * 3), ([110.0] * 3, [50.0, 50.0, 51.0])], ids=["mean", "std"]
)
def test_channels_that_differ_have_no_common_scale(mean: list[float], std: list[float]) -> None:
    assert read_pixels(graph(mean, std)) is None


def test_a_graph_without_normalisation_has_none() -> None:
    model = graph([110.0], [50.0])
    model.graph.node[2].op_type = "Add"
    assert read_pixels(model) is None


def test_a_float_first_layer_keeps_its_normalisation() -> None:
    model = graph([110.0] * 3, [50.0] * 3, quantized=False)
    before = model.SerializeToString()
    fold_normalisation(model, "normalised")
    assert model.SerializeToString() == before


def stem(
    kernel: int, pad: int, size: tuple[int, int] = (12, 8), channels: int = 3, stride: int = 2, columns: bool = False
) -> onnx.ModelProto:
    """A normalised image, as wide statistics as the export gives colour, and a convolution, flattened as logits."""
    generator = np.random.default_rng(1)
    height, width = size
    rows, places = ((side + 2 * pad - kernel) // stride + 1 for side in size)
    repeated = (1, 1, 1, width if columns else 1)
    weights = {
        "mean": np.tile(np.linspace(100, 120, channels, dtype=np.float32).reshape(1, -1, 1, 1), repeated),
        "std": np.tile(np.linspace(50, 60, channels, dtype=np.float32).reshape(1, -1, 1, 1), repeated),
        "weight": generator.normal(size=(5, channels, kernel, kernel)).astype(np.float32),
        "bias": generator.normal(size=5).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalised"]),
        helper.make_node("Conv", ["normalised", "weight", "bias"], ["features"], strides=[stride] * 2, pads=[pad] * 4),
        helper.make_node("Flatten", ["features"], ["logits"]),
    ]
    made = helper.make_graph(
        nodes,
        "stem",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", height, width, channels])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5 * rows * places])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def with_attribute(model: onnx.ModelProto, **given: Any) -> onnx.ModelProto:
    """The same with another attribute of its convolution."""
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.attribute.extend(helper.make_attribute(*entry) for entry in given.items())
    return model


def photos(model: onnx.ModelProto) -> np.ndarray:
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(2).integers(0, 256, (3, *shape[1:]), dtype=np.uint8)


@pytest.mark.parametrize(("kernel", "pad"), [(6, 2), (5, 2), (4, 1), (2, 0), (1, 0)])
@pytest.mark.parametrize(("channels", "columns"), [(1, False), (3, False), (3, True)])
def test_blocks_change_no_sum(kernel: int, pad: int, channels: int, columns: bool) -> None:
    model = stem(kernel, pad, channels=channels, columns=columns)
    before = run_logits(model, photos(model), threads=1)
    gather_blocks(model)
    onnx.checker.check_model(model, full_check=True)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    size = 1 if kernel < 3 else 3
    assert shapes["weight"] == [5, 4 * channels, size, size]
    np.testing.assert_allclose(run_logits(model, photos(model), threads=1), before, atol=1e-4)
    # A second time there is nothing left to do.
    once = model.SerializeToString()
    gather_blocks(model)
    assert model.SerializeToString() == once


def test_blocks_are_pixels_too() -> None:
    model = stem(6, 2, channels=1)
    levels = read_pixels(model)
    gather_blocks(model)
    assert read_pixels(model) == levels


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(stem(3, 1), id="reaches one block before and none behind"),
        pytest.param(stem(7, 3), id="reaches two blocks before and one behind"),
        pytest.param(stem(5, 1), id="does not halve"),
        pytest.param(stem(3, 1, stride=1), id="stride 1"),
        pytest.param(stem(6, 2, size=(12, 7)), id="odd width"),
        pytest.param(stem(6, 2, size=(13, 8)), id="odd height"),
        pytest.param(with_attribute(stem(6, 2), group=3), id="groups"),
        pytest.param(with_attribute(stem(6, 2, size=(24, 24)), dilations=[2, 2]), id="dilated"),
        pytest.param(graph([110.0], [50.0]), id="no convolution"),
    ],
)
def test_what_blocks_do_not_fit_stays(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    gather_blocks(model)
    assert model.SerializeToString() == before
