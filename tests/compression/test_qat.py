"""Quantization-aware training: torch rounds as ONNX Runtime does, learns with it, and the file is what was learned."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from omegaconf import OmegaConf
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgemotion import registry
from edgemotion.compression.onnx_file import run_logits
from edgemotion.compression.onnx_module import OnnxModule
from edgemotion.compression.onnx_operators import FakeQuantize
from edgemotion.compression.pixels import gather_blocks
from edgemotion.compression.qat import MIN_AGREEMENT, agrees, answers, convolutions, tune
from edgemotion.compression.quantization import Job, Quantized
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import Network, nchw
from edgemotion.runtime.variant import Variant
from edgemotion.training import loop

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
TRAIN, VAL = given.split_of(320, seed=1), given.split_of(120, seed=2)
ARGS: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(ROOT / "configs/quantize/qat.yaml").args)
ARGS |= {"batch_size": 32, "static": ARGS["static"] | {"calibration_images": 300}}
SMALL: dict[str, dict[str, Any]] = {
    "compact": {**given.COMPACT, "stem_stride": 2},
    "lenet": {"dropout": 0.2},
    "vgg": {"widths": [4, 8], "hidden": 8, "dropout": 0.3},
    "mobilenet_v2": {"weights": None, "stem_stride": 1, "dropout": 0.2},
    "efficientnet": {"variant": "b0", "weights": None, "stem_stride": 1, "dropout": 0.2, "hidden": None},
    "vit": {"patch": 4, "dim": 16, "depth": 2, "heads": 2, "mlp_ratio": 2.0, "dropout": 0.1},
}
SLOW = ["mobilenet_v2", "efficientnet", "vit"]


def job_of(network: Network, folder: Path, **augment: float) -> Job:
    """A variant as the export stage leaves it, and what it may be trained on."""
    job: Job = given.job_of(network, folder, TRAIN, VAL, train_settings=given.train_settings(augment))
    return replace(job, max_accuracy_drop=0.01)


def trained(network: Network, folder: Path) -> Network:
    """The network after three epochs."""
    module, _ = loop.fit(
        network.module, (TRAIN.images, TRAIN.labels), (VAL.images, VAL.labels), mean=network.mean, std=network.std,
        settings=given.train_settings(epochs=3), precision="fp32", seed=1, checkpoint=folder / "train.pt",
    )  # fmt: skip
    # As a network on disk lies in memory once it is loaded.
    network.module = module.to(memory_format=torch.contiguous_format)
    return network


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in SMALL])
def static(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Quantized]:
    """A network that tells the classes apart, for where they nearly tie rounding decides, and its static int8."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    network = given.network_of(name, SMALL[name])
    for layer in network.module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.1
    job = job_of(trained(network, folder), folder)
    return job, registry.call("quantize", "static", replace(job, max_accuracy_drop=1.0), args=ARGS["static"])


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A trained network, which sees shifted images when it goes on."""
    folder = tmp_path_factory.mktemp("trained")
    return job_of(trained(given.network_of(), folder), folder, shift=0.05, contrast=0.2)


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".checkpoints"


def weights_of(job: Job) -> dict[str, np.ndarray]:
    source = onnx.load(job.parent.model_path)
    gather_blocks(source)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}


def qat(job: Job, **args: Any) -> Quantized:
    found = registry.call("quantize", "qat", job, args={**ARGS, **args})
    assert isinstance(found, Quantized)
    return found


def test_a_float_graph_answers_as_in_onnx_runtime(static: tuple[Job, Quantized]) -> None:
    source = onnx.load(static[0].parent.model_path)
    expected = run_logits(source, VAL.images, threads=1)
    found = answers(OnnxModule(source), VAL.images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


def test_a_qdq_graph_answers_as_in_onnx_runtime(static: tuple[Job, Quantized]) -> None:
    job, quantized = static
    expected = run_logits(quantized.model, VAL.images, threads=1)
    found = answers(OnnxModule(quantized.model, weights_of(job)), VAL.images)
    # A value on the edge of two int8 steps may round otherwise and move what follows.
    assert (found.argmax(1) == expected.argmax(1)).mean() >= MIN_AGREEMENT
    assert np.abs(found - expected).mean() < 0.002 * np.ptp(expected)


def test_one_scale_a_tensor_answers_as_in_onnx_runtime(job: Job) -> None:
    model = registry.call("quantize", "static", job, args=ARGS["static"] | {"per_channel": [False]}).model
    found, expected = answers(OnnxModule(model, weights_of(job)), VAL.images), run_logits(model, VAL.images, threads=1)
    assert np.abs(found - expected).mean() < 0.002 * np.ptp(expected)


def test_what_was_not_trained_is_stored_as_static_had_it(static: tuple[Job, Quantized]) -> None:
    job, quantized = static
    stored = onnx.ModelProto.FromString(quantized.model.SerializeToString())
    OnnxModule(quantized.model, weights_of(job)).store(stored)
    for tensor, expected in zip(stored.graph.initializer, quantized.model.graph.initializer, strict=True):
        assert (tensor.name, tensor.data_type, tensor.dims) == (expected.name, expected.data_type, expected.dims)
        found, wanted = numpy_helper.to_array(tensor).astype(float), numpy_helper.to_array(expected).astype(float)
        # A float32 holds 24 bits of an int32.
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=tensor.data_type == TensorProto.INT32)


def graph_of(nodes: list[onnx.NodeProto], weights: dict[str, Any]) -> onnx.ModelProto:
    """Nodes from `nchw` uint8 or `pixels` float, both [N,2,8,8], to `features`, and a Gemm to the logits."""
    first = [
        helper.make_node("Transpose", ["images"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["nchw"], ["pixels"], to=TensorProto.FLOAT),
    ]
    last = [
        helper.make_node("Flatten", ["features"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "offset"], ["logits"], alpha=0.5, beta=2.0),
    ]
    weights = weights | {"offset": np.array([10, 20, 30], np.float32)}
    graph = helper.make_graph(
        [*first, *nodes, *last],
        "one",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 8, 8, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("operator", "constants", "attributes", "size"),
    [
        ("AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, 32),
        ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 128),
        ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, 32),
        ("GlobalAveragePool", [], {}, 2),
        ("ReduceMean", [np.array([2, 3])], {}, 2),
        ("Clip", [np.float32(20), np.float32(90)], {}, 128),
        ("Conv", [np.ones((4, 1, 3, 3), np.float32)], {"group": 2, "dilations": [2, 2], "pads": [1, 1, 1, 1]}, 144),
        ("Gelu", [], {"approximate": "tanh"}, 128),
        ("LayerNormalization", [np.full(8, 2, np.float32)], {"epsilon": 100.0}, 128),
        ("Reshape", [np.array([0, -1, 4])], {}, 128),
        ("Softmax", [], {"axis": 1}, 128),
    ],
)
def test_operators_answer_as_in_onnx_runtime(
    operator: str, constants: list[np.ndarray], attributes: dict[str, Any], size: int
) -> None:
    random = np.random.default_rng(0)
    weights = {f"constant{place}": value for place, value in enumerate(constants)}
    node = helper.make_node(operator, ["pixels", *weights], ["features"], **attributes)
    model = graph_of([node], weights | {"matrix": random.normal(size=(size, 3)).astype(np.float32)})
    images = random.integers(0, 256, (5, 8, 8, 2)).astype(np.uint8)
    np.testing.assert_allclose(
        answers(OnnxModule(model), images), run_logits(model, images, threads=1), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("operator", "attributes", "message"),
    [
        ("Erf", {}, "the_node is a Erf, which quantization-aware training does not know; use static"),
        ("MaxPool", {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]}, r"pads by \[0, 0, 1, 1\].*both sides equally"),
        ("MaxPool", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}, r"pads by \[0, 0, 0, 0\].*both sides equally"),
    ],
)
def test_what_it_does_not_know(operator: str, attributes: dict[str, Any], message: str) -> None:
    node = helper.make_node(operator, ["pixels"], ["features"], name="the_node", **attributes)
    with pytest.raises(EdgemotionError, match=message):
        answers(OnnxModule(graph_of([node], {"matrix": np.ones((128, 3), np.float32)})), np.zeros((1, 8, 8, 2), "u1"))


def test_what_lies_beyond_a_range_is_cut_off_as_in_onnx_runtime() -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("QuantizeLinear", ["pixels", "scale", "zero_point"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "scale", "zero_point"], ["features"]),
    ]
    weights = {"scale": np.float32(0.5), "zero_point": np.uint8(100)}
    # Of the pixels up to 255 those above 77.5.
    model = graph_of(nodes, weights | {"matrix": random.normal(size=(128, 3)).astype(np.float32)})
    images = random.integers(0, 256, (5, 8, 8, 2)).astype(np.uint8)
    np.testing.assert_allclose(answers(OnnxModule(model), images), run_logits(model, images, 1), rtol=1e-4, atol=1e-3)


def test_augmented_pixels_are_rounded_as_a_camera_does() -> None:
    random = np.random.default_rng(0)
    node = helper.make_node("DequantizeLinear", ["nchw", "scale", "zero_point"], ["features"])
    weights = {"scale": np.float32(0.5), "zero_point": np.uint8(100)}
    module = OnnxModule(graph_of([node], weights | {"matrix": random.normal(size=(128, 3)).astype(np.float32)}))
    images = torch.from_numpy(random.integers(1, 255, (5, 2, 8, 8))).float()
    between = images + torch.from_numpy(random.uniform(-0.4, 0.4, images.shape)).float()
    torch.testing.assert_close(module(between), module(images))


def test_gradients_are_those_of_the_paper() -> None:
    values = torch.tensor([[-1.0, -0.3, 0.11, 0.26, 3.0, 9.0]], requires_grad=True)
    scale = torch.tensor(0.2, requires_grad=True)
    rounded = FakeQuantize.apply(values, scale, -2, 13)
    torch.testing.assert_close(rounded[0], torch.tensor([-0.4, -0.4, 0.2, 0.2, 2.6, 2.6]))
    rounded.backward(torch.tensor([[1.0, 10.0, 100.0, 1000.0, 1e4, 1e5]]))
    assert values.grad is not None and scale.grad is not None
    assert values.grad.tolist() == [[0, 10, 100, 1000, 0, 0]]
    # round(v) - v with v = -1.5, 0.55 and 1.3 inside, -2 below and 13 above; six values an image, 13 multiples.
    slope = -2 * 1 - 0.5 * 10 + 0.45 * 100 - 0.3 * 1000 + 13 * 1.1e5
    assert float(scale.grad) == pytest.approx(slope / (6 * 13) ** 0.5)


def test_gradients_are_those_of_torch() -> None:
    torch.manual_seed(0)
    values, scale = torch.randn(4, 3, 5, 5, requires_grad=True), torch.tensor([0.01], requires_grad=True)
    upstream = torch.randn(4, 3, 5, 5)
    expected = torch._fake_quantize_learnable_per_tensor_affine(
        values, scale, torch.tensor([100.0]), 0, 255, (75 * 155) ** -0.5
    )
    wanted = torch.autograd.grad(expected, [values, scale], upstream)
    flat = scale.detach().reshape(()).requires_grad_()
    found = FakeQuantize.apply(values, flat, -100, 155)
    torch.testing.assert_close(found, expected)
    passed, slope = torch.autograd.grad(found, [values, flat], upstream)
    torch.testing.assert_close(passed, wanted[0])
    torch.testing.assert_close(slope, wanted[1][0], rtol=1e-3, atol=1e-5)


def test_a_channel_without_weights_keeps_its_bias(job: Job) -> None:
    quantized = registry.call("quantize", "static", job, args=ARGS["static"])
    module = OnnxModule(quantized.model, weights_of(job))
    names = dict(module.named_parameters())
    with torch.no_grad():
        names["network/stem/0/weight_quantized:weight"][2] = 1e-20
        names["network/stem/0/weight_bias_quantized:bias"][2] = 1.5
    module.store(quantized.model)
    np.testing.assert_allclose(run_logits(quantized.model, VAL.images, 1), answers(module, VAL.images), atol=0.1)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.model.graph.initializer}
    integers, steps = (stored[f"network.stem.0.weight_bias_quantized{end}"] for end in ("", "_scale"))
    assert integers[2] * steps[2] == pytest.approx(1.5)


def test_scales_stay_positive_at_a_wild_rate(job: Job) -> None:
    model = registry.call("quantize", "static", job, args=ARGS["static"]).model
    settings = replace(job.train_settings, epochs=1, learning_rate=5.0)
    module, history, _ = tune(replace(job, train_settings=settings), model, weights_of(job))
    scales = [float(value) for name, value in module.named_parameters() if name.endswith(":scale")]
    assert len(scales) > 5 and all(0 < scale < np.inf for scale in scales)
    assert np.isfinite(history[-1]["val_loss"])


def test_every_convolution_ends_in_int8_and_the_file_is_what_was_trained(job: Job) -> None:
    before = given.digest(job.parent.model_path.read_bytes())
    quantized = qat(job)
    assert quantized.notes["convolutions"] == {"parent": 7, "QLinearConv": 7, "float": []}
    assert quantized.notes["agreement"] >= 0.99
    assert [row["epoch"] for row in quantized.notes["history"]] == [0, 1, 2]
    found = run_logits(quantized.model, VAL.images, 1).argmax(1)
    top1 = float((found == VAL.labels).mean())
    assert top1 == pytest.approx(quantized.notes["history"][-1]["val_top1"], abs=0.01) and top1 > 0.9
    # The graph is static's; only what is trained differs, and everything that is did.
    static = registry.call("quantize", "static", replace(job, max_accuracy_drop=1.0), args=ARGS["static"]).model
    assert quantized.model.graph.node == static.graph.node
    changed = {
        tensor.name
        for tensor, other in zip(quantized.model.graph.initializer, static.graph.initializer, strict=True)
        if tensor != other
    }
    kept = {tensor.name for tensor in static.graph.initializer} - changed
    assert "temperature" in kept
    assert all("zero_point" in name for name in kept if "weight" in name or "bias" in name or name.startswith("relu"))
    assert given.digest(job.parent.model_path.read_bytes()) == before


def test_a_reduced_range_stays_reduced(job: Job) -> None:
    model = qat(job, static=ARGS["static"] | {"reduce_range": True}).model
    tensors = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    weights = [tensor.astype(int) for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim == 4]
    assert weights and {int(np.abs(weight).max()) for weight in weights} == {64}


def test_the_same_bytes_twice_and_after_a_kill(job: Job, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (qat(job) for _ in range(2))
    assert given.model_digest(first.model) == given.model_digest(second.model) and first.notes == second.notes
    assert not list(checkpoints.iterdir())

    def stop(path: Path, state: dict[str, Any]) -> None:
        save(path, state)
        raise KeyboardInterrupt

    save = loop.save_checkpoint
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "save_checkpoint", stop)
        qat(job)
    (left,) = checkpoints.iterdir()
    resumed = qat(job)
    assert given.model_digest(resumed.model) == given.model_digest(first.model) and resumed.notes == first.notes
    assert not left.exists()


def test_another_start_or_setting_is_another_training(job: Job) -> None:
    runs = [
        {},
        {"learning_rate": 0.02},
        {"distill_weight": 0.0},
        {"distill_temperature": 1.0},
        {"fake_quantize": False},
    ]
    digests = [given.model_digest(qat(job, epochs=1, **args).model) for args in runs]
    digests.append(given.model_digest(qat(replace(job, seed=8), epochs=1).model))
    assert len(set(digests)) == len(digests)


def test_only_the_same_training_has_the_same_checkpoint(job: Job) -> None:
    source = onnx.load(job.parent.model_path)
    changed = onnx.ModelProto.FromString(source.SerializeToString())
    tensor = next(tensor for tensor in changed.graph.initializer if tensor.name.endswith("head.weight"))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
    few, fewer = (replace(TRAIN, images=TRAIN.images[:n], labels=TRAIN.labels[:n]) for n in (32, 31))
    job = replace(job, train=few, val=few, train_settings=replace(job.train_settings, epochs=1))
    other = replace(job.train_settings, momentum=0.5)
    jobs = [job, job, replace(job, train_settings=other), replace(job, seed=8), replace(job, val=fewer)]
    paths = [tune(given_job, source)[2] for given_job in jobs] + [tune(job, changed)[2]]
    assert paths[0] == paths[1] and len(set(paths)) == 5


def test_what_was_frozen_in_the_network_s_own_training_learns(job: Job) -> None:
    frozen = replace(job, train_settings=replace(job.train_settings, freeze=["stem"]))
    assert given.model_digest(qat(frozen, epochs=1).model) == given.model_digest(qat(job, epochs=1).model)


def test_a_file_that_answers_otherwise_than_it_was_trained_is_refused(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemotion.compression.qat.MIN_AGREEMENT", 1.1)
    monkeypatch.setattr("edgemotion.compression.qat.NEAR_TIES", -1)
    with pytest.raises(EdgemotionError, match=r"name the same class on only (9\d\.\d|100\.0)% of val; lower quantize"):
        qat(job, epochs=1)


@pytest.mark.parametrize(("images", "most"), [(90, 3), (300, 3), (450, 4), (3589, 35)])
def test_of_few_images_three_may_be_near_ties(images: int, most: int) -> None:
    assert agrees(round(1 - most / images, 6), images)
    assert not agrees(round(1 - (most + 1) / images, 6), images)


def test_a_narrow_strided_convolution_learns_by_the_right_gradient(tmp_path: Path) -> None:
    narrow = given.network_of(args={**given.COMPACT, "widths": [4, 12]})
    model = onnx.load(job_of(narrow, tmp_path).parent.model_path)
    images, labels = nchw(torch.from_numpy(TRAIN.images)), torch.from_numpy(TRAIN.labels)
    module, exact = OnnxModule(model).to(memory_format=torch.channels_last), OnnxModule(model).double()
    nn.functional.cross_entropy(module(images.contiguous(memory_format=torch.channels_last)), labels).backward()
    nn.functional.cross_entropy(exact(images.double()), labels).backward()
    for found, wanted in zip(module.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad.float(), rtol=1e-3, atol=1e-5)


def test_training_repairs_coarse_ranges(job: Job) -> None:
    model = registry.call("quantize", "static", job, args=ARGS["static"]).model
    scales = {node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for tensor in model.graph.initializer:
        if tensor.name in scales:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 40, tensor.name))
    settings = replace(job.train_settings, epochs=3, learning_rate=0.01)
    module, history, _ = tune(replace(job, train_settings=settings), model, weights_of(job))
    assert history[-1]["val_loss"] < 0.8 * history[0]["val_loss"]
    module.store(model)
    found, expected = run_logits(model, VAL.images, 1), answers(module, VAL.images)
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.99


def test_the_control_trains_in_float_and_quantizes_after(job: Job) -> None:
    control = qat(job, fake_quantize=False)
    source = onnx.load(job.parent.model_path)
    expected = float((run_logits(source, VAL.images, 1).argmax(1) == VAL.labels).mean())
    assert control.notes["history"][0]["val_top1"] == pytest.approx(expected, abs=1e-6)
    assert control.notes["device"] == loop.device_name("auto")
    assert control.notes["convolutions"] == {"parent": 7, "QLinearConv": 7, "float": []}
    assert "agreement" not in control.notes
    top1 = float((run_logits(control.model, VAL.images, 1).argmax(1) == VAL.labels).mean())
    assert top1 == pytest.approx(control.notes["history"][-1]["val_top1"], abs=0.02)


def test_a_convolution_that_does_not_fuse_is_an_error_and_one_left_in_float_is_told(job: Job) -> None:
    source = onnx.load(job.parent.model_path)
    names = sorted(node.name for node in source.graph.node if node.op_type == "Conv")
    assert convolutions(source, source) == {"parent": 7, "QLinearConv": 0, "float": names}
    model = registry.call("quantize", "static", job, args=ARGS["static"]).model
    # Without the rounding of its output a convolution has no int8 counterpart.
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    rounding = next(node for node in model.graph.node if conv.output[0] in node.input)
    back = next(node for node in model.graph.node if rounding.output[0] in node.input)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == back.output[0]:
                node.input[place] = conv.output[0]
    model.graph.node.remove(back)
    model.graph.node.remove(rounding)
    with pytest.raises(EdgemotionError, match=rf"runs the int8 convolutions .*{conv.name}.* in float; use static"):
        convolutions(source, model)


def test_a_named_layer_stays_float_and_no_other_for_the_sake_of_accuracy(job: Job) -> None:
    static = ARGS["static"] | {"float_layers": ["blocks.0.conv1"], "max_accuracy_drop": -1.0}
    notes = qat(job, epochs=1, static=static).notes
    assert notes["float_layers"] == ["blocks.0.conv1"] and notes["agreement"] >= MIN_AGREEMENT
    found = notes["convolutions"]
    assert len(found["float"]) == 1 and found["QLinearConv"] == found["parent"] - 1


def test_what_it_refuses(job: Job) -> None:
    with pytest.raises(EdgemotionError, match=r"epochs is 0; it should be greater than or equal to 1$"):
        qat(job, epochs=0)
    with pytest.raises(EdgemotionError, match=r"learning_rate is -0\.1; it should be greater than or equal to 0$"):
        qat(job, learning_rate=-0.1)
    with pytest.raises(EdgemotionError, match=r"distill_weight is 1\.5; it should be less than or equal to 1$"):
        qat(job, distill_weight=1.5)
    with pytest.raises(EdgemotionError, match=r"temperature is 0\.05; it should be greater than or equal to 0\.1$"):
        qat(job, distill_temperature=0.05)
    with pytest.raises(EdgemotionError, match="quantize static has no argument 'bits'"):
        qat(job, static=ARGS["static"] | {"bits": 4})
    with pytest.raises(EdgemotionError, match="fp32 is a detector, and qat trains classifiers"):
        qat(replace(job, parent=Variant(job.parent.folder, job.parent.info | {"task": "detect"})))
