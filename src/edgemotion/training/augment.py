"""A batch of images in, the same batch randomly changed out; no per-image Python."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def augment(
    images: torch.Tensor,
    generator: torch.Generator,
    *,
    flip: bool,
    rotate_degrees: float,
    scale: float,
    shift: float,
    brightness: float,
    contrast: float,
    noise: float,
    erase_probability: float,
    erase_size: float,
) -> torch.Tensor:
    """Flip, rotate, scale, shift, change brightness and contrast, add noise, and erase one rectangle.

    `images` float [N,C,H,W] of 0 to 255; the limits are shares of the image (scale, shift, erase_size) or of the value
    range (brightness, contrast, noise). Random numbers come from a CPU generator, so every device draws the same.
    """
    count = len(images)

    def uniform(*limits: float) -> tuple[torch.Tensor, ...]:
        # Drawn at once, because a copy to a GPU waits for all that was asked of it before.
        drawn = (torch.rand(len(limits), count, generator=generator) * 2 - 1) * torch.tensor(limits).view(-1, 1)
        return drawn.to(images.device).unbind()

    sides = [1.0] if flip else []
    angle, zoom, across, down, *side, stretch, lift = uniform(
        math.radians(rotate_degrees), scale, 2 * shift, 2 * shift, *sides, contrast, brightness
    )
    mirror = torch.where(side[0] < 0, -1.0, 1.0) if flip else torch.ones_like(angle)
    cosine, sine = torch.cos(angle) * (1 + zoom), torch.sin(angle) * (1 + zoom)
    # affine_grid measures both axes in halves of the image's side, so between them a rotation takes the sides' ratio.
    ratio = images.shape[2] / images.shape[3]
    transform = torch.stack(
        [
            torch.stack([cosine * mirror, -sine * ratio, across], 1),
            torch.stack([sine * mirror / ratio, cosine, down], 1),
        ],
        1,
    )
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (1 + stretch).view(-1, 1, 1, 1) + mean
    images = (images + 255 * lift.view(-1, 1, 1, 1)).clamp(0, 255)
    if noise:
        deviation = 255 * uniform(noise)[0].abs().view(-1, 1, 1, 1)
        drawn = torch.randn(images.shape, generator=generator).to(images.device)
        images = (images + deviation * drawn).clamp(0, 255)
    return erase(images, generator, erase_probability, erase_size)


def erase(images: torch.Tensor, generator: torch.Generator, probability: float, size: float) -> torch.Tensor:
    """Fill one random rectangle an image with the image's mean, its sides up to `size` of the image's.

    Random erasing, Zhong et al. 2020, arXiv 1708.04896.
    """
    count, _, height, width = images.shape

    drawn = torch.rand(5, count, generator=generator).to(images.device)

    def inside(length: int, extent: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        extent = extent * size * length
        start = start * (length - extent)
        place = torch.arange(length, device=images.device).view(1, -1)
        return (place >= start.view(-1, 1)) & (place < (start + extent).view(-1, 1))

    rows, columns = inside(height, *drawn[:2]), inside(width, *drawn[2:4])
    chosen = drawn[4] < probability
    mask = rows.view(count, 1, height, 1) & columns.view(count, 1, 1, width) & chosen.view(-1, 1, 1, 1)
    return torch.where(mask, images.mean((1, 2, 3), keepdim=True), images)


def mix(images: torch.Tensor, generator: torch.Generator, mixup: float) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mix each image with another of the batch; return the mixed images, the partners' places [N] and the own share.

    The share is one for the batch, drawn from Beta(mixup, mixup) and at least a half; a mixup of 0 mixes nothing.
    Zhang et al. 2018, arXiv 1710.09412.
    """
    if not mixup:
        return images, torch.arange(len(images)), 1.0
    # The distributions of torch take no generator.
    seed = int(torch.randint(2**31, (1,), generator=generator))
    share = float(np.random.default_rng(seed).beta(mixup, mixup))
    share = max(share, 1 - share)
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    return share * images + (1 - share) * images[partner], partner, share
