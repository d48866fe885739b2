"""What every registered network must do, with the arguments of its own YAML in configs/model."""

import json
import runpy
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from omegaconf import OmegaConf
from onnx import TensorProto
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgemotion import registry
from edgemotion.compression.export import to_onnx, torch_logits
from edgemotion.compression.onnx_file import compare, count_macs, run_logits, strip, write_variant
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import build, load, save

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
NAMES = registry.names("network")
INPUTS = [(7, 1, 48), (5, 3, 64)]


def args_of(name: str) -> dict[str, Any]:
    """The arguments that configs/model/<name>.yaml gives."""
    return OmegaConf.to_container(OmegaConf.load(ROOT / f"configs/model/{name}.yaml").args)


def images_of(count: int, channels: int = 1, size: int = 48) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, size, size, channels), np.uint8)


@pytest.fixture(scope="module", params=NAMES)
def made(request: pytest.FixtureRequest) -> Any:
    """A network of seven classes for 48x48 gray images."""
    return given.network_of(request.param, args_of(request.param), classes=7, size=48)


@pytest.fixture(scope="module")
def exported(made: Any) -> onnx.ModelProto:
    return to_onnx(made)


@pytest.fixture(scope="module")
def variant(made: Any, exported: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported network as a variant folder."""
    folder = tmp_path_factory.mktemp(made.name) / "fp32"
    model = onnx.ModelProto()
    model.CopyFrom(exported)
    size = {"height": made.height, "width": made.width, "channels": made.channels}
    info = {"name": "fp32", "classes": made.classes, "input": size}
    write_variant(folder, model, info, (images_of(14), np.arange(14) % 7), threads=1)
    return folder


@pytest.mark.parametrize(("classes", "channels", "size"), INPUTS)
@pytest.mark.parametrize("name", NAMES)
def test_takes_any_classes_channels_and_size(name: str, classes: int, channels: int, size: int) -> None:
    module = build(name, args_of(name), classes, channels, size, size)
    assert module.eval()(torch.zeros(2, channels, size, size)).shape == (2, classes)


@pytest.mark.parametrize("name", NAMES)
def test_names_an_argument_it_does_not_have(name: str) -> None:
    with pytest.raises(EdgemotionError, match=f"network {name} has no argument 'colour'"):
        build(name, {**args_of(name), "colour": 1}, 7, 1, 48, 48)


def test_a_training_step_lowers_the_loss(made: Any) -> None:
    images, labels = given.patterned(24, size=48)
    batch, target = torch.from_numpy(images).permute(0, 3, 1, 2).float().sub(110).div(50), torch.from_numpy(labels)
    module = deepcopy(made.module).train()
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    before = nn.functional.cross_entropy(module(batch), target)
    before.backward()
    optimizer.step()
    assert nn.functional.cross_entropy(module(batch), target) < before


def test_comes_back_bitwise(made: Any, tmp_path: Path) -> None:
    save(tmp_path / "a", made, [{"epoch": 1, "val_top1": 0.5}])
    loaded = load(tmp_path / "a")
    save(tmp_path / "b", loaded, [{"epoch": 1, "val_top1": 0.5}])
    assert list(given.digests(tmp_path / "a")) == ["history.csv", "model.safetensors", "network.json"]
    assert given.digests(tmp_path / "a") == given.digests(tmp_path / "b")
    # A safetensors file opens with the length of its JSON header; a pickle would not.
    content = (tmp_path / "a/model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert set(header) - {"__metadata__"} == set(made.module.state_dict())
    assert loaded.description() == made.description() and not loaded.module.training
    images = images_of(4)
    np.testing.assert_array_equal(torch_logits(loaded, images), torch_logits(made, images))


def test_export_equals_torch(made: Any, exported: onnx.ModelProto) -> None:
    images = images_of(33)
    expected = torch_logits(made, images)
    # Logits that do not vary would agree whatever the export did.
    assert expected.std(0).max() > 1e-3
    parity = compare(run_logits(exported, images, threads=1), expected)
    assert parity["max_abs_diff"] < 1e-4 and parity["argmax_agreement"] == 1.0


def test_exports_the_same_bytes_again(made: Any, exported: onnx.ModelProto) -> None:
    first, second = onnx.ModelProto(), to_onnx(made)
    first.CopyFrom(exported)
    for model in (first, second):
        strip(model)
    assert given.model_digest(first) == given.model_digest(second)
    content = first.SerializeToString()
    assert not [found for found in (str(ROOT).encode(), b"site-packages") if found in content]


def flops(module: nn.Module, channels: int, size: int) -> int:
    """What torch itself counts; a multiply-accumulate is two operations."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, channels, size, size))
    return int(counter.get_total_flops())


def test_macs_equal_torchs_own_count(made: Any, exported: onnx.ModelProto) -> None:
    assert 2 * count_macs(exported) == flops(made.module, 1, 48)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_exports_colour_images_too(name: str) -> None:
    network = given.network_of(name, args_of(name), classes=5, channels=3, size=64)
    model, images = to_onnx(network), images_of(9, channels=3, size=64)
    assert 2 * count_macs(model) == flops(network.module, 3, 64)
    expected = torch_logits(network, images)
    assert expected.std(0).max() > 1e-3
    assert compare(run_logits(model, images, threads=1), expected)["max_abs_diff"] < 1e-4


def test_quantizes_to_int8_weights(made: Any, variant: Path) -> None:
    args = {"calibration_images": 300, "calibration_method": "minmax", "per_channel": True}
    model = registry.call("quantize", "static", variant / "model.onnx", images_of(300), 0, args=args)
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    sources = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == sum(isinstance(layer, nn.Conv2d) for layer in made.module.modules())
    for node in convolutions:
        pixels, kernel = (sources[name] for name in node.input[:2])
        assert (pixels.op_type, kernel.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert weights[kernel.input[0]] == TensorProto.INT8
    images = images_of(40)
    whole = run_logits(onnx.load(variant / "model.onnx"), images, threads=1)
    assert np.corrcoef(run_logits(model, images, threads=1).ravel(), whole.ravel())[0, 1] > 0.9


def test_pruned_to_half_the_macs_comes_back(made: Any, tmp_path: Path) -> None:
    pruned = deepcopy(made)
    args = {"macs_ratio": 0.5, "round_to": 4}
    registry.call("prune", "structured", pruned.module, torch.zeros(1, 1, 48, 48), args=args)
    save(tmp_path / "pruned", pruned, [])
    loaded = load(tmp_path / "pruned")
    images = images_of(4)
    np.testing.assert_array_equal(torch_logits(loaded, images), torch_logits(pruned, images))
    assert 0 < flops(loaded.module, 1, 48) <= 0.5 * flops(made.module, 1, 48)
