"""Images in, the same images under one disturbance out; each is an entry of the registry.

Every corruption takes uint8 [N,H,W,C] and a seeded Generator, leaves its input as it is, and returns the same
shape and dtype. Magnitudes are shares of the full intensity range or of the image area.
"""

from typing import Annotated

import cv2
import numpy as np
from pydantic import AfterValidator, Field

from edgemotion.registry import Positive, Share, register

GRAY = 128


def odd(number: int) -> int:
    """The same number; ValueError where it is even."""
    if number % 2 == 0:
        raise ValueError("it should be odd")
    return number


@register("corruption")
def clean(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """No disturbance: the reference of every scenario."""
    return images.copy()


@register("corruption")
def gaussian_noise(images: np.ndarray, rng: np.random.Generator, *, std: Annotated[float, Field(ge=0)]) -> np.ndarray:
    """Add independent normal noise of `std` times 255 to every value."""
    noise = rng.standard_normal(images.shape, dtype=np.float32) * np.float32(255 * std)
    return to_uint8(images + noise)


@register("corruption")
def gaussian_blur(
    images: np.ndarray, rng: np.random.Generator, *, kernel: Annotated[Positive, AfterValidator(odd)]
) -> np.ndarray:
    """Blur with a Gaussian of `kernel` pixels and OpenCV's usual sigma, 0.3 ((kernel - 1) / 2 - 1) + 0.8."""
    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    blurred = [cv2.GaussianBlur(image, (kernel, kernel), sigma) for image in images]
    return np.array(blurred, np.uint8).reshape(images.shape)


@register("corruption")
def occlusion(images: np.ndarray, rng: np.random.Generator, *, area: Share) -> np.ndarray:
    """Cover the share `area` of each image by one gray patch of the image's proportions at a random place."""
    count, height, width = images.shape[:3]
    tall, wide = round(height * area**0.5), round(width * area**0.5)
    tops = rng.integers(height - tall + 1, size=count)
    lefts = rng.integers(width - wide + 1, size=count)
    covered = images.copy()
    for image, top, left in zip(covered, tops, lefts, strict=True):
        image[top : top + tall, left : left + wide] = GRAY
    return covered


@register("corruption")
def brightness(images: np.ndarray, rng: np.random.Generator, *, factor: Annotated[float, Field(ge=0)]) -> np.ndarray:
    """Multiply every value by `factor` and clip."""
    return to_uint8(images * np.float32(factor))


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Round float values to the nearest intensity within 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
