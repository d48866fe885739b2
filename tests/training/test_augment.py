"""Each random change alone, on images where its effect can be read off the pixels."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgemotion.training.augment import augment, mix

fixtures = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
SIZE = 24


def change(images: torch.Tensor, seed: int = 0, **magnitudes: Any) -> torch.Tensor:
    """Augment with all other magnitudes at zero."""
    return augment(images, torch.Generator().manual_seed(seed), **{**fixtures.NO_AUGMENT, **magnitudes})


def noise(count: int, channels: int = 1) -> torch.Tensor:
    return torch.rand(count, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 255


def ramps(count: int) -> torch.Tensor:
    """Two channels that hold each pixel's column and row number."""
    numbers = torch.arange(SIZE).float()
    return torch.stack([numbers.expand(SIZE, SIZE), numbers.view(-1, 1).expand(SIZE, SIZE)]).expand(count, -1, -1, -1)


def slopes(images: torch.Tensor) -> torch.Tensor:
    """The Jacobian [N,channel,axis] of changed ramps around the image's centre, axes (x, y)."""
    low, high = SIZE // 2 - 3, SIZE // 2 + 3
    across = (images[:, :, low, high] - images[:, :, low, low]) / 6
    down = (images[:, :, high, low] - images[:, :, low, low]) / 6
    return torch.stack([across, down], 2)


def test_zero_magnitudes_change_nothing() -> None:
    images = noise(8, channels=3)
    torch.testing.assert_close(change(images, erase_size=0.5), images, rtol=0, atol=1e-2)


def test_flip_mirrors_about_half_of_the_images() -> None:
    images = noise(100)
    changed = change(images, flip=True)
    mirrored = (changed - images.flip(3)).abs().amax((1, 2, 3)) < 1e-2
    kept = (changed - images).abs().amax((1, 2, 3)) < 1e-2
    assert (mirrored ^ kept).all()
    assert 30 <= mirrored.sum() <= 70


def test_shift_moves_each_image_by_its_own_distance() -> None:
    offsets = change(ramps(200), shift=0.25) - ramps(1)
    # Bilinear interpolation is exact on ramps; the rim of 6 pixels holds repeated border values.
    inner = offsets[:, :, 6:-6, 6:-6]
    torch.testing.assert_close(inner, inner[:, :, :1, :1].expand_as(inner), rtol=0, atol=1e-3)
    for distances in inner[:, :, 0, 0].T:
        assert distances.abs().max() <= 0.25 * SIZE and distances.abs().max() > 5
        assert abs(distances.mean()) < 1


def test_rotation_turns_by_up_to_the_given_degrees() -> None:
    found = slopes(change(ramps(200), rotate_degrees=20.0))
    angles = torch.rad2deg(torch.atan2(found[:, 1, 0], found[:, 0, 0]))
    assert 18 < angles.abs().max() <= 20.01 and abs(angles.mean()) < 3
    # A rotation keeps lengths and angles: the Jacobian times its transpose is the identity.
    torch.testing.assert_close(found @ found.mT, torch.eye(2).expand(200, 2, 2), rtol=0, atol=1e-3)


def test_rotation_of_a_wide_image_keeps_lengths_and_angles_too() -> None:
    wide = torch.stack([torch.arange(48.0).expand(24, 48), torch.arange(24.0).view(-1, 1).expand(24, 48)])
    changed = change(wide.expand(50, -1, -1, -1), rotate_degrees=10.0)
    across, down = changed[:, :, 9:15, 26] - changed[:, :, 9:15, 21], changed[:, :, 14, 21:27] - changed[:, :, 9, 21:27]
    jacobian = torch.stack([across.mean(2) / 5, down.mean(2) / 5], 2)
    assert jacobian[:, 1, 0].abs().max() > 0.15
    torch.testing.assert_close(jacobian @ jacobian.mT, torch.eye(2).expand(50, 2, 2), rtol=0, atol=1e-3)


def test_scale_zooms_both_axes_alike() -> None:
    found = slopes(change(ramps(200), scale=0.2))
    zoom = found[:, 0, 0]
    torch.testing.assert_close(found, zoom.view(-1, 1, 1) * torch.eye(2), rtol=0, atol=1e-3)
    assert 0.8 <= zoom.min() < 0.82 and 1.18 < zoom.max() <= 1.2


def test_brightness_adds_one_value_to_an_image() -> None:
    images = torch.full((200, 1, 8, 8), 128.0)
    added = change(images, brightness=0.2) - 128
    assert torch.equal(added, added[:, :, :1, :1].expand_as(added))
    assert 48 < added.max() <= 51 and -51 <= added.min() < -48


def test_contrast_stretches_around_the_mean() -> None:
    images = torch.cat([torch.full((200, 1, 8, 4), 100.0), torch.full((200, 1, 8, 4), 150.0)], 3)
    changed = change(images, contrast=0.4)
    torch.testing.assert_close(changed.mean((1, 2, 3)), torch.full((200,), 125.0))
    factors = (changed[:, 0, 0, -1] - changed[:, 0, 0, 0]) / 50
    assert 0.6 <= factors.min() < 0.63 and 1.37 < factors.max() <= 1.4


