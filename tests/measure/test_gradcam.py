"""Grad-CAM on networks whose attention is known by construction."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.measure.gradcam import draw, grad_cam, pick
from edgemotion.networks import network


class Quadrant(nn.Module):
    """Logit 0 is the mean of the upper left quadrant's feature map, logit 1 that of the lower right."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 2, 1, bias=False)
        nn.init.ones_(self.features.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.features(images)
        half = images.shape[2] // 2
        return torch.stack([maps[:, 0, :half, :half].mean((1, 2)), maps[:, 1, half:, half:].mean((1, 2))], 1)


def test_the_map_is_the_paper_s_formula() -> None:
    images = torch.zeros(1, 1, 4, 4)
    images[0, 0, 0, 0] = 3.0
    images[0, 0, 3, 3] = 1.0
    heat = grad_cam(Quadrant(), images, torch.tensor([0]))
    # The channel weight is the mean gradient, 4 pixels of 1/4 over 16, so the map is the features over their maximum.
    expected = np.zeros((4, 4), np.float32)
    expected[0, 0], expected[3, 3] = 1.0, 1 / 3
    np.testing.assert_allclose(heat[0], expected, atol=1e-6)


def test_every_image_s_map_reaches_one() -> None:
    images = torch.zeros(2, 1, 4, 4)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = 10.0, 1.0
    assert grad_cam(Quadrant(), images, torch.tensor([0, 0])).max((1, 2)).tolist() == [1, 1]


def test_a_network_in_training_is_asked_as_it_answers() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    images, labels = torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 1])
    first, second = (grad_cam(module.train(mode), images, labels) for mode in (True, False))
    np.testing.assert_array_equal(first, second)


def test_negative_evidence_is_cut_off() -> None:
    images = -torch.ones(1, 1, 4, 4)
    assert grad_cam(Quadrant(), images, torch.tensor([1])).max() == 0


class Square(nn.Module):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens**2


class Gather(nn.Module):
    """The first token becomes the mean of the others, as attention does it."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat([tokens[:, 1:].mean(1, keepdim=True), tokens[:, 1:]], 1)


class Tokens(nn.Module):
    """A class token and one token a patch of 4x4, its mean; logit 0 is the mean of the squared tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 2, 4, 4, bias=False)
        nn.init.constant_(self.patches.weight, 1 / 16)
        self.square, self.gather, self.norm = Square(), Gather(), nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([9 * torch.ones(len(images), 1, 2), tokens], 1)
        return self.norm(self.gather(self.square(tokens)))[:, 0]


