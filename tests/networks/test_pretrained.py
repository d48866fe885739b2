"""Published weights from a state-dict file: what is taken over, what is fitted, and what is refused in one line."""

import os
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import torch
from torch import nn
from torchvision import models

from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import build
from edgemotion.networks.pretrained import fit_positions, make_head

ARGS: dict[str, Any] = {"weights": None, "stem_stride": 2, "dropout": 0.2, "hidden": None}
# What each network is called at torchvision, its own arguments, the first convolution and the head.
PUBLISHED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "mobilenet_v2": ("mobilenet_v2", {}, "features.0.0", "classifier"),
    "resnet50": ("resnet50", {}, "conv1", "fc"),
    "efficientnet": ("efficientnet_b0", {"variant": "b0"}, "features.0.0", "classifier"),
    "vit_b_16": ("vit_b_16", {"stem_stride": 16}, "conv_proj", "heads"),
}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name == "vit_b_16" else []) for name in PUBLISHED]


@pytest.fixture(scope="module")
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict as torchvision publishes it: three channels, a thousand classes."""
    path = tmp_path_factory.mktemp("weights") / "published.pt"
    torch.manual_seed(5)
    torch.save(models.get_model(PUBLISHED[request.param][0]).state_dict(), path)
    return path


def network(name: str, channels: int, size: int = 48, **args: Any) -> nn.Module:
    given = {**ARGS, **PUBLISHED[name][1], **args}
    return build(name, given, classes=7, channels=channels, height=size, width=size).eval()


def mobilenet(channels: int, **args: Any) -> nn.Module:
    return network("mobilenet_v2", channels, **args)


@pytest.mark.parametrize(("name", "weights"), [pytest.param(*[p.values[0]] * 2, marks=p.marks) for p in NAMES],
                         indirect=["weights"])  # fmt: skip
def test_takes_all_but_the_head_and_sums_the_kernels_for_gray_images(name: str, weights: Path) -> None:
    _, _, stem, head = PUBLISHED[name]
    wanted = torch.load(weights, weights_only=True)
    # At the published size nothing else is fitted; the others bear any.
    colour = network(name, 3, 224 if name == "vit_b_16" else 48, weights=str(weights)).state_dict()
    rest = {key for key in wanted if not key.startswith(head)}
    assert rest == {key for key in colour if not key.startswith(head)}
    assert [key for key in sorted(rest) if not torch.equal(colour[key], wanted[key])] == []
    assert colour[f"{head}.1.weight"].shape[0] == 7

    gray = network(name, 1, weights=str(weights)).get_parameter(f"{stem}.weight")
    image = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.conv2d(image.repeat(1, 3, 1, 1), wanted[f"{stem}.weight"])
    assert expected.std() > 0.01
    torch.testing.assert_close(nn.functional.conv2d(image, gray), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_vit_b_16_computes_what_torchvisions_does() -> None:
    torch.manual_seed(0)
    theirs = models.vit_b_16(num_classes=7).eval()
    theirs.heads = make_head(768, 7, 0.0, None).eval()
    ours = network("vit_b_16", 3, 224)
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_positions_keep_their_place_in_another_grid() -> None:
    # One channel grows from left to right, the other from top to bottom.
    rows, columns = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")
    grid = torch.stack([columns, rows], -1).flatten(0, 1)
    token = torch.tensor([[-5.0, 7.0]])
    positions = torch.cat([token, grid])[None]
    torch.testing.assert_close(fit_positions(positions, 14, 14), positions)
    fitted = fit_positions(positions, 4, 7)
    assert fitted.shape == (1, 1 + 4 * 7, 2)
    assert torch.equal(fitted[0, 0], token[0])
    across, down = fitted[0, 1:].unflatten(0, (4, 7)).unbind(-1)
    # Cell k of n covers 14 / n of the old cells, whose centre is at (k + 1/2) * 14 / n - 1/2; the border is bent.
    torch.testing.assert_close(across[1, 1:-1], (torch.arange(7) + 0.5)[1:-1] * 2 - 0.5, atol=0.1, rtol=0)
    torch.testing.assert_close(down[1:-1, 3], (torch.arange(4) + 0.5)[1:-1] * 3.5 - 0.5, atol=0.1, rtol=0)


@pytest.mark.parametrize("shape", [(1, 196, 8), (1, 1, 8), (197, 8)])
def test_positions_without_a_square_grid_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(EdgemotionError, match="no class token and square grid"):
        fit_positions(torch.zeros(shape), 3, 3)


def test_a_hidden_layer_stands_before_the_last() -> None:
    plain, deep = (mobilenet(1, hidden=hidden).classifier for hidden in (None, 64))
    assert [type(layer) for layer in plain] == [nn.Dropout, nn.Linear]
    assert [type(layer) for layer in deep] == [nn.Dropout, nn.Linear, nn.ReLU, nn.Linear]
    assert (deep[1].out_features, deep[3].in_features, deep[3].out_features) == (64, 64, 7)
    with pytest.raises(EdgemotionError, match="hidden is 0; it should be greater than or equal to 1"):
        mobilenet(1, hidden=0)


def test_a_smaller_stem_stride_keeps_the_resolution() -> None:
    image = torch.zeros(1, 1, 48, 48)
    shapes = [mobilenet(1, stem_stride=stride).features(image).shape[2:] for stride in (1, 2)]
    assert shapes == [(3, 3), (2, 2)]
    sizes = []
    for stride in (4, 2, 1):
        resnet = network("resnet50", 1, stem_stride=stride)
        sizes.append(resnet.maxpool(resnet.conv1(image)).shape[2])
    assert sizes == [12, 24, 48]
    assert network("vit_b_16", 1, stem_stride=8).encoder.pos_embedding.shape[1] == 1 + 5 * 5


@pytest.mark.parametrize(
    ("name", "size", "args", "message"),
    [
        ("resnet50", 48, {"stem_stride": 3}, "stem_stride is 3; it should be 1, 2 or 4"),
        ("mobilenet_v2", 48, {"stem_stride": 0}, "stem_stride is 0; it should be greater than or equal to 1"),
        ("efficientnet", 48, {"variant": "b9"}, "variant is 'b9'; it should be 'b0' or 'b4'"),
        ("vit_b_16", 12, {}, "data.height and data.width are 12 and 12; vit_b_16 needs at least 16"),
    ],
)
def test_names_an_argument_that_it_cannot_bear(name: str, size: int, args: dict[str, Any], message: str) -> None:
    with pytest.raises(EdgemotionError, match=message):
        network(name, 1, size, **args)


def test_names_a_missing_file() -> None:
    with pytest.raises(EdgemotionError, match=r"model\.args\.weights: nowhere\.pt is missing"):
        mobilenet(1, weights="nowhere.pt")


class Trap:
    """What unpickles to a call of os.mkdir."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_file_that_is_no_state_dict_is_refused_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("not weights")
    torch.save({"features": Trap(tmp_path / "trapped")}, tmp_path / "trap.pt")
    # A whole checkpoint of some training loop.
    torch.save({"epoch": 3, "state_dict": nn.Linear(2, 2).state_dict()}, tmp_path / "checkpoint.pt")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    (tmp_path / "empty.pt").touch()
    torch.save({"features": torch.zeros(9)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    old = (tmp_path / "old.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(old[: len(old) // 8])
    for name in ("text.pt", "trap.pt", "checkpoint.pt", "tensor.pt", "empty.pt", "cut.pt"):
        with pytest.raises(EdgemotionError, match=f"{name} is no state dict") as caught:
            mobilenet(1, weights=str(tmp_path / name))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("weights", ["mobilenet_v2"], indirect=True)
def test_names_the_tensor_that_does_not_fit(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    cases = {
        r"features\.0\.0\.weight": nn.Linear(2, 2).state_dict(),
        r"features\.18\.0\.weight": {**state, "features.18.0.weight": torch.zeros(10, 320, 1, 1)},
        r"extra": {**state, "extra": torch.zeros(1)},
    }
    for name, wrong in cases.items():
        torch.save(wrong, tmp_path / "wrong.pt")
        with pytest.raises(EdgemotionError, match=f"does not fit mobilenet_v2: .*{name}") as caught:
            mobilenet(1, weights=str(tmp_path / "wrong.pt"))
        assert "\n" not in str(caught.value)
    with pytest.raises(EdgemotionError, match="does not fit resnet50: "):
        network("resnet50", 1, weights=str(weights))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_failed_download_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for key in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(key, "http://127.0.0.1:9")
    with pytest.raises(EdgemotionError, match="'imagenet' cannot be downloaded or read") as caught:
        network(name, 1, weights="imagenet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", ["mobilenet_v2"], indirect=True)
def test_a_download_of_other_bytes_is_refused(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", lambda request: urlopen(weights.as_uri()))
    with pytest.raises(EdgemotionError, match="invalid hash value"):
        mobilenet(1, weights="imagenet")


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_no_code_of_a_kept_download_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub/checkpoints"
    kept.mkdir(parents=True)
    for weights in models.get_model_weights("mobilenet_v2"):
        torch.save({"x": Code(tmp_path / "ran")}, kept / Path(weights.url).name)
    with pytest.raises(EdgemotionError, match="'imagenet' cannot be downloaded or read") as caught:
        mobilenet(1, weights="imagenet")
    assert "\n" not in str(caught.value) and not (tmp_path / "ran").exists()
