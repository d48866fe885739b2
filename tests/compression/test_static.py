"""Int8 models with measured ranges: which tensors are int8, what is chosen on val, and the same bytes twice."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, numpy_helper
from scipy.special import softmax
from sklearn.metrics import log_loss

from edgemotion import registry
from edgemotion.compression.export import to_onnx, torch_logits
from edgemotion.compression.onnx_file import DECODE, run_logits, run_model, strip
from edgemotion.compression.quantization import Job, Quantized
from edgemotion.compression.static import in_batches
from edgemotion.errors import EdgemotionError
from edgemotion.runtime.variant import Variant

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
detection = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "detector_fixtures.py")))
ARGS: dict[str, Any] = {
    "calibration_images": 300,
    "calibration_methods": ["minmax"],
    "per_channel": [True],
    "float_layers": [],
}
# One of its channels has weights a thousand times the others', and is always negative and so cut off.
SPOILED = "blocks.0.conv1"


def job_of(folder: Path, network: Any) -> Job:
    """A job whose parent names each of the classes on val, and is always right."""
    val = given.split_of(120, seed=1)
    network.module.head.bias.data -= torch.from_numpy(torch_logits(network, val.images).mean(0))
    model = to_onnx(network)
    strip(model)
    onnx.save(model, folder / "model.onnx")
    val = replace(val, labels=run_logits(model, val.images, 1).argmax(1))
    assert set(val.labels) == {0, 1, 2}
    parent = Variant(folder, {"name": "fp32"})
    return Job(parent, given.split_of(320, seed=0), val, given.train_settings(), 0, 1, 1.0)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A parent of which one activation is capped as MobileNet's are, beyond what it reaches here."""
    network = given.network_of()
    network.module.stem[2] = torch.nn.ReLU6()
    return job_of(tmp_path_factory.mktemp("sound"), network)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A parent of which one layer cannot be stored with one scale a tensor."""
    network = given.network_of()
    norm = network.module.blocks[0].norm1
    norm.weight.data[0], norm.bias.data[0] = 1e3, -1e5
    return job_of(tmp_path_factory.mktemp("spoiled"), network)


def quantize(job: Job, **args: Any) -> Quantized:
    found = registry.call("quantize", "static", job, args={**ARGS, **args})
    assert isinstance(found, Quantized)
    return found


def top1(model: onnx.ModelProto, job: Job) -> float:
    return float((run_logits(model, job.val.images, 1).argmax(1) == job.val.labels).mean())


def float_convolutions(model: onnx.ModelProto, folder: Path) -> list[str]:
    """The weights of the convolutions that ONNX Runtime computes in float."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    return [node.input[1] for node in nodes if node.op_type in ("Conv", "FusedConv")]


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_keeps_the_answers(job: Job, method: str) -> None:
    quantized = quantize(job, calibration_methods=[method])
    expected = run_logits(onnx.load(job.parent.model_path), job.val.images, threads=1)
    found = run_logits(quantized.model, job.val.images, threads=1)
    assert not np.array_equal(found, expected)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98
    assert quantized.notes == {
        "calibration_method": method,
        "per_channel": True,
        "parent_val_top1": 1.0,
        "val_top1": round(top1(quantized.model, job), 6),
        "float_layers": [],
    }


def test_a_stem_that_halves_reads_blocks_and_keeps_the_answers(tmp_path: Path) -> None:
    job = job_of(tmp_path, given.network_of(args={**given.COMPACT, "stem_stride": 2}))
    model = quantize(job).model
    stored = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert stored["network.stem.0.weight_quantized"] == [8, 4, 3, 3]
    assert top1(model, job) > 0.95 and float_convolutions(model, tmp_path) == []


