"""Networks on disk: what is written, and one clear line for a folder that does not fit."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.measure.environment import made_with
from edgemotion.networks.network import load, save, shrink_to, training_layout
from edgemotion.networks.vit import Attention

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
LENET = {"dropout": 0.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "fp32", given.network_of(), [{"epoch": 1, "val_top1": 1 / 3}, {"epoch": 2, "val_top1": 0.5}])
    return tmp_path / "fp32"


def test_writes_what_builds_it_again(folder: Path) -> None:
    description = json.loads((folder / "network.json").read_text())
    assert description == {
        "name": "compact",
        "args": {"widths": [8, 16], "depths": [1, 1], "stem_stride": 1, "dropout": 0.2},
        "classes": ["class 0", "class 1", "class 2"],
        "height": 16,
        "width": 16,
        "channels": 1,
        "mean": [110.0],
        "std": [50.0],
        "parent": None,
        "method": "train",
        "settings": {"seed": 0},
        "data_sha256": {"images.npy": "0" * 64},
        "made_with": made_with(),
    }
    assert (folder / "history.csv").read_text() == "epoch,val_top1\n1,0.333333\n2,0.5\n"


def test_channels_last_weights_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    network = load(folder)
    network.module.to(memory_format=torch.channels_last)
    save(tmp_path / "again", network, [])
    again, first = given.digests(tmp_path / "again"), given.digests(folder)
    assert again["model.safetensors"] == first["model.safetensors"]


def test_pretrained_weights_are_not_looked_for_again(tmp_path: Path) -> None:
    args: dict[str, Any] = {"weights": None, "stem_stride": 2, "dropout": 0.2}
    network = given.network_of("mobilenet_v2", args, size=32)
    network.args["weights"] = "gone.pt"
    save(tmp_path / "fp32", network, [])
    loaded = load(tmp_path / "fp32")
    assert loaded.args["weights"] == "gone.pt"
    torch.testing.assert_close(loaded.module.state_dict(), network.module.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("args", "layout"),
    [
        ({"widths": [12, 16]}, torch.contiguous_format),
        ({"widths": [12, 16], "depths": [2, 2], "stem_stride": 2}, torch.contiguous_format),
        ({"widths": [16, 8]}, torch.channels_last),
        # The stem halves in place of the first stage, so no 1x1 convolution has a stride.
        ({"widths": [4], "depths": [1], "stem_stride": 2}, torch.channels_last),
    ],
)
def test_the_layout_of_a_training_is_the_fastest_whose_gradients_are_right(
    args: dict[str, Any], layout: torch.memory_format
) -> None:
    assert training_layout(given.network_of(args={**given.COMPACT, **args}).module) is layout


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    layer, tokens = Attention(12, 3), 5 * torch.randn(2, 5, 12)
    query, key, value = (
        part(tokens).unflatten(-1, (3, 4)).transpose(1, 2) for part in (layer.query, layer.key, layer.value)
    )
    expected = nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(layer(tokens), layer.out(expected.transpose(1, 2).flatten(2)))


def test_names_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"absent/network\.json is missing"):
        load(tmp_path / "absent")


@pytest.mark.parametrize("content", [None, b"not safetensors"])
def test_names_weights_that_cannot_be_read(folder: Path, content: bytes | None) -> None:
    (folder / "model.safetensors").unlink()
    if content is not None:
        (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(EdgemotionError, match=r"model\.safetensors cannot be read") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_names_weights_of_another_network(folder: Path) -> None:
    state = given.network_of("lenet", LENET).module.state_dict()
    save_file(state, folder / "model.safetensors")
    with pytest.raises(EdgemotionError, match=r"model\.safetensors does not fit .*network\.json") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_shrinks_convolution_normalisation_and_linear() -> None:
    def layers(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(1, width, 3, bias=True),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 3, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
            nn.Flatten(),
            nn.Linear(width * 144, 5),
        )

    torch.manual_seed(0)
    small, large = layers(4).eval(), layers(8).eval()
    shrink_to(large, small.state_dict())
    large.load_state_dict(small.state_dict())
    images = torch.rand(2, 1, 16, 16)
    assert torch.equal(large(images), small(images))
    assert [getattr(layer, "groups", None) for layer in large] == [1, None, 4, 1, None, None]
    assert large[1].num_features == 4 and large[5].in_features == 576


def test_refuses_to_shrink_other_layers() -> None:
    module = nn.Sequential(nn.LayerNorm(8))
    with pytest.raises(EdgemotionError, match="0: a LayerNorm cannot be pruned by channels"):
        shrink_to(module, nn.Sequential(nn.LayerNorm(4)).state_dict())
