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

    def uniform(limit: float) -> torch.Tensor:
        return ((torch.rand(count, generator=generator) * 2 - 1) * limit).to(images.device)

    angle, size = uniform(math.radians(rotate_degrees)), 1 + uniform(scale)
    across, down = uniform(2 * shift), uniform(2 * shift)
    mirror = torch.where(uniform(1.0) < 0, -1.0, 1.0) if flip else torch.ones(count, device=images.device)
    cosine, sine = torch.cos(angle) * size, torch.sin(angle) * size
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
    images = (images - mean) * (1 + uniform(contrast)).view(-1, 1, 1, 1) + mean
    images = (images + 255 * uniform(brightness).view(-1, 1, 1, 1)).clamp(0, 255)
    if noise:
        deviation = 255 * uniform(noise).abs().view(-1, 1, 1, 1)
        drawn = torch.randn(images.shape, generator=generator).to(images.device)
        images = (images + deviation * drawn).clamp(0, 255)
    return erase(images, generator, erase_probability, erase_size)


def erase(images: torch.Tensor, generator: torch.Generator, probability: float, size: float) -> torch.Tensor:
    """Fill one random rectangle an image with the image's mean, its sides up to `size` of the image's.

    Random erasing, Zhong et al. 2020, arXiv 1708.04896.
    """
    count, _, height, width = images.shape

    def inside(length: int) -> torch.Tensor:
        extent = torch.rand(count, generator=generator) * size * length
        start = torch.rand(count, generator=generator) * (length - extent)
        place = torch.arange(length).view(1, -1)
        return (place >= start.view(-1, 1)) & (place < (start + extent).view(-1, 1))

    rows, columns = inside(height), inside(width)
    chosen = torch.rand(count, generator=generator) < probability
    mask = (rows.view(count, 1, height, 1) & columns.view(count, 1, 1, width) & chosen.view(-1, 1, 1, 1)).to(
        images.device
    )
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