def test_has_unsigned_activations_and_signed_weights(job: Job, tmp_path: Path) -> None:
    model = quantize(job).model
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    sources = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 7
    for node in convolutions:
        pixels, kernel = (sources[name] for name in node.input[:2])
        assert (pixels.op_type, kernel.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert tensors[pixels.input[2]].data_type == TensorProto.UINT8
        assert tensors[kernel.input[0]].data_type == TensorProto.INT8
        # Symmetric weights with one scale an output channel.
        assert not numpy_helper.to_array(tensors[kernel.input[2]]).any()
        assert len(numpy_helper.to_array(tensors[kernel.input[1]])) == tensors[kernel.input[0]].dims[0]
    assert float_convolutions(model, tmp_path) == []
    # The image is read as it is: a level is 1 / std, and the zero is the mean.
    assert not {"Cast", "Sub"} & {node.op_type for node in model.graph.node}
    scale, zero_point = (numpy_helper.to_array(tensors[name]) for name in sources[convolutions[0].input[0]].input[1:])
    assert (scale, zero_point) == (np.float32(1 / 50), 110)
    (last,) = [node for node in model.graph.node if node.op_type == "Gemm"]
    assert tensors[last.input[1]].data_type == TensorProto.FLOAT and list(last.output) == ["logits"]


def test_a_reduced_range_needs_no_exact_kernels(job: Job) -> None:
    full, reduced = (quantize(job, reduce_range=reduce).model for reduce in (False, True))
    tensors = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer} for model in (full, reduced)
    ]
    weights = [name for name, array in tensors[0].items() if array.dtype == np.int8 and array.ndim == 4]
    assert len(weights) == 7
    for name in weights:
        assert [np.abs(found[name].astype(int)).max() for found in tensors] == [127, 64]
    activations = {node.input[1] for node in full.graph.node if node.op_type == "QuantizeLinear"}
    assert activations and all(tensors[0][name] == tensors[1][name] for name in activations)
    assert top1(reduced, job) > 0.95
    fastest = onnxruntime.InferenceSession(reduced.SerializeToString())
    found = fastest.run(["logits"], {"images": job.val.images})[0]
    np.testing.assert_array_equal(found, run_logits(reduced, job.val.images, 1))


def test_one_scale_a_tensor_where_told(job: Job) -> None:
    model = quantize(job, per_channel=[False]).model
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    sources = {output: node for node in model.graph.node for output in node.output}
    scales = [tensors[sources[node.input[1]].input[1]] for node in model.graph.node if node.op_type == "Conv"]
    assert scales and all(numpy_helper.to_array(scale).size == 1 for scale in scales)


@pytest.mark.parametrize("count", [120, 6], ids=["by top-1", "of equals by cross-entropy"])
def test_the_best_pair_on_val_is_taken(job: Job, count: int) -> None:
    job = replace(job, val=replace(job.val, images=job.val.images[:count], labels=job.val.labels[:count]))
    pairs = [(method, channels) for method in ("minmax", "percentile") for channels in (False, True)]
    alone = {}
    for method, channels in pairs:
        model = quantize(job, calibration_methods=[method], per_channel=[channels]).model
        logits = run_logits(model, job.val.images, 1).astype(np.float64)
        loss = log_loss(job.val.labels, softmax(logits, axis=1), labels=[0, 1, 2])
        alone[method, channels] = model, top1(model, job), loss
    assert (len({entry[1] for entry in alone.values()}) == 1) == (count == 6)
    quantized = quantize(job, calibration_methods=["minmax", "percentile"], per_channel=[False, True])
    notes = quantized.notes
    assert notes["candidates"] == [
        {
            "calibration_method": method,
            "per_channel": channels,
            "val_top1": pytest.approx(alone[method, channels][1], abs=1e-6),
            "val_cross_entropy": pytest.approx(alone[method, channels][2], abs=1e-6),
        }
        for method, channels in pairs
    ]
    best = max(pairs, key=lambda pair: (alone[pair][1], -alone[pair][2]))
    assert (notes["calibration_method"], notes["per_channel"]) == best
    assert given.model_digest(quantized.model) == given.model_digest(alone[best][0])


def test_a_spoiled_tensor_chooses_scales_a_channel(spoiled: Job) -> None:
    notes = quantize(spoiled, per_channel=[False, True]).notes
    assert notes["per_channel"] and notes["val_top1"] > 0.9 > notes["candidates"][0]["val_top1"]


def test_the_most_harmful_layer_stays_float(spoiled: Job, tmp_path: Path) -> None:
    lossy = quantize(spoiled, per_channel=[False])
    assert lossy.notes["val_top1"] < 0.9 and lossy.notes["float_layers"] == [] and "trace" not in lossy.notes
    quantized = quantize(replace(spoiled, max_accuracy_drop=0.05), per_channel=[False])
    notes = quantized.notes
    assert notes["float_layers"] == [SPOILED] and "remark" not in notes
    assert notes["val_top1"] == round(top1(quantized.model, spoiled), 6) >= 0.95
    assert float_convolutions(quantized.model, tmp_path) == [f"network.{SPOILED}.weight"]
    # Every layer that may be int8, the largest error first.
    errors = list(notes["trace"].values())
    assert len(errors) == 7 and errors == sorted(errors, reverse=True) and errors[0] > 10 * errors[1] > 0
    assert next(iter(notes["trace"])) == SPOILED


