"""A self-contained model.onnx and its model_info.json: everything about the file that is not a network."""

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgemotion.files import replacing, sha256_file, write_json
from edgemotion.measure.calibration import fit_temperature
from edgemotion.measure.environment import made_with
from edgemotion.runtime.classifier import LARGEST_BATCH, open_session, run_session

VARIANTS = Path("models/variants")
TEMPERATURE = "temperature"
# What turns the raw outputs of a detector into boxes and scores; its numbers span too much for int8.
DECODE = "decode/"
WEIGHTED = ("Conv", "Gemm", "MatMul")


def add_probabilities(model: onnx.ModelProto) -> None:
    """Append probabilities = softmax(logits / temperature) to a graph that ends in logits."""
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    model.graph.initializer.append(numpy_helper.from_array(np.array(1.0, np.float32), TEMPERATURE))
    model.graph.node.extend(
        [
            helper.make_node("Div", ["logits", TEMPERATURE], ["scaled_logits"], name="scale_logits"),
            helper.make_node("Softmax", ["scaled_logits"], ["probabilities"], name="probabilities", axis=1),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes]))


def name_decode(model: onnx.ModelProto) -> None:
    """Begin with `decode/` the name of each node from which no weighted layer follows: what decodes a detector."""
    feeding: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type in WEIGHTED or feeding.intersection(node.output):
            feeding.update(node.input)
        else:
            node.name = f"{DECODE}{node.name}"


def set_temperature(model: onnx.ModelProto, temperature: float) -> None:
    """Replace the temperature that add_probabilities left at 1."""
    for tensor in model.graph.initializer:
        if tensor.name == TEMPERATURE:
            tensor.CopyFrom(numpy_helper.from_array(np.array(temperature, np.float32), TEMPERATURE))


def strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter writes about the machine: absolute source paths in metadata, and doc strings."""
    model.doc_string = ""
    model.producer_version = ""
    graph = model.graph
    del graph.value_info[:]
    del graph.metadata_props[:]
    for item in [graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *model.functions]:
        item.doc_string = ""
        del item.metadata_props[:]


def set_metadata(model: onnx.ModelProto, info: dict[str, Any]) -> None:
    """Put into the file what a client needs without model_info.json: classes, size and colour mode.

    A model that measures ranges as it runs does so over the whole batch; `batch` says that its images go one by one.
    """
    size = info["input"]
    properties = {
        "classes": ",".join(info["classes"]),
        "height": str(size["height"]),
        "width": str(size["width"]),
        "colour": "gray" if size["channels"] == 1 else "rgb",
    }
    if any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node):
        properties[LARGEST_BATCH] = "1"
    helper.set_model_props(model, properties)


def write_variant(
    folder: Path,
    model: onnx.ModelProto,
    info: dict[str, Any],
    val: tuple[np.ndarray, np.ndarray],
    threads: int,
) -> dict[str, Any]:
    """Fit the temperature on the val split, then write model.onnx and model_info.json; return the whole info.

    `val` is images uint8 [N,H,W,C] and labels int64 [N]. Guo et al. 2017, arXiv 1706.04599. `gates` of the info are
    what select judges by its limits; the size joins those given.
    """
    strip(model)
    set_metadata(model, info)
    with replacing(folder) as partial:
        partial.mkdir()
        path = partial / "model.onnx"
        temperature = round(fit_temperature(run_logits(model, val[0], threads), val[1]), 4)
        set_temperature(model, temperature)
        onnx.checker.check_model(model)
        content = model.SerializeToString(deterministic=True)
        path.write_bytes(content)
        info = {
            **info,
            "opset": max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
            "temperature": temperature,
            "size_bytes": len(content),
            "compressed_bytes": len(gzip.compress(content, mtime=0)),
            "sha256": sha256_file(path),
            "made_with": made_with(),
        }
        info["gates"] = {**info.get("gates", {}), "size_mb": round(len(content) / 1e6, 6)}
        write_json(partial / "model_info.json", info)
    return info


def run_logits(model: onnx.ModelProto, images: np.ndarray, threads: int) -> np.ndarray:
    """Logits float32 [N,classes] of a model that is not on disk yet."""
    return run_model(model, images, threads, ["logits"])[0]


def run_model(model: onnx.ModelProto, images: np.ndarray, threads: int, names: Sequence[str]) -> tuple[np.ndarray, ...]:
    """The named outputs of a model that is not on disk yet."""
    return run_session(open_session(model.SerializeToString(), threads), images, names=names)


def count_macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of all Conv, Gemm and MatMul nodes for one image."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = inferred.graph
    shapes = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.value_info, *graph.input, *graph.output]
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            # Each output value sums over its group's input channels and the kernel: the weight less its first axis.
            total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("Gemm", "MatMul"):
            transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
            inner = shapes[node.input[0]][-2 if transposed else -1]
            total += math.prod(shapes[node.output[0]]) * inner
    return total


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def compare(logits: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Parity of two sets of logits [N,classes]: the largest difference and the share of equal argmax."""
    return {
        "max_abs_diff": float(f"{np.abs(logits - reference).max():.3g}"),
        "argmax_agreement": round(float((logits.argmax(1) == reference.argmax(1)).mean()), 6),
    }
