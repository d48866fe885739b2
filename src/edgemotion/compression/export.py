"""A trained network in, a self-contained ONNX model out."""

import logging
import warnings

import numpy as np
import onnx
import torch
from torch import nn

from edgemotion.compression.onnx_file import add_probabilities, compare, name_decode, run_model
from edgemotion.errors import EdgemotionError
from edgemotion.networks.detector import Detector, best_box
from edgemotion.networks.network import Network

# Logits of trained networks lie within about 10; float32 sums in another order move them by less than this.
MAX_DIFFERENCE = 1e-4
OUTPUTS = {"classify": ["logits"], "detect": ["logits", "boxes", "scores"]}


class Deployable(nn.Module):
    """The network with its preprocessing: uint8 [N,H,W,C] in, logits [N,classes] out; boxes and scores of a detector.

    A detector's boxes are [N,A,4] in shares of the image, and its scores [N,A,classes] of 0 to 1.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network: nn.Module = network.module
        # In an int8 graph ONNX Runtime normalises before it transposes; a whole row of constants is then many times as
        # fast as one value for each of three channels.
        columns = 1 if network.channels == 1 else network.width
        self.register_buffer("mean", torch.tensor(network.mean).view(1, -1, 1, 1).repeat(1, 1, 1, columns))
        self.register_buffer("std", torch.tensor(network.std).view(1, -1, 1, 1).repeat(1, 1, 1, columns))

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        # Contiguous, because torchvision's pooling would be exported as a loop over other layouts.
        return ((images.permute(0, 3, 1, 2).float() - self.mean) / self.std).contiguous()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answer with as many tensors as OUTPUTS names for the network's task."""
        if isinstance(self.network, Detector):
            boxes, class_logits = self.network.detect(self.normalise(images))
            return best_box(class_logits), boxes, class_logits.sigmoid()
        return (self.network(self.normalise(images)),)


def task_of(network: Network) -> str:
    """The task that model_info.json records: detect (boxes in whole images) or classify (face crops)."""
    return "detect" if isinstance(network.module, Detector) else "classify"


@torch.no_grad()
def to_onnx(network: Network) -> onnx.ModelProto:
    """Export with a dynamic batch size, BatchNorm folded into the convolutions by the exporter's optimiser."""
    module = Deployable(network).eval()
    # Two images, because the exporter would fix a batch of one as a constant.
    example = torch.zeros(2, network.height, network.width, network.channels, dtype=torch.uint8)
    for name in ("torch.onnx", "onnx_ir", "onnxscript"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=OUTPUTS[task_of(network)],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    if isinstance(network.module, Detector):
        name_decode(model)
    add_probabilities(model)
    return model


def torch_logits(network: Network, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Logits float32 [N,classes] of the network in torch."""
    return torch_outputs(network, images, batch_size)[0]


@torch.no_grad()
def torch_outputs(network: Network, images: np.ndarray, batch_size: int = 256) -> tuple[np.ndarray, ...]:
    """What the exported file should answer, computed in torch: the outputs that OUTPUTS names."""
    module = Deployable(network).eval()
    batches = [module(batch) for batch in torch.from_numpy(images).split(batch_size)]
    return tuple(torch.cat(parts).numpy() for parts in zip(*batches, strict=True))


def measure_parity(network: Network, model: onnx.ModelProto, images: np.ndarray, threads: int) -> dict[str, float]:
    """The largest difference between file and torch, in logits or in a detector's boxes and scores; equal argmax.

    A detector's logits are compared by their argmax alone: of two boxes that are nearly as good, either may be best.
    """
    found = run_model(model, images, threads, OUTPUTS[task_of(network)])
    expected = torch_outputs(network, images)
    parity = compare(found[0], expected[0])
    if isinstance(network.module, Detector):
        parts = [compare(*pair)["max_abs_diff"] for pair in zip(found[1:], expected[1:], strict=True)]
        parity["max_abs_diff"] = max(parts)
    return parity


def check_parity(name: str, parity: dict[str, float]) -> None:
    """EdgemotionError where the exported file does not compute what the network does."""
    # Not a number is no small difference either.
    if not parity["max_abs_diff"] < MAX_DIFFERENCE:
        raise EdgemotionError(
            f"{name}: the exported outputs differ from torch's by {parity['max_abs_diff']:.2g}, the limit is "
            f"{MAX_DIFFERENCE:g}; the exporter does not support an operation of this network, or its training diverged"
        )