def test_noise_has_an_own_deviation_for_each_image() -> None:
    added = change(torch.full((200, 3, SIZE, SIZE), 128.0), noise=0.1) - 128
    deviations = added.std((1, 2, 3)) / 255
    assert 0.09 < deviations.max() <= 0.105 and deviations.min() < 0.01
    # Uniform between none and the limit, and without a shift of the mean.
    assert deviations.mean() == pytest.approx(0.05, abs=0.005) and abs(added.mean()) < 0.5


def test_erases_one_rectangle_with_the_mean() -> None:
    images = noise(100)
    changed = change(images, erase_probability=1.0, erase_size=0.5)
    erased = (changed - images).abs()[:, 0] > 1e-2
    limit = math.ceil(0.5 * SIZE)
    for number in range(100):
        rows, columns = erased[number].any(1), erased[number].any(0)
        assert rows.sum() <= limit and columns.sum() <= limit
        box = changed[number, 0][rows][:, columns]
        torch.testing.assert_close(box, torch.full_like(box, float(images[number].mean())), rtol=0, atol=1e-2)
        for line in (rows, columns):
            places = line.nonzero().flatten().tolist()
            assert places == list(range(places[0], places[-1] + 1)) if places else True
    # Sides are uniform up to half of the image and lie within it, so on average a sixteenth of it goes.
    many = noise(1000)
    erased = (change(many, erase_probability=1.0, erase_size=0.5) - many).abs() > 1e-2
    assert erased.float().mean() == pytest.approx(1 / 16, abs=0.01)


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.5, 70, 120), (1.0, 170, 200)])
def test_erases_with_the_given_probability(probability: float, low: int, high: int) -> None:
    images = noise(200)
    changed = change(images, erase_probability=probability, erase_size=0.5)
    assert low <= ((changed - images).abs().amax((1, 2, 3)) > 1e-2).sum() <= high


def test_a_generator_decides_everything() -> None:
    magnitudes: dict[str, Any] = {"flip": True, "rotate_degrees": 10.0, "shift": 0.1, "contrast": 0.2}
    magnitudes |= {"scale": 0.1, "brightness": 0.1, "noise": 0.1, "erase_probability": 0.5, "erase_size": 0.4}
    images = noise(16, channels=3)
    torch.manual_seed(1)
    first = change(images, seed=4, **magnitudes)
    torch.manual_seed(2)
    assert torch.equal(first, change(images, seed=4, **magnitudes))
    assert not torch.equal(first, change(images, seed=5, **magnitudes))


share = st.floats(0, 1)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31), st.booleans(), st.floats(0, 180), st.floats(0, 0.9), share, share, share, share, share, share
)
def test_pixels_stay_pixels(
    seed: int,
    flip: bool,
    rotate_degrees: float,
    scale: float,
    shift: float,
    brightness: float,
    contrast: float,
    noise_limit: float,
    erase_probability: float,
    erase_size: float,
) -> None:
    changed = change(
        noise(4, channels=3),
        seed,
        flip=flip,
        rotate_degrees=rotate_degrees,
        scale=scale,
        shift=shift,
        brightness=brightness,
        contrast=contrast,
        noise=noise_limit,
        erase_probability=erase_probability,
        erase_size=erase_size,
    )
    assert changed.shape == (4, 3, SIZE, SIZE)
    # NaN fails both comparisons.
    assert changed.min() >= 0 and changed.max() <= 255


def test_mixes_each_image_with_its_partner_by_one_share() -> None:
    images = noise(32)
    mixed, partner, share = mix(images, torch.Generator().manual_seed(3), mixup=0.4)
    torch.testing.assert_close(mixed, share * images + (1 - share) * images[partner])
    assert 0.5 <= share < 1 and sorted(partner.tolist()) == list(range(32))


def test_shares_follow_the_beta_distribution() -> None:
    generator, images = torch.Generator().manual_seed(0), noise(2)
    shares = [mix(images, generator, mixup=0.4)[2] for _ in range(2000)]
    # Folded at a half; its mean by numerical integration of the density of Beta(0.4, 0.4).
    expected = 2 * stats.beta(0.4, 0.4).expect(lambda x: x, lb=0.5, ub=1)
    assert sum(shares) / len(shares) == pytest.approx(expected, abs=0.01)


def test_a_mixup_of_zero_draws_nothing() -> None:
    images, generator = noise(4), torch.Generator().manual_seed(0)
    mixed, partner, share = mix(images, generator, mixup=0.0)
    assert mixed is images and share == 1 and partner.tolist() == [0, 1, 2, 3]
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())


def test_a_mirrored_image_is_turned_and_not_sheared() -> None:
    found = slopes(change(ramps(200), flip=True, rotate_degrees=20.0))
    assert 50 < (found[:, 0, 0] < 0).sum() < 150
    torch.testing.assert_close(found @ found.mT, torch.eye(2).expand(200, 2, 2), rtol=0, atol=1e-3)
