"""Int8 models: which tensors are int8, what is refused, and the same bytes twice."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edgemotion import registry
from edgemotion.compression.export import to_onnx
from edgemotion.compression.onnx_file import DECODE, run_logits, run_model, strip
from edgemotion.errors import EdgemotionError

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
detection = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "detector_fixtures.py")))
IMAGES, LABELS = given.patterned(320)
STATIC: dict[str, Any] = {"calibration_images": 300, "calibration_method": "minmax", "per_channel": True}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float model as the export stage leaves it."""
    model = to_onnx(given.network_of())
    strip(model)
    path = tmp_path_factory.mktemp("source") / "model.onnx"
    onnx.save(model, path)
    return path


def quantize(source: Path, method: str = "static", seed: int = 0, images: np.ndarray = IMAGES, **args: Any) -> Any:
    return registry.call(
        "quantize", method, source, images, seed, args={**(STATIC if method == "static" else {}), **args}
    )


@pytest.mark.parametrize("calibration_method", ["minmax", "entropy", "percentile"])
def test_static_keeps_the_answers(source: Path, calibration_method: str) -> None:
    model = quantize(source, calibration_method=calibration_method)
    expected = run_logits(onnx.load(source), IMAGES, threads=1)
    found = run_logits(model, IMAGES, threads=1)
    assert not np.array_equal(found, expected)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_static_has_unsigned_activations_and_signed_weights(source: Path) -> None:
    model = quantize(source)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    sources = {output: node for node in model.graph.node for output in node.output}
    matrices = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(matrices) == 8
    for node in matrices:
        pixels, kernel = (sources[name] for name in node.input[:2])
        assert (pixels.op_type, kernel.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert tensors[pixels.input[2]].data_type == TensorProto.UINT8
        assert tensors[kernel.input[0]].data_type == TensorProto.INT8
        # Symmetric weights with one scale an output channel, which is the last axis of a Gemm that does not transpose.
        assert not numpy_helper.to_array(tensors[kernel.input[2]]).any()
        assert len(numpy_helper.to_array(tensors[kernel.input[1]])) in tensors[kernel.input[0]].dims


def test_one_scale_a_tensor_where_told(source: Path) -> None:
    model = quantize(source, per_channel=False)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    sources = {output: node for node in model.graph.node for output in node.output}
    scales = [tensors[sources[node.input[1]].input[1]] for node in model.graph.node if node.op_type == "Conv"]
    assert scales and all(numpy_helper.to_array(scale).size == 1 for scale in scales)


def test_dynamic_stores_int8_weights(source: Path) -> None:
    model = quantize(source, method="dynamic", per_channel=True)
    found = {node.op_type for node in model.graph.node}
    assert {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"} <= found and not found & {"Conv", "Gemm"}
    expected = run_logits(onnx.load(source), IMAGES, threads=1)
    assert np.corrcoef(run_logits(model, IMAGES, threads=1).ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_the_same_bytes_twice(source: Path, method: str) -> None:
    args = {} if method == "static" else {"per_channel": True}
    first, second = (given.model_digest(quantize(source, method, **args)) for _ in range(2))
    assert first == second


def test_the_seed_draws_the_calibration_images(source: Path) -> None:
    images = given.patterned(600, seed=9)[0]
    found = [given.model_digest(quantize(source, seed=seed, images=images)) for seed in (0, 0, 1, 2)]
    assert found[0] == found[1] and len(set(found)) > 1


def test_too_few_calibration_images(source: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"calibration_images is 299 of 320 .* at least 300"):
        quantize(source, calibration_images=299)
    with pytest.raises(EdgemotionError, match=r"calibration_images is 512 of 100 .* at least 300"):
        quantize(source, images=IMAGES[:100], calibration_images=512)


def test_names_that_do_not_exist(source: Path) -> None:
    with pytest.raises(EdgemotionError, match="quantize 'int3' does not exist; choose one of dynamic, static"):
        quantize(source, method="int3")
    with pytest.raises(EdgemotionError, match="calibration_method 'best' does not exist; use minmax"):
        quantize(source, calibration_method="best")


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_the_decoding_of_a_detector_stays_float(method: str, tmp_path: Path) -> None:
    whole = to_onnx(detection.tiny_network())
    strip(whole)
    onnx.save(whole, tmp_path / "model.onnx")
    images = detection.scenes(300, size=16).images
    args = {} if method == "static" else {"per_channel": True}
    model = quantize(tmp_path / "model.onnx", method, images=images, **args)
    weights = {tensor.data_type for tensor in model.graph.initializer}
    assert weights & {TensorProto.INT8, TensorProto.UINT8}
    sources = {output: node for node in model.graph.node for output in node.output}
    decode = [node for node in model.graph.node if node.name.startswith(DECODE)]
    assert {node.op_type for node in decode} == {
        node.op_type for node in whole.graph.node if node.name.startswith(DECODE)
    }
    # Within it no value is rounded: rounded ones only enter it, from the last convolution.
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear"):
            source = sources.get(node.input[0])
            assert source is None or not source.name.startswith(DECODE), source.name
        if node.name.startswith(DECODE):
            rounded = [sources[name] for name in node.input if name in sources and sources[name] not in decode]
            assert all(sources.get(entry.input[0]) is not None for entry in rounded), node.name
    expected = run_model(whole, images, 1, ["boxes", "scores"])
    for found, exact in zip(run_model(model, images, 1, ["boxes", "scores"]), expected, strict=True):
        assert not np.array_equal(found, exact) and np.abs(found - exact).max() < 0.05