@pytest.mark.parametrize(("height", "width"), [(12, 12), (8, 20)])
def test_the_map_of_a_class_token_s_network_is_that_of_the_last_tokens_it_looked_at(height: int, width: int) -> None:
    images = torch.zeros(1, 1, height, width)
    # The patches of the second row begin with 1, 2.
    images[0, 0, 4:8, :4], images[0, 0, 4:8, 4:8] = 1.0, 2.0
    heat = grad_cam(Tokens(), images, torch.tensor([0]))
    # Every patch has the same gradient, so the map is the squared tokens over their maximum of 4; of the patch
    # embedding it would be the tokens over 2. The class token's 81 is nowhere.
    places = torch.zeros(1, 1, height // 4, width // 4)
    places[0, 0, 1, :2] = torch.tensor([0.25, 1.0])
    expected = nn.functional.interpolate(places, (height, width), mode="bilinear")[0, 0]
    np.testing.assert_allclose(heat[0], expected / expected.max(), atol=1e-6)


class Place(nn.Module):
    """Logit 0 looks at the token of the fourth place only."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.tokens = nn.Conv2d(1, 2, 4, 4, bias=False), nn.Identity()
        nn.init.ones_(self.patches.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.tokens(self.patches(images).flatten(2).transpose(1, 2))[:, 3]


def test_a_token_is_weighted_by_its_own_gradient() -> None:
    heat = grad_cam(Place(), torch.ones(1, 1, 12, 12), torch.tensor([0]))
    # The places are three by three, all alike; the fourth is the left one of the second row.
    assert heat[0, 5, 1] == pytest.approx(heat.max()) and heat[0, :2].max() == heat[0, :, 6:].max() == 0


def striped(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Noise with a square of 12 somewhere, its stripes the class: images, labels and the square's pixels as a mask."""
    rng = np.random.default_rng(seed)
    images, labels = rng.normal(0, 0.5, (count, 1, 24, 24)).astype(np.float32), rng.integers(0, 2, count)
    squares = np.zeros((count, 24, 24), bool)
    stripes = np.tile([2.0, 2.0, -2.0, -2.0], 3)
    for image, label, square, (top, left) in zip(
        images[:, 0], labels, squares, 6 * rng.integers(0, 3, (count, 2)), strict=True
    ):
        where = np.s_[top : top + 12, left : left + 12]
        image[where] += stripes[None] if label else stripes[:, None]
        square[where] = True
    return torch.from_numpy(images), torch.from_numpy(labels), squares


@pytest.mark.slow
def test_a_trained_transformer_s_map_peaks_where_the_evidence_is() -> None:
    torch.manual_seed(0)
    args = {"patch": 6, "dim": 32, "depth": 2, "heads": 2, "mlp_ratio": 2.0, "dropout": 0.0}
    module = network.build("vit", args, classes=2, channels=1, height=24, width=24)
    optimizer = torch.optim.AdamW(module.parameters(), 0.002)
    for step in range(200):
        images, labels, _ = striped(32, step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()
    images, labels, squares = striped(100, 1000)
    assert (module.eval()(images).argmax(1) == labels).float().mean() > 0.9
    heat = grad_cam(module, images, labels)
    # By chance it would be the square's share of the image, a quarter.
    assert np.mean([square.flat[warm.argmax()] for square, warm in zip(squares, heat, strict=True)]) > 0.7


def test_the_network_s_own_choice_of_layer_wins() -> None:
    images = torch.zeros(1, 1, 12, 12)
    images[0, 0, 4:8, :4], images[0, 0, 4:8, 4:8] = 1.0, 2.0
    module = Tokens()
    module.cam_layer = module.patches
    heat = grad_cam(module, images, torch.tensor([0]))
    # Column 1 shows the first patch alone, column 5 an eighth of the first and the rest of the second.
    assert heat[0, 5, 1] / heat[0, 5, 5] == pytest.approx(1 / (1 / 8 + 2 * 7 / 8))
    module.cam_layer = nn.Linear(2, 2)
    with pytest.raises(EdgemotionError, match="no spatial output in Linear; set the network's cam_layer"):
        grad_cam(module, images, torch.tensor([0]))


def test_a_network_without_places_is_named() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(EdgemotionError, match="no spatial output in Sequential"):
        grad_cam(module, torch.zeros(1, 1, 4, 4), torch.tensor([0]))


def test_a_logit_that_depends_on_nothing_gives_an_empty_map() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(32, 2))
    nn.init.zeros_(module[2].get_parameter("weight"))
    assert not grad_cam(module, torch.ones(2, 1, 4, 4), torch.tensor([0, 1])).any()


ARGS: dict[str, dict[str, Any]] = {
    "compact": {"widths": [8, 16], "depths": [1, 1], "stem_stride": 1, "dropout": 0.0},
    "lenet": {"dropout": 0.0},
    "vit": {"patch": 8, "dim": 16, "depth": 2, "heads": 2, "mlp_ratio": 2.0, "dropout": 0.0},
}


@pytest.mark.parametrize("name", ARGS)
def test_maps_of_real_networks_cover_the_image_and_leave_no_hook(name: str) -> None:
    torch.manual_seed(0)
    module = network.build(name, ARGS[name], classes=7, channels=1, height=48, width=48)
    heat = grad_cam(module, torch.randn(3, 1, 48, 48), torch.tensor([0, 3, 6]))
    assert heat.shape == (3, 48, 48)
    assert heat.min() >= 0 and heat.max() <= 1
    assert not any(layer._forward_hooks for layer in module.modules())


def test_pick_takes_the_first_of_each_class_in_order() -> None:
    assert pick(np.array([1, 0, 1, 0, 2, 1]), classes=3, count=2).tolist() == [1, 3, 0, 2, 4]


def test_a_wrong_prediction_is_named_in_red() -> None:
    faces = np.zeros((2, 8, 8, 1), np.uint8)
    figure = draw(faces, np.zeros((2, 8, 8)), ["happy", "sad"], ["happy", "fear"], columns=2)
    titles = [(axes.get_title(), axes.title.get_color()) for axes in figure.axes]  # type: ignore[attr-defined]
    assert titles == [("happy", "black"), ("sad: fear", "crimson")]
