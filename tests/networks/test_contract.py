"""What every network of configs/model must do, with the arguments of its own YAML."""

import json
import runpy
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from onnx import TensorProto
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgemotion import registry
from edgemotion.compression.export import to_onnx, torch_logits
from edgemotion.compression.onnx_file import compare, count_macs, run_logits, strip
from edgemotion.compression.quantization import Job
from edgemotion.errors import EdgemotionError
from edgemotion.measure.gradcam import grad_cam
from edgemotion.networks.network import Network, build, load, save
from edgemotion.runtime.variant import Variant

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
# They are tested on colour images, the others on gray ones.
SLOW = ["efficientnet_b0", "efficientnet_b4", "landmark_cnn", "mobilenet_v2", "resnet50", "vit_b_16", "yolo11n_cls"]

# Large ones whose operators are those of a smaller one: what takes long is tested there.
SCALED = {"efficientnet_b4": "efficientnet_b0", "vit_b_16": "vit"}


def model_of(path: Path) -> DictConfig:
    """The model section of a YAML, which may stand alone or, in a global one, under its key."""
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    return config.get("model", config)


MODELS = {path.stem: model_of(path) for path in sorted((ROOT / "configs/model").glob("*.yaml"))}
# Detectors answer with boxes and have a contract of their own.
CLASSIFIERS = [stem for stem, model in MODELS.items() if model.args.get("architecture", "-cls").endswith("-cls")]
NAMES = [pytest.param(stem, marks=[pytest.mark.slow] if stem in SLOW else []) for stem in CLASSIFIERS]


def args_of(stem: str) -> dict[str, Any]:
    """The arguments that configs/model/<stem>.yaml gives."""
    if MODELS[stem].name == "yolo":
        given.need_ultralytics()
    return OmegaConf.to_container(MODELS[stem].args)


def images_of(network: Network, count: int) -> np.ndarray:
    """Images [N,H,W,C] like those that the network's normalisation has seen."""
    return given.patterned(count, network.height, network.channels, seed=3)[0]


