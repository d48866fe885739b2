"""A trained network in, a self-contained ONNX model out."""

import logging
import warnings

import numpy as np
import onnx
import torch
from torch import nn

from edgemotion.compression.onnx_file import add_probabilities
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import Network

# Logits of trained networks lie within about 10; float32 sums in another order move them by less than this.
MAX_DIFFERENCE = 1e-4


class Deployable(nn.Module):
    """The network with its preprocessing: uint8 [N,H,W,C] in, logits [N,classes] out."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.module
        self.register_buffer("mean", torch.tensor(network.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(network.std).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network((images.permute(0, 3, 1, 2).float() - self.mean) / self.std)


def to_onnx(network: Network) -> onnx.ModelProto:
    """Export with a dynamic batch size, BatchNorm folded into the convolutions by the exporter's optimiser."""
    module = Deployable(network).eval()
    # Two images, because the exporter would fix a batch of one as a constant.
    example = torch.zeros(2, network.height, network.width, network.channels, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    add_probabilities(model)
    return model


@torch.no_grad()
def torch_logits(network: Network, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Logits float32 [N,classes] of the network in torch, the reference of the parity check."""
    module = Deployable(network).eval()
    return torch.cat([module(batch) for batch in torch.from_numpy(images).split(batch_size)]).numpy()


def check_parity(name: str, parity: dict[str, float]) -> None:
    """EdgemotionError where the exported file does not compute what the network does."""
    if parity["max_abs_diff"] >= MAX_DIFFERENCE:
        raise EdgemotionError(
            f"{name}: the exported logits differ from torch's by {parity['max_abs_diff']:.2g}, the limit is "
            f"{MAX_DIFFERENCE:g}; the exporter does not support an operation of this network"
        )
