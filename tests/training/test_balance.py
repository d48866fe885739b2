"""Weights and loss against scikit-learn and torch's own; the draw of an epoch by its counts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from edgemotion.training.balance import classification_loss, draw_epoch, image_weights

# Class 2 has no image: a folder of classes may stay empty in train.
LABELS = torch.tensor([0] * 60 + [1] * 30 + [3] * 10)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=50))
def test_image_weights_equal_scikit_learn(labels: list[int]) -> None:
    weights = image_weights(torch.tensor(labels))
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", labels), rtol=1e-12)
    assert float(weights.mean()) == pytest.approx(1)


def test_weighted_loss_equals_torchs_class_weights() -> None:
    logits = torch.randn(len(LABELS), 4, generator=seeded(0))
    present = np.unique(LABELS)
    classes = torch.zeros(4)
    classes[present] = torch.from_numpy(compute_class_weight("balanced", classes=present, y=LABELS.numpy())).float()
    # Torch divides by the sum of the batch's weights, which over the whole split is the number of images.
    expected = F.cross_entropy(logits, LABELS, classes)
    found = classification_loss(logits, LABELS, 0.0, image_weights(LABELS).float())
    torch.testing.assert_close(found, expected)


def test_loss_without_weights_is_the_plain_one() -> None:
    logits = torch.randn(len(LABELS), 4, generator=seeded(0))
    expected = F.cross_entropy(logits, LABELS, label_smoothing=0.1)
    assert torch.equal(classification_loss(logits, LABELS, 0.1, None), expected)
    torch.testing.assert_close(classification_loss(logits, LABELS, 0.1, torch.ones(len(LABELS))), expected)


@pytest.mark.parametrize("balance", ["none", "weights"])
def test_an_epoch_sees_each_image_once(balance: str) -> None:
    drawn = draw_epoch(LABELS, balance, seeded(1))
    assert sorted(drawn.tolist()) == list(range(len(LABELS)))
    assert torch.equal(drawn, draw_epoch(LABELS, balance, seeded(1)))


def test_sampling_draws_the_classes_alike() -> None:
    labels = LABELS.repeat(100)
    drawn = draw_epoch(labels, "sampling", seeded(1))
    assert len(drawn) == len(labels)
    shares = torch.bincount(labels[drawn], minlength=4) / len(drawn)
    # Five standard errors of a share of a third among 10,000 draws are 0.024.
    torch.testing.assert_close(shares, torch.tensor([1, 1, 0, 1]) / 3, atol=0.024, rtol=0)
    assert torch.equal(drawn, draw_epoch(labels, "sampling", seeded(1)))
    assert not torch.equal(drawn, draw_epoch(labels, "sampling", seeded(2)))