def batch_of(network: Network, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised images [N,C,H,W] and labels."""
    images, labels = given.patterned(count, network.height, network.channels)
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().sub(110).div(50), torch.from_numpy(labels)


def leave_to_the_smaller(stem: str) -> None:
    if stem in SCALED:
        pytest.skip(f"too long for every run; {SCALED[stem]} has the same operators")


@pytest.fixture(scope="module", params=NAMES)
def stem(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(stem: str) -> Network:
    """A network of seven classes."""
    channels, size = (3, 48) if stem in SLOW else (1, 48)
    return given.network_of(MODELS[stem].name, args_of(stem), classes=7, channels=channels, size=size)


@pytest.fixture(scope="module")
def exported(made: Network) -> onnx.ModelProto:
    model = to_onnx(made)
    strip(model)
    return model


def flops(module: nn.Module, channels: int, size: int) -> int:
    """What torch itself counts; a multiply-accumulate is two operations."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, channels, size, size))
    return int(counter.get_total_flops())


def weighted(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that have constant weights, in a float model and in a quantized one."""
    sources = {output: node.input[0] for node in model.graph.node for output in node.output if node.input}
    constants = {tensor.name for tensor in model.graph.initializer}
    found = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    return [node for node in found if {node.input[1], sources.get(node.input[1])} & constants]


def test_every_registered_network_has_a_yaml() -> None:
    assert {model.name for model in MODELS.values()} == set(registry.names("network"))


@pytest.mark.parametrize(("classes", "channels", "height", "width"), [(7, 1, 48, 48), (5, 3, 64, 96), (2, 1, 50, 37)])
@pytest.mark.parametrize("stem", NAMES)
def test_takes_any_classes_channels_and_size(stem: str, classes: int, channels: int, height: int, width: int) -> None:
    module = build(MODELS[stem].name, args_of(stem), classes, channels, height, width)
    assert module.eval()(torch.zeros(2, channels, height, width)).shape == (2, classes)


@pytest.mark.parametrize("stem", CLASSIFIERS)
def test_names_an_argument_it_does_not_have(stem: str) -> None:
    name = MODELS[stem].name
    with pytest.raises(EdgemotionError, match=f"network {name} has no argument 'colour'"):
        build(name, {**args_of(stem), "colour": 1}, 7, 1, 48, 48)


@pytest.mark.parametrize("size", [1, 12])
@pytest.mark.parametrize("stem", CLASSIFIERS)
def test_a_small_image_is_taken_or_refused_when_built(stem: str, size: int) -> None:
    try:
        module = build(MODELS[stem].name, args_of(stem), 7, 1, size, size)
    except EdgemotionError as error:
        assert str(error).startswith(f"data.height and data.width are {size} and {size}; ")
    else:
        assert module.eval()(torch.zeros(1, 1, size, size)).shape == (1, 7)


def test_compact_wants_a_depth_for_each_width() -> None:
    for args in ({"widths": [8]}, {"depths": [1]}):
        with pytest.raises(EdgemotionError, match="must name a number for each stage"):
            build("compact", {**args_of("compact"), **args}, 7, 1, 48, 48)


def test_a_training_step_lowers_the_loss_and_is_the_same_again(made: Network) -> None:
    batch, target = batch_of(made, 12)

    def loss_of(module: nn.Module) -> torch.Tensor:
        # The same units are dropped each time.
        torch.manual_seed(1)
        return nn.functional.cross_entropy(module(batch), target)

    weights, losses = [], []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            module = deepcopy(made.module).train()
            optimizer = torch.optim.SGD(module.parameters(), 0.01)
            losses.append(loss_of(module))
            losses[-1].backward()
            assert [name for name, parameter in module.named_parameters() if parameter.grad is None] == []
            optimizer.step()
            weights.append(torch.cat([parameter.detach().flatten() for parameter in module.parameters()]))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(weights[0], weights[1])
    assert loss_of(module) < losses[0] == losses[1]


def test_comes_back_bitwise(made: Network, tmp_path: Path) -> None:
    save(tmp_path / "a", made, [{"epoch": 1, "val_top1": 0.5}])
    loaded = load(tmp_path / "a")
    save(tmp_path / "b", loaded, [{"epoch": 1, "val_top1": 0.5}])
    assert list(given.digests(tmp_path / "a")) == ["history.csv", "model.safetensors", "network.json"]
    assert given.digests(tmp_path / "a") == given.digests(tmp_path / "b")
    # A safetensors file opens with the length of its JSON header; a pickle would not.
    with (tmp_path / "a/model.safetensors").open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    assert set(header) - {"__metadata__"} == set(made.module.state_dict())
    assert loaded.description() == made.description() and not loaded.module.training
    images = images_of(made, 4)
    np.testing.assert_array_equal(torch_logits(loaded, images), torch_logits(made, images))


def test_export_equals_torch(made: Network, exported: onnx.ModelProto) -> None:
    images = images_of(made, 20)
    expected = torch_logits(made, images)
    # Logits that do not vary would agree whatever the export did.
    assert expected.std(0).max() > 1e-3
    parity = compare(run_logits(exported, images, threads=1), expected)
    assert parity["max_abs_diff"] < 1e-4 and parity["argmax_agreement"] == 1.0


def test_exports_the_same_bytes_again(stem: str, made: Network, exported: onnx.ModelProto) -> None:
    leave_to_the_smaller(stem)
    again = to_onnx(made)
    strip(again)
    assert given.model_digest(again) == given.model_digest(exported)
    content = again.SerializeToString()
    assert not [found for found in (str(ROOT).encode(), b"site-packages") if found in content]


def test_macs_equal_torchs_own_count(made: Network, exported: onnx.ModelProto) -> None:
    assert 2 * count_macs(exported) == flops(made.module, made.channels, made.height)


@pytest.mark.slow
@pytest.mark.parametrize("stem", [stem for stem in CLASSIFIERS if stem not in SLOW])
def test_exports_colour_images_too(stem: str) -> None:
    network = given.network_of(MODELS[stem].name, args_of(stem), classes=5, channels=3, size=64)
    model, images = to_onnx(network), images_of(network, 9)
    assert 2 * count_macs(model) == flops(network.module, 3, 64)
    expected = torch_logits(network, images)
    assert expected.std(0).max() > 1e-3
    assert compare(run_logits(model, images, threads=1), expected)["max_abs_diff"] < 1e-4


def test_quantizes_to_int8_weights(stem: str, made: Network, exported: onnx.ModelProto, tmp_path: Path) -> None:
    # EfficientNet-B4 is the network that int8 costs most, so it is not left out.
    if stem == "vit_b_16":
        leave_to_the_smaller(stem)
    (tmp_path / "model.onnx").write_bytes(exported.SerializeToString())
    size = {"height": made.height, "width": made.width, "channels": made.channels}
    parent = Variant(tmp_path, {"name": stem, "classes": made.classes, "input": size})
    train, val = (
        replace(given.split_of(count, seed=0), images=images_of(made, count), labels=np.zeros(count, np.int64))
        for count in (300, 40)
    )
    job = Job(parent, train, val, given.train_settings(), seed=0, threads=1, max_accuracy_drop=1.0)
    args = {"calibration_images": 300, "calibration_methods": ["minmax"], "per_channel": [True], "float_layers": []}
    model = registry.call("quantize", "static", job, args=args).model
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    sources = {output: node for node in model.graph.node for output in node.output}
    assert len(weighted(model)) == len(weighted(exported))
    convolutions = [node for node in weighted(model) if node.op_type == "Conv"]
    assert len(convolutions) == sum(isinstance(layer, nn.Conv2d) for layer in made.module.modules())
    for node in weighted(model):
        # The last layer stays float.
        if "logits" in node.output:
            continue
        values, weights = (sources[name] for name in node.input[:2])
        assert (values.op_type, weights.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert types[weights.input[0]] == TensorProto.INT8
    images = images_of(made, 40)
    whole = run_logits(exported, images, threads=1)
    assert np.corrcoef(run_logits(model, images, threads=1).ravel(), whole.ravel())[0, 1] > 0.85


def test_grad_cam_finds_something_in_the_image(made: Network) -> None:
    batch, labels = batch_of(made, 6)
    heat = grad_cam(made.module, batch, labels)
    assert heat.shape == (6, made.height, made.width)
    assert np.isfinite(heat).all() and heat.min() >= 0 and heat.max() == 1


def test_pruned_to_half_the_macs_comes_back(stem: str, made: Network, tmp_path: Path) -> None:
    leave_to_the_smaller(stem)
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        methods = [entry.method for entry in compose("config", [f"model={stem}"]).prune.values()]
    if "structured" not in methods:
        pytest.skip("its YAML chooses a compression without pruning")
    pruned = deepcopy(made)
    size = (made.channels, made.height, made.width)
    args = {"macs_ratio": 0.5, "round_to": 4, "importance": "magnitude"}
    registry.call("prune", "structured", pruned.module, made.module, torch.zeros(1, *size), args=args, share=1.0)
    save(tmp_path / "pruned", pruned, [])
    loaded = load(tmp_path / "pruned")
    images = images_of(made, 4)
    np.testing.assert_array_equal(torch_logits(loaded, images), torch_logits(pruned, images))
    assert 0 < flops(loaded.module, *size[:2]) <= 0.5 * flops(made.module, *size[:2])
