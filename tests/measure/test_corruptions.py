"""The contract that every corruption keeps, and the sizes of each."""

from typing import Any

import cv2
import numpy as np
import pytest

from edgemotion import registry
from edgemotion.errors import EdgemotionError

# A new corruption needs its arguments here, as it needs a scenario in configs/robustness/.
ARGS: dict[str, dict[str, Any]] = {
    "brightness": {"factor": 1.4},
    "clean": {},
    "gaussian_blur": {"kernel": 5},
    "gaussian_noise": {"std": 0.1},
    "occlusion": {"area": 0.25},
}
SHAPES = [(3, 48, 48, 1), (2, 30, 20, 3), (0, 16, 16, 1)]


def picture(shape: tuple[int, ...] = (3, 48, 48, 1)) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)


def corrupt(name: str, images: np.ndarray, seed: int = 0, **args: Any) -> np.ndarray:
    return registry.call("corruption", name, images, np.random.default_rng(seed), args=args or ARGS[name])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", registry.names("corruption"))
def test_every_corruption_keeps_the_contract(name: str, shape: tuple[int, ...]) -> None:
    images = picture(shape)
    before = images.copy()
    corrupted = corrupt(name, images)
    assert (corrupted.shape, corrupted.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(images, before, err_msg="the input was changed")
    assert not np.shares_memory(corrupted, images)
    np.testing.assert_array_equal(corrupted, corrupt(name, images))


@pytest.mark.parametrize("name", [name for name in registry.names("corruption") if name != "clean"])
def test_every_corruption_but_clean_changes_the_pixels(name: str) -> None:
    assert (corrupt(name, picture()) != picture()).mean() > 0.05


@pytest.mark.parametrize("name", ["gaussian_noise", "occlusion"])
def test_random_ones_follow_the_seed_and_differ_between_images(name: str) -> None:
    images = np.full((4, 48, 48, 1), 90, np.uint8)
    assert (corrupt(name, images, seed=0) != corrupt(name, images, seed=1)).any()
    corrupted = corrupt(name, images)
    assert (corrupted[0] != corrupted[1]).any()


def test_clean_is_the_image_itself() -> None:
    np.testing.assert_array_equal(corrupt("clean", picture()), picture())


def test_noise_has_its_standard_deviation() -> None:
    gray = np.full((20, 48, 48, 1), 128, np.uint8)
    noise = corrupt("gaussian_noise", gray, std=0.1).astype(float) - 128
    assert noise.std() == pytest.approx(25.5, rel=0.02)
    assert abs(noise.mean()) < 0.5


@pytest.mark.parametrize("height", [48, 24])
def test_occlusion_covers_its_share_with_one_gray_patch(height: int) -> None:
    black = np.zeros((30, height, 48, 1), np.uint8)
    for image in corrupt("occlusion", black, area=0.25):
        rows, columns = np.nonzero(image[:, :, 0])
        assert (image[image > 0] == 128).all()
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (height // 2, 24)
        assert len(rows) == height // 2 * 24
    np.testing.assert_array_equal(corrupt("occlusion", black, area=1.0), np.full_like(black, 128))


def test_blur_equals_the_separable_kernel() -> None:
    images = picture((1, 32, 32, 1))
    weights = cv2.getGaussianKernel(5, 0.3 * ((5 - 1) * 0.5 - 1) + 0.8).ravel()
    padded = np.pad(images[0, :, :, 0].astype(float), 2, mode="reflect")
    rows = sum(weight * padded[:, shift : shift + 32] for shift, weight in enumerate(weights))
    both = sum(weight * rows[shift : shift + 32] for shift, weight in enumerate(weights))
    assert np.abs(corrupt("gaussian_blur", images, kernel=5)[0, :, :, 0] - both).max() <= 1.5


def test_brightness_multiplies_rounds_and_clips() -> None:
    images = np.array([0, 2, 10, 100, 200, 255], np.uint8).reshape(1, 1, 6, 1)
    assert corrupt("brightness", images, factor=1.4).ravel().tolist() == [0, 3, 14, 140, 255, 255]


@pytest.mark.parametrize(
    ("name", "args", "named"),
    [
        ("gaussian_blur", {"kernel": 4}, "kernel is 4; it should be odd"),
        ("occlusion", {"area": 1.5}, r"area is 1\.5; it should be less than or equal to 1"),
        ("gaussian_noise", {"std": -0.1}, r"std is -0\.1; it should be greater than or equal to 0"),
        ("brightness", {"factor": -1.0}, r"factor is -1\.0; it should be greater than or equal to 0"),
        ("occlusion", {"share": 0.1}, "share"),
        ("fog", {}, "fog"),
    ],
)
def test_a_wrong_argument_is_named(name: str, args: dict[str, Any], named: str) -> None:
    with pytest.raises(EdgemotionError, match=named):
        registry.call("corruption", name, picture(), np.random.default_rng(0), args=args)
