"""A trained network in; its candidates in ONNX Runtime, OpenVINO and ExecuTorch, each a file and a call, out."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgemotion.cpu import read_cpu, slow_int8
from edgemotion.runtime.classifier import open_session
from edgemotion.runtime.variant import Variant

# What the dependency group peers installs.
PACKAGES = ("openvino", "nncf", "executorch", "torchao")
FLOAT = "fp32"

Call = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Candidate:
    """A model file and a call of it: uint8 [1,H,W,C] in, probabilities float32 [1,classes] out."""

    toolkit: str
    method: str
    ours: bool
    int8: bool
    size_bytes: int
    call: Call

    def description(self) -> dict[str, Any]:
        """Everything but the call, as JSON."""
        return {key: value for key, value in vars(self).items() if key != "call"}


def build(
    variants: Mapping[str, Variant], network_folder: Path, images: np.ndarray, folder: Path
) -> dict[str, Candidate]:
    """All candidates of one network; `images` uint8 [N,H,W,C] calibrate, and the peers' files are written to `folder`.

    `variants` holds fp32 and what of ours is made from it; the network's folder holds the weights of fp32.
    """
    parent = variants[FLOAT]
    return {
        **our_candidates(variants),
        **plain_dynamic(parent, folder),
        **openvino_candidates(parent, images, folder),
        **executorch_candidates(network_folder, parent.info["temperature"], images, folder),
    }


def ort_candidate(path: Path, toolkit: str, method: str, ours: bool, int8: bool) -> Candidate:
    session = open_session(path)
    call: Call = lambda batch: session.run(None, {"images": batch})[1]  # noqa: E731
    return Candidate(toolkit, method, ours, int8, path.stat().st_size, call)


def our_candidates(variants: Mapping[str, Variant]) -> dict[str, Candidate]:
    """The variants as they ship."""
    found = {}
    for name, variant in variants.items():
        method = FLOAT if name == FLOAT else str(variant.info["method"])
        found[name] = ort_candidate(variant.model_path, "edgemotion", method, ours=True, int8=name != FLOAT)
    return found


def plain_dynamic(parent: Variant, folder: Path) -> dict[str, Candidate]:
    """ONNX Runtime's dynamic quantization as general tools call it: no choice of operators or channels."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from edgemotion.compression.quantization import quiet

    path = folder / "dynamic.onnx"
    with quiet():
        # Unsigned, because ONNX Runtime has no dynamic convolution with signed weights.
        quantize_dynamic(parent.model_path, path, weight_type=QuantType.QUInt8)
    return {"ort_dynamic": ort_candidate(path, "ONNX Runtime", "dynamic, defaults", ours=False, int8=True)}


def openvino_candidates(parent: Variant, images: np.ndarray, folder: Path) -> dict[str, Candidate]:
    """The exported file in OpenVINO, as it is and after NNCF's post-training quantization with `images`."""
    # Otherwise both packages send usage statistics to their makers.
    os.environ["CI"] = "true"
    import nncf
    import openvino

    core = openvino.Core()

    def read() -> Any:
        model = core.read_model(parent.model_path)
        model.reshape([1, *images.shape[1:]])
        return model

    def candidate(model: Any, name: str, method: str, options: Mapping[str, str]) -> Candidate:
        path = folder / f"{name}.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        compiled = core.compile_model(
            path, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, **options}
        )
        request = compiled.create_infer_request()
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        size = sum(file.stat().st_size for file in (path, path.with_suffix(".bin")))
        call: Call = lambda batch: request.infer([batch], share_inputs=True)[1]  # noqa: E731
        return Candidate("OpenVINO", f"{method}, float parts in {precision}", False, "int8" in name, size, call)

    method, advanced = "NNCF post-training", nncf.AdvancedQuantizationParameters()
    if slow_int8(read_cpu()[1]):
        # OpenVINO's kernels overflow there, and NNCF's defaults guard against it in the first layer alone.
        method += ", 7-bit weights"
        advanced.overflow_fix = nncf.OverflowFix.ENABLE
    dataset = nncf.Dataset(images[:, None])
    quantized = nncf.quantize(read(), dataset, subset_size=len(images), advanced_parameters=advanced)
    return {
        # By itself it would compute in bfloat16 where the CPU can.
        "openvino_fp32": candidate(read(), "openvino_fp32", "fp32", {"INFERENCE_PRECISION_HINT": "f32"}),
        "openvino_int8": candidate(quantized, "openvino_int8", method, {}),
    }


def executorch_candidates(
    network_folder: Path, temperature: float, images: np.ndarray, folder: Path
) -> dict[str, Candidate]:
    """The network in ExecuTorch's XNNPACK backend, as it is and after static PT2E quantization with `images`."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from edgemotion.compression.export import Deployable
    from edgemotion.networks import network

    class Program(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deployable = Deployable(network.load(network_folder))

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            logits = self.deployable(images)[0]
            return logits, torch.softmax(logits / temperature, 1)

    torch.set_num_threads(1)
    _unsafe_reset_threadpool(1)
    example = (torch.zeros(1, *images.shape[1:], dtype=torch.uint8),)

    def candidate(module: torch.nn.Module, name: str, method: str) -> Candidate:
        lowered = to_edge_transform_and_lower(torch.export.export(module, example), partitioner=[XnnpackPartitioner()])
        path = folder / f"{name}.pte"
        path.write_bytes(lowered.to_executorch().buffer)
        program = Runtime.get().load_program(path)
        forward = program.load_method("forward")

        def call(batch: np.ndarray, kept: object = program) -> np.ndarray:
            # The method reads the program's memory without owning it.
            return forward.execute((torch.from_numpy(batch),))[1].numpy()

        return Candidate("ExecuTorch XNNPACK", method, False, "int8" in name, path.stat().st_size, call)

    module = Program().eval()
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(module, example).module(), quantizer)
    with torch.no_grad():
        for image in torch.from_numpy(images).split(1):
            prepared(image)
    return {
        "executorch_fp32": candidate(module, "executorch_fp32", "fp32"),
        "executorch_int8": candidate(convert_pt2e(prepared), "executorch_int8", "PT2E static, per channel"),
    }
