"""Int8 models whose ranges are measured as they run: int8 weights, a detector's decoding in float, the same bytes."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgemotion import registry
from edgemotion.compression.export import to_onnx
from edgemotion.compression.onnx_file import DECODE, run_logits, run_model, strip, write_variant
from edgemotion.compression.quantization import Job, Quantized
from edgemotion.errors import EdgemotionError
from edgemotion.runtime.classifier import Classifier
from edgemotion.runtime.variant import Variant

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
detection = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "detector_fixtures.py")))
IMAGES, _ = given.patterned(60)


def job_of(folder: Path, network: Any) -> Job:
    """A job on a float model as the export stage leaves it."""
    model = to_onnx(network)
    strip(model)
    onnx.save(model, folder / "model.onnx")
    split = given.split_of(60, seed=0)
    return Job(Variant(folder, {"name": "fp32"}), split, split, given.train_settings(), 0, 1, 1.0)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return job_of(tmp_path_factory.mktemp("source"), given.network_of())


def quantize(job: Job, method: str = "dynamic", per_channel: bool = True) -> onnx.ModelProto:
    quantized = registry.call("quantize", method, job, args={"per_channel": per_channel})
    assert isinstance(quantized, Quantized) and quantized.notes == {}
    return quantized.model


def test_stores_int8_weights_and_keeps_the_answers(job: Job) -> None:
    model = quantize(job)
    found = {node.op_type for node in model.graph.node}
    assert {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"} <= found and not found & {"Conv", "Gemm"}
    expected = run_logits(onnx.load(job.parent.model_path), IMAGES, threads=1)
    assert np.corrcoef(run_logits(model, IMAGES, threads=1).ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(("per_channel", "shape"), [(True, [3]), (False, [])])
def test_a_linear_layer_has_one_scale_a_channel_where_told(job: Job, per_channel: bool, shape: list[int]) -> None:
    tensors = {tensor.name: list(tensor.dims) for tensor in quantize(job, per_channel=per_channel).graph.initializer}
    scales = {name: dims for name, dims in tensors.items() if name.endswith("_scale")}
    # ConvInteger knows no scale a channel.
    assert len(scales) == 8
    assert {name.split(".weight")[0]: dims for name, dims in scales.items() if dims or "head" in name} == {
        "network.head": shape
    }


def test_an_answer_does_not_hang_on_the_rest_of_the_batch(job: Job, tmp_path: Path) -> None:
    info = {"name": "int8_dynamic", "classes": given.CLASSES}
    info["input"] = {"layout": "NHWC", "dtype": "uint8", "height": 16, "width": 16, "channels": 1}
    write_variant(tmp_path / "int8_dynamic", quantize(job), info, (IMAGES, job.val.labels), threads=1)
    classifier = Classifier(tmp_path / "int8_dynamic")
    together = classifier.run(IMAGES)[0]
    alone = np.concatenate([classifier.run(IMAGES[number : number + 1])[0] for number in range(len(IMAGES))])
    assert np.array_equal(together, alone)
    # Nothing of the kind holds where the runtime is given all at once.
    assert not np.array_equal(classifier.session.run(["logits"], {"images": IMAGES})[0], alone)


def test_the_same_bytes_twice(job: Job) -> None:
    assert given.model_digest(quantize(job)) == given.model_digest(quantize(job))


def test_a_method_that_does_not_exist(job: Job) -> None:
    with pytest.raises(EdgemotionError, match=r"quantize 'int3' does not exist; choose one of dynamic, .*static"):
        quantize(job, "int3")


def test_the_decoding_of_a_detector_stays_float(tmp_path: Path) -> None:
    job = job_of(tmp_path, detection.tiny_network())
    whole, model = onnx.load(job.parent.model_path), quantize(job)
    assert {tensor.data_type for tensor in model.graph.initializer} & {TensorProto.INT8, TensorProto.UINT8}
    decode = [
        [node.op_type for node in graph.node if node.name.startswith(DECODE)] for graph in (whole.graph, model.graph)
    ]
    assert sorted(decode[0]) == sorted(decode[1])
    sources = {output: node.name for node in model.graph.node for output in node.output}
    rounded = [node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"]
    assert rounded and not any(sources.get(node.input[0], "").startswith(DECODE) for node in rounded)
    images = detection.scenes(60, size=16).images
    expected = run_model(whole, images, 1, ["boxes", "scores"])
    for found, exact in zip(run_model(model, images, 1, ["boxes", "scores"]), expected, strict=True):
        assert not np.array_equal(found, exact) and np.abs(found - exact).max() < 0.05
