"""A variant on disk: temperature, metadata and record, on graphs whose numbers are known by hand."""

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.special import softmax
from sklearn.metrics import log_loss

from edgemotion.compression.onnx_file import (
    add_probabilities,
    compare,
    count_macs,
    run_logits,
    set_temperature,
    strip,
    write_variant,
)
from edgemotion.files import sha256_file
from edgemotion.runtime.classifier import Classifier, open_session, run_session
from edgemotion.runtime.variant import load_variant

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
IMAGES, LABELS = given.patterned(60, size=4)


def linear_model(classes: int = 3, size: int = 4) -> onnx.ModelProto:
    """Pixels times each class's mean image, ending in logits, with the traces an exporter leaves."""
    means = np.stack([IMAGES[number == LABELS].mean(0).ravel() for number in range(classes)], 1)
    weights = (1e-4 * (means - means.mean(1, keepdims=True))).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["pixels"], name="cast", to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["pixels"], ["flat"], doc_string="File /home/someone/model.py, line 3"),
            helper.make_node("Gemm", ["flat", "weights"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(weights, "weights")],
        doc_string="/home/someone",
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    # make_model has copied the graph.
    graph = model.graph
    for item in (graph, graph.node[0], graph.input[0], graph.initializer[0]):
        entry = item.metadata_props.add()
        entry.key, entry.value = "pkg.torch.onnx.stack_trace", "/home/someone/model.py"
    model.doc_string, model.producer_version = "/home/someone", "2.15"
    add_probabilities(model)
    return model


def info_of(channels: int = 1) -> dict[str, Any]:
    size = {"layout": "NHWC", "dtype": "uint8", "height": 4, "width": 4, "channels": channels}
    return {"name": "fp32", "parent": None, "classes": ["left", "right", "middle"], "input": size, "macs": 48}


def messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all messages inside it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if not hasattr(value, "ListFields") else [value]:
                yield from messages(inner)


def test_probabilities_are_the_softmax_of_logits_over_the_temperature() -> None:
    model = linear_model()
    for temperature in (1.0, 2.5):
        set_temperature(model, temperature)
        logits, probabilities = run_session(open_session(model.SerializeToString()), IMAGES)
        assert logits.std() > 0.5
        np.testing.assert_allclose(probabilities, softmax(logits / temperature, axis=1), atol=1e-6)


def test_strip_leaves_nothing_of_the_exporter() -> None:
    model = linear_model()
    before = run_logits(model, IMAGES, threads=1)
    assert b"/home/someone" in model.SerializeToString()
    strip(model)
    assert model.SerializeToString().find(b"/home/someone") == -1
    for message in messages(model):
        assert not getattr(message, "doc_string", "") and not list(getattr(message, "metadata_props", []))
    assert not model.producer_version
    np.testing.assert_array_equal(run_logits(model, IMAGES, threads=1), before)


def test_a_written_variant_is_what_the_runtime_takes(tmp_path: Path) -> None:
    folder = tmp_path / "variants/fp32"
    info = write_variant(folder, linear_model(), info_of(), (IMAGES, LABELS), threads=1)
    assert json.loads((folder / "model_info.json").read_text()) == info == load_variant(folder).info
    assert {key: info[key] for key in info_of()} == info_of()
    assert info["opset"] == 18
    assert info["size_bytes"] == (folder / "model.onnx").stat().st_size > info["compressed_bytes"] > 0
    assert info["sha256"] == sha256_file(folder / "model.onnx")
    # The file itself tells a client without the record what to feed it.
    properties = {entry.key: entry.value for entry in onnx.load(folder / "model.onnx").metadata_props}
    assert properties == {"classes": "left,right,middle", "height": "4", "width": "4", "colour": "gray"}

    logits, probabilities = Classifier(folder).run(IMAGES)
    np.testing.assert_allclose(probabilities, softmax(logits / info["temperature"], axis=1), atol=1e-6)


def test_the_written_temperature_minimises_the_loss(tmp_path: Path) -> None:
    # A fifth of the labels is wrong, so that neither certainty nor doubt is the best answer.
    labels = np.where(np.arange(60) % 5 == 0, (LABELS + 1) % 3, LABELS)
    temperatures = []
    for factor in (1, 3):
        model = linear_model()
        weights = model.graph.initializer[0]
        weights.CopyFrom(numpy_helper.from_array(factor * numpy_helper.to_array(weights), "weights"))
        temperatures.append(write_variant(tmp_path / "v", model, info_of(), (IMAGES, labels), threads=1)["temperature"])
    # Logits three times as large need a temperature three times as high.
    assert temperatures[1] == pytest.approx(3 * temperatures[0], rel=1e-3)
    logits = run_logits(linear_model(), IMAGES, threads=1).astype(np.float64)
    losses = [
        log_loss(labels, softmax(logits / temperature, axis=1))
        for temperature in (0.98 * temperatures[0], temperatures[0], 1.02 * temperatures[0])
    ]
    assert losses[1] == min(losses)


def test_colour_networks_say_so(tmp_path: Path) -> None:
    write_variant(tmp_path / "v", linear_model(), info_of(channels=3), (IMAGES, LABELS), threads=1)
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "v/model.onnx").metadata_props}
    assert properties["colour"] == "rgb"


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_variant(tmp_path / name, linear_model(), info_of(), (IMAGES, LABELS), threads=1)
    assert given.digests(tmp_path / "a") == given.digests(tmp_path / "b")