@torch.no_grad()
@pytest.mark.parametrize(("method", "share"), [("minmax", 1.0), ("percentile", 0.99999)])
def test_a_range_holds_its_share_of_what_was_seen(job: Job, method: str, share: float) -> None:
    model = quantize(job, calibration_methods=[method]).model
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    sources = {output: node for node in model.graph.node for output in node.output}
    kernel = "network.blocks.0.conv2.weight_DequantizeLinear_Output"
    (pixels,) = [sources[node.input[0]] for node in model.graph.node if kernel in node.input]
    scale, zero_point = (tensors[name] for name in pixels.input[1:])

    network: Any = given.network_of().module
    block, drawn = network.blocks[0], np.sort(np.random.default_rng(job.seed).choice(320, 300, replace=False))
    images = torch.from_numpy(job.train.images[drawn]).permute(0, 3, 1, 2).float()
    seen = torch.relu(block.norm1(block.conv1(network.stem((images - 110) / 50))))
    # A percentile is that of a histogram of 2,048 bins.
    wanted = np.quantile(seen.numpy(), share, method="inverted_cdf")
    assert zero_point == 0 and 255 * scale == pytest.approx(wanted, rel=1e-3)


def rounded(values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Round to 256 levels over the range of what was seen, of which zero is one."""
    low, high = seen.min().clamp(max=0), seen.max().clamp(min=0)
    step = (high - low) / 255
    zero = (-low / step).round()
    return ((values / step).round() + zero).clamp(0, 255).sub(zero) * step


@torch.no_grad()
def test_the_trace_is_the_error_of_one_layer_alone(job: Job) -> None:
    # A drop of less than nothing is never reached.
    notes = quantize(replace(job, max_accuracy_drop=-1.0), float_layers=["blocks.1.conv2"]).notes
    assert notes["float_layers"] == ["blocks.1.conv2", *notes["trace"]] and len(notes["trace"]) == 6
    assert "still drops by more than -1.0" in notes["remark"]

    network: Any = given.network_of().module
    block = network.blocks[1]

    def int8_conv(conv: Any, norm: Any, features: torch.Tensor) -> torch.Tensor:
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        kernel, bias = conv.weight * factor.view(-1, 1, 1, 1), norm.bias - norm.running_mean * factor
        scale = kernel.abs().amax((1, 2, 3), keepdim=True) / 127
        return F.conv2d(features, (kernel / scale).round() * scale, bias, conv.stride, conv.padding)

    def answers(inner: torch.Tensor, shortcut: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = network.head(torch.relu(block.norm2(block.conv2(inner)) + shortcut).mean((2, 3)))
        return logits

    drawn = np.sort(np.random.default_rng(job.seed).choice(320, 300, replace=False))
    pixels = torch.from_numpy(job.train.images[drawn]).permute(0, 3, 1, 2).float()
    first = network.stem((pixels - 110) / 50)
    features = network.blocks[0](first)
    int8 = rounded(features, features)
    (inner, rough), (shortcut, rough_shortcut) = (
        [layer(values) for values in (features, int8)]
        for layer in (lambda values: torch.relu(block.norm1(block.conv1(values))), block.shortcut)
    )
    rough_first = torch.relu(int8_conv(*network.stem[:2], (pixels - 110) / 50))
    found = {
        "stem.0": network.head(network.blocks(rounded(rough_first, first)).mean((2, 3))),
        "blocks.1.conv1": answers(
            rounded(torch.relu(int8_conv(block.conv1, block.norm1, int8)), inner), rough_shortcut
        ),
        "blocks.1.shortcut.0": answers(rough, rounded(int8_conv(block.shortcut[0], block.shortcut[1], int8), shortcut)),
    }
    for name, logits in found.items():
        error = (logits - answers(inner, shortcut))[::2].square().mean()
        assert notes["trace"][name] == pytest.approx(float(error), rel=0.02)


def test_the_same_bytes_and_notes_twice(spoiled: Job) -> None:
    held = replace(spoiled, max_accuracy_drop=0.05)
    first, second = (quantize(held, calibration_methods=["entropy"], per_channel=[False]) for _ in range(2))
    assert given.model_digest(first.model) == given.model_digest(second.model) and first.notes == second.notes


def test_the_seed_draws_the_calibration_images(job: Job) -> None:
    train = given.split_of(600, seed=9)
    found = [given.model_digest(quantize(replace(job, train=train, seed=seed)).model) for seed in (0, 0, 1, 2)]
    assert found[0] == found[1] and len(set(found)) > 1


@pytest.mark.parametrize(("side", "largest"), [(48, 32), (96, 8), (224, 1), (512, 1)])
def test_larger_images_are_calibrated_in_smaller_batches(side: int, largest: int) -> None:
    images = np.arange(40 * side * side, dtype=np.uint32).astype(np.uint8).reshape(40, side, side, 1)
    batches = in_batches(images)
    assert max(map(len, batches)) == largest and np.array_equal(np.concatenate(batches), images)


def test_what_it_refuses(job: Job) -> None:
    with pytest.raises(EdgemotionError, match="calibration_images is 299; it should be greater than or equal to 300"):
        quantize(job, calibration_images=299)
    with pytest.raises(EdgemotionError, match=r"calibration_images is 512 of 100 .* at least 300"):
        quantize(replace(job, train=given.split_of(100, seed=0)), calibration_images=512)
    with pytest.raises(EdgemotionError, match=r"\.1 is 'best'; it should be 'minmax', 'entropy' or 'percentile'"):
        quantize(job, calibration_methods=["minmax", "best"])
    for name in ("calibration_methods", "per_channel"):
        with pytest.raises(EdgemotionError, match=rf"{name} is \[\]; List should have at least 1 item"):
            quantize(job, **{name: []})


def test_the_decoding_of_a_detector_stays_float(job: Job, tmp_path: Path) -> None:
    whole = to_onnx(detection.tiny_network())
    strip(whole)
    onnx.save(whole, tmp_path / "model.onnx")
    parent = Variant(tmp_path, {"name": "fp32", "task": "detect"})
    train, val = detection.scenes(300, size=16), detection.scenes(60, seed=1, size=16)
    # No drop is small enough, so that the trace is made too.
    found = quantize(replace(job, parent=parent, train=train, val=val, max_accuracy_drop=-2.0)).notes
    assert set(found["trace"]) == {"backbone.0", "head"}
    model = quantize(replace(job, parent=parent, train=train, val=val)).model
    assert TensorProto.INT8 in {tensor.data_type for tensor in model.graph.initializer}
    sources = {output: node for node in model.graph.node for output in node.output}
    decode = [node for node in model.graph.node if node.name.startswith(DECODE)]
    assert {node.op_type for node in decode} == {
        node.op_type for node in whole.graph.node if node.name.startswith(DECODE)
    }
    # Within it no value is rounded: rounded ones only enter it, from the last convolution.
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            source = sources.get(node.input[0])
            assert source is None or not source.name.startswith(DECODE), source.name
        if node.name.startswith(DECODE):
            rounded = [sources[name] for name in node.input if name in sources and sources[name] not in decode]
            assert all(sources.get(entry.input[0]) is not None for entry in rounded), node.name
    expected = run_model(whole, val.images, 1, ["boxes", "scores"])
    for answer, exact in zip(run_model(model, val.images, 1, ["boxes", "scores"]), expected, strict=True):
        assert not np.array_equal(answer, exact) and np.abs(answer - exact).max() < 0.05


def test_named_layers_stay_float(job: Job, tmp_path: Path) -> None:
    layers = ["stem.0", "blocks.0.conv1"]
    quantized = quantize(job, float_layers=layers)
    assert quantized.notes["float_layers"] == layers
    assert float_convolutions(quantized.model, tmp_path) == [f"network.{layer}.weight" for layer in layers]


def test_a_limit_of_its_own_keeps_int8_what_the_jobs_would_not(spoiled: Job) -> None:
    strict = replace(spoiled, max_accuracy_drop=0.0)
    assert SPOILED in quantize(strict, per_channel=[False]).notes["float_layers"]
    assert quantize(strict, per_channel=[False], max_accuracy_drop=1.0).notes["float_layers"] == []


def test_a_layer_that_is_not_there_is_refused(job: Job) -> None:
    with pytest.raises(EdgemotionError, match=r"float_layers names 'stem', which the network has not; it has stem\.0,"):
        quantize(job, float_layers=["stem"])
