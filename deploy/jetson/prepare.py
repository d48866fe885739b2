"""A variant folder in, a variant folder out whose graph TensorRT reads; needs onnx, so not on the board.

TensorRT lets a uint8 image be cast and nothing else, knows int8 with zero point 0 only, and no int32 biases. So the
cast moves to the front, float numbers take the place of quantized biases and pixels, and activations that ONNX Runtime
keeps as uint8 with an offset become int8 around 0, on as few as half the levels. That changes answers, so the result is
a variant of its own: ONNX Runtime runs it too, and --split measures it against the original before any board is there.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgemotion.errors import EdgemotionError
from edgemotion.files import replacing, sha256_file, write_json
from edgemotion.runtime import Classifier, load_variant

METHOD = "tensorrt"
QUANTIZED = ("QuantizeLinear", "DequantizeLinear")
# They put pixels elsewhere and change none of them.
MOVES = ("Transpose", "Reshape", "Slice", "Pad", "Concat")


def prepare(source: Path, target: Path) -> None:
    """Rewrite the model of `source` and write it with its record to `target`; EdgemotionError where that cannot be."""
    variant = load_variant(source)
    if variant.detects:
        raise EdgemotionError(f"{source} holds a detector; only classifiers of face crops are prepared")
    model = rewrite(onnx.load(variant.model_path))
    with replacing(target) as partial:
        partial.mkdir()
        onnx.save(model, partial / "model.onnx")
        digest, size = sha256_file(partial / "model.onnx"), (partial / "model.onnx").stat().st_size
        info: dict[str, Any] = {
            **variant.info,
            "name": f"{variant.name}_{METHOD}",
            "parent": variant.name,
            "method": METHOD,
            "parent_sha256": variant.info["sha256"],
            "quantized": any(node.op_type in QUANTIZED for node in model.graph.node),
            "size_bytes": size,
            "sha256": digest,
        }
        # What was measured on the parent's graph holds for that alone.
        for key in ("parity", "compressed_bytes", "notes"):
            info.pop(key, None)
        write_json(partial / "model_info.json", info)


def rewrite(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with a cast at the front, symmetric int8 activations and float biases."""
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = [helper.make_node("Cast", ["images"], ["images_float"], to=TensorProto.FLOAT, name="images_float")]
    # Tensors that hold the image's own pixels, in any order.
    pixels = {"images": "images_float"}
    for node in graph.node:
        if node.op_type in MOVES and node.input[0] in pixels:
            for number, name in enumerate(node.input):
                node.input[number] = pixels.get(name, name)
            pixels[node.output[0]] = node.output[0]
            nodes.append(node)
        elif node.op_type == "Cast" and node.input[0] in pixels:
            nodes.append(helper.make_node("Identity", [pixels[node.input[0]]], list(node.output), name=node.name))
        elif node.op_type == "DequantizeLinear" and node.input[0] in pixels:
            nodes += float_pixels(node, pixels[node.input[0]], constants)
        elif node.op_type == "DequantizeLinear" and constants.get(node.input[0], np.int8(0)).dtype == np.int32:
            constants[node.output[0]] = float_constant(node, constants)
        elif node.op_type in QUANTIZED:
            if node.op_type == "QuantizeLinear" and constants[node.input[2]].dtype == np.uint8:
                nodes += relu(node, constants)
            nodes.append(symmetric(node, constants))
        elif any(name in pixels for name in node.input):
            raise EdgemotionError(f"{node.op_type} reads uint8 pixels, which TensorRT cannot; export the model again")
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    onnx.checker.check_model(model, full_check=True)
    return model


def relu(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """The ReLU that a QuantizeLinear with zero point 0 stands for: uint8 cuts below 0, int8 around 0 would not."""
    if constants[node.input[2]].any():
        return []
    source, node.input[0] = node.input[0], f"{node.output[0]}_rectified"
    return [helper.make_node("Relu", [source], [node.input[0]], name=node.input[0])]


def symmetric(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> onnx.NodeProto:
    """QuantizeLinear or DequantizeLinear with int8 around 0 over at least the same range; int8 weights stay."""
    scale_name, zero_name = node.input[1], node.input[2]
    scale, zero = constants[scale_name], constants[zero_name]
    if zero.dtype == np.int8 and not zero.any():
        return node
    if zero.dtype != np.uint8 or node.input[0] in constants:
        raise EdgemotionError(
            f"{node.name or node.output[0]} is {zero.dtype} with an offset; TensorRT takes int8 around 0"
        )
    reach = np.maximum(zero, 255 - zero).astype(np.float32)
    new_scale, new_zero = f"{scale_name}_symmetric", f"{zero_name}_symmetric"
    constants[new_scale] = np.asarray(scale * reach / 127, np.float32)
    constants[new_zero] = np.zeros(zero.shape, np.int8)
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    changed.input[1], changed.input[2] = new_scale, new_zero
    return changed


def float_pixels(node: onnx.NodeProto, source: str, constants: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """(pixel - zero point) * scale in float, for a DequantizeLinear that read the uint8 image."""
    scale, zero = constants[node.input[1]], constants[node.input[2]].astype(np.float32)
    if scale.ndim:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [-1 if place == axis % 4 else 1 for place in range(4)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    output = node.output[0]
    constants[f"{output}_scale"], constants[f"{output}_offset"] = scale, zero
    return [
        helper.make_node("Sub", [source, f"{output}_offset"], [f"{output}_centred"], name=f"{output}_sub"),
        helper.make_node("Mul", [f"{output}_centred", f"{output}_scale"], [output], name=f"{output}_mul"),
    ]


def float_constant(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> np.ndarray:
    """The float numbers that an int32 bias stands for."""
    values = constants[node.input[0]].astype(np.float64) * constants[node.input[1]]
    return values.astype(np.float32)


def measure(source: Path, target: Path, split: Path) -> str:
    """How the two folders answer to the images of a prepared split, by ONNX Runtime on this machine."""
    images, labels = np.load(split / "images.npy", mmap_mode="r"), np.load(split / "labels.npy")
    before, after = (Classifier(folder).run(np.asarray(images))[1] for folder in (source, target))
    same = (before.argmax(1) == after.argmax(1)).mean()
    top1 = [f"{(answer.argmax(1) == labels).mean():.1%}" for answer in (before, after)]
    apart = float(np.abs(before - after).max())
    return (
        f"{len(labels)} images: top-1 {top1[0]} before and {top1[1]} after; {same:.1%} named alike; "
        f"probabilities at most {apart:.3f} apart"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Rewrite a variant so that TensorRT can read it.")
    parser.add_argument("source", type=Path, help="a variant or champion folder")
    parser.add_argument("target", type=Path, help="the folder to write")
    parser.add_argument(
        "--split", type=Path, help="a folder with images.npy and labels.npy, such as data/prepared/test"
    )
    given = parser.parse_args()
    try:
        prepare(given.source, given.target)
        print(f"{given.target}/model.onnx is for TensorRT")
        if given.split:
            print(measure(given.source, given.target, given.split))
    except EdgemotionError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