def test_a_model_that_fails_leaves_the_old_variant(tmp_path: Path) -> None:
    write_variant(tmp_path / "v", linear_model(), info_of(), (IMAGES, LABELS), threads=1)
    before = given.digests(tmp_path / "v")
    broken = linear_model()
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(Exception, match="NoSuchOperator"):
        write_variant(tmp_path / "v", broken, info_of(), (IMAGES, LABELS), threads=1)
    assert given.digests(tmp_path) == {f"v/{name}": content for name, content in before.items()}


@pytest.mark.parametrize(
    ("operator", "weight", "attributes", "macs"),
    [
        # 8x8 outputs of 5 channels, each over 3x3 pixels of 4 channels.
        ("Conv", (5, 4, 3, 3), {"pads": [1, 1, 1, 1]}, 8 * 8 * 5 * 3 * 3 * 4),
        # A stride of 2 leaves 4x4.
        ("Conv", (5, 4, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}, 4 * 4 * 5 * 3 * 3 * 4),
        # Depthwise: each of 4 channels over its own 3x3 pixels.
        ("Conv", (4, 1, 3, 3), {"pads": [1, 1, 1, 1], "group": 4}, 8 * 8 * 4 * 3 * 3),
        # The last axis of 8 times an 8x6 matrix, for 4 channels of 8 rows.
        ("MatMul", (8, 6), {}, 4 * 8 * 8 * 6),
    ],
)
def test_macs_by_hand(operator: str, weight: tuple[int, ...], attributes: dict[str, Any], macs: int) -> None:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"], **attributes), helper.make_node("Relu", ["y"], ["z"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(weight, np.float32), "w")],
    )
    assert count_macs(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])) == macs


@pytest.mark.parametrize("transposed", [0, 1])
def test_macs_of_gemm_by_hand(transposed: int) -> None:
    shape = [7, 1] if transposed else [1, 7]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], transA=transposed)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(np.zeros((7, 5), np.float32), "w")],
    )
    assert count_macs(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])) == 7 * 5


def test_compare_by_hand() -> None:
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.5, 0.25]], np.float32)
    reference = np.array([[1.0, 2.5], [0.0, 1.0], [0.5, 0.25]], np.float32)
    assert compare(logits, reference) == {"max_abs_diff": 3.0, "argmax_agreement": 0.666667}
