"""MobileNetV2 from a state-dict file: what is taken over, and what is refused in one line."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import build

ARGS: dict[str, Any] = {"weights": None, "stem_stride": 2, "dropout": 0.2}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict as torchvision publishes it: three channels, a thousand classes."""
    from torchvision.models import mobilenet_v2

    path = tmp_path_factory.mktemp("weights") / "mobilenet.pt"
    torch.manual_seed(5)
    torch.save(mobilenet_v2().state_dict(), path)
    return path


def mobilenet(channels: int, **args: Any) -> nn.Module:
    return build("mobilenet_v2", {**ARGS, **args}, classes=7, channels=channels, height=48, width=48).eval()


def test_takes_all_but_the_classifier_from_the_file(weights: Path) -> None:
    wanted = torch.load(weights, weights_only=True)
    found = mobilenet(3, weights=str(weights)).state_dict()
    assert wanted.keys() == found.keys()
    for name, tensor in found.items():
        assert name.startswith("classifier.") or torch.equal(tensor, wanted[name]), name
    assert found["classifier.1.weight"].shape == (7, 1280)


def test_a_gray_image_gives_the_activations_of_three_equal_channels(weights: Path) -> None:
    image = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    gray, colour = (mobilenet(channels, weights=str(weights)).features[0][0] for channels in (1, 3))
    expected = colour(image.repeat(1, 3, 1, 1))
    assert expected.std() > 0.01
    torch.testing.assert_close(gray(image), expected, rtol=1e-5, atol=1e-5)


def test_a_stem_stride_of_one_keeps_the_resolution() -> None:
    image = torch.zeros(1, 1, 48, 48)
    shapes = [mobilenet(1, stem_stride=stride).features(image).shape[2:] for stride in (1, 2)]
    assert shapes == [(3, 3), (2, 2)]


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
    for name in ("text.pt", "trap.pt"):
        with pytest.raises(EdgemotionError, match=f"{name} is no state dict") as caught:
            mobilenet(1, weights=str(tmp_path / name))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "trapped").exists()


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


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for key in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(key, "http://127.0.0.1:9")
    with pytest.raises(EdgemotionError, match="'imagenet' cannot be downloaded") as caught:
        mobilenet(1, weights="imagenet")
    assert "\n" not in str(caught.value)
