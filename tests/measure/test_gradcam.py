"""Grad-CAM on networks whose attention is known by construction."""

import numpy as np
import pytest
import torch
from torch import nn

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


def test_negative_evidence_is_cut_off() -> None:
    images = -torch.ones(1, 1, 4, 4)
    assert grad_cam(Quadrant(), images, torch.tensor([1])).max() == 0


@pytest.mark.parametrize("name", ["compact", "lenet"])
def test_maps_of_real_networks_cover_the_image_and_leave_no_hook(name: str) -> None:
    args = {"compact": {"widths": [8, 16], "depths": [1, 1], "dropout": 0.0}, "lenet": {"dropout": 0.0}}[name]
    torch.manual_seed(0)
    module = network.build(name, args, classes=7, channels=1, height=48, width=48)
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
