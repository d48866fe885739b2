"""ViT-B/16 from torchvision, for other input sizes and overlapping patches (Dosovitskiy et al., arXiv 2010.11929)."""

import torch
from torch import nn

from edgemotion.errors import EdgemotionError
from edgemotion.networks.pretrained import fit_positions, load_weights, make_head, make_stem, read_weights
from edgemotion.registry import Positive, Share, register

PATCH = 16
POSITIONS = "encoder.pos_embedding"


class Attention(nn.Module):
    """Self-attention under the parameter names of nn.MultiheadAttention, written out.

    torch's own exports to ONNX with three times the nodes and without static shapes, from which no MACs can be counted.
    """

    def __init__(self, published: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = published.num_heads
        self.in_proj_weight, self.in_proj_bias = published.in_proj_weight, published.in_proj_bias
        self.out_proj = published.out_proj

    def forward(self, tokens: torch.Tensor, *_: torch.Tensor, need_weights: bool) -> tuple[torch.Tensor, None]:
        projected = nn.functional.linear(tokens, self.in_proj_weight, self.in_proj_bias)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in projected.chunk(3, -1))
        weights = (query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)).softmax(-1)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2)), None


class ViTB16(nn.Module):
    """torchvision's patch embedding, class token and encoder under torchvision's names, without its square inputs."""

    def __init__(self, channels: int, rows: int, columns: int, stride: int, head: nn.Module) -> None:
        from torchvision.models import vit_b_16 as build

        super().__init__()
        published = build()
        self.conv_proj = make_stem(published.conv_proj, channels, stride)
        self.class_token = published.class_token
        self.encoder = published.encoder
        for block in self.encoder.layers:
            block.self_attention = Attention(block.self_attention)
        self.encoder.pos_embedding = nn.Parameter(0.02 * torch.randn(1, 1 + rows * columns, published.hidden_dim))
        self.heads = head

    @property
    def cam_layer(self) -> nn.Module:
        """The first normalised tokens, before attention mixes the places."""
        return self.encoder.layers[0].ln_1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), patches], 1)
        return self.heads(self.encoder(tokens)[:, 0])


@register("network")
def vit_b_16(
    *,
    classes: int,
    channels: int,
    height: int,
    width: int,
    weights: str | None,
    stem_stride: Positive,
    dropout: Share,
    hidden: Positive | None,
) -> nn.Module:
    """Build ViT-B/16 for inputs of at least 16x16; `weights` is null, "imagenet" (torchvision downloads) or a path.

    A stem stride of 16 is the published one; a smaller one lets the patches overlap, so that a 48x48 input gives 25
    at a stride of 8 and not 9. What the stride leaves at the lower and right edge is not seen. Positional embeddings
    are resized to the patches. 85 M parameters.
    """
    if min(height, width) < PATCH:
        raise EdgemotionError(f"data.height and data.width are {height} and {width}; vit_b_16 needs at least {PATCH}")
    rows, columns = ((size - PATCH) // stem_stride + 1 for size in (height, width))
    network = ViTB16(channels, rows, columns, stem_stride, make_head(768, classes, dropout, hidden))
    if weights:
        state = read_weights(weights, "ViT_B_16_Weights.IMAGENET1K_V1")
        if POSITIONS in state:
            state[POSITIONS] = fit_positions(state[POSITIONS], rows, columns)
        load_weights(network, state, name="vit_b_16", stem="conv_proj", head="heads")
    return network
