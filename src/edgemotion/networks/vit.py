"""A small vision transformer made for faces of 48 to 96 pixels, trained from scratch.

Pre-norm blocks and learned positions after Dosovitskiy et al. 2021 (arXiv 2010.11929); the mean over the tokens in
place of a class token after Beyer et al. 2022 (arXiv 2205.01580).
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.registry import Positive, Share, register


class Attention(nn.Module):
    """Multi-head self-attention, written out: deterministic on every device, and plain MatMuls in ONNX."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = (query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then two dense layers, each on normalised tokens and added to its input."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        inner = round(dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.dropout(self.attention(self.norm1(tokens)))
        return tokens + self.dropout(self.mlp(self.norm2(tokens)))


class ViT(nn.Module):
    """Patches plus positions, blocks, the mean over all tokens, one linear layer."""

    def __init__(
        self, classes: int, channels: int, height: int, width: int, patch: int, dim: int, depth: int, heads: int,
        mlp_ratio: float, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        # Mean pixels all round where the size is no multiple of the patch, so that no edge is lost.
        rows, columns = (-(-size // patch) for size in (height, width))
        padding = ((rows * patch - height + 1) // 2, (columns * patch - width + 1) // 2)
        self.patches = nn.Conv2d(channels, dim, patch, patch, padding)
        self.positions = nn.Parameter(torch.empty(1, rows * columns, dim))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(dim, heads, mlp_ratio, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)
        # Not the usual 0.02: positions that faint next to the patches leave a short training at chance, because
        # an expression lies in where a feature is.
        nn.init.normal_(self.positions)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    @property
    def cam_layer(self) -> nn.Module:
        """The first normalised tokens, before attention mixes the places."""
        return self.blocks.get_submodule("0.norm1")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(self.dropout(tokens))).mean(1))


@register("network")
def vit(
    *,
    classes: int,
    channels: int,
    height: int,
    width: int,
    patch: Positive,
    dim: Positive,
    depth: Positive,
    heads: Positive,
    mlp_ratio: Annotated[float, Field(gt=0)],
    dropout: Share,
) -> nn.Module:
    """Build the transformer for any input size; the positions belong to the size it is built for.

    2.7 M parameters with patches of 6, dim 192, depth 6 and an MLP ratio of 4.
    """
    if dim % heads:
        raise EdgemotionError(f"model.args.dim is {dim}, which {heads} heads do not divide; change dim or heads")
    return ViT(classes, channels, height, width, patch, dim, depth, heads, mlp_ratio, dropout)
