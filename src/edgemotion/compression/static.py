"""A float ONNX file and calibration images in, an int8 ONNX model out that keeps its parent's accuracy."""

import bisect
import contextlib
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import onnx
from onnx import helper
from pydantic import Field

from edgemotion.compression.onnx_file import DECODE, WEIGHTED, run_logits
from edgemotion.compression.pixels import fold_normalisation, gather_blocks, read_pixels
from edgemotion.compression.quantization import Job, Quantized, decode_nodes, quiet
from edgemotion.errors import EdgemotionError
from edgemotion.measure.selection import gate
from edgemotion.registry import register
from edgemotion.runtime.variant import MODEL

# Adds, pools and SiLU (x * sigmoid x) are quantized too: a float island between two int8 convolutions costs more than
# it saves. With SiLU in float an int8 YOLO is slower than fp32.
STATIC_OPERATORS = [
    "Conv", "Gemm", "MatMul", "Add", "Mul", "Sigmoid", "MaxPool", "GlobalAveragePool", "AveragePool", "Relu", "Clip",
]  # fmt: skip
CALIBRATION_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
MIN_CALIBRATION_IMAGES = 300
# Of a batch, 32 images of 48x48: calibration keeps all its activations, of 32 images of 224x224 up to 14 GB.
CALIBRATION_PIXELS = 32 * 48 * 48
# At most, of the calibration images, evenly: they lie class by class.
TRACE_IMAGES = 256


class Score(NamedTuple):
    top1: float
    cross_entropy: float


@dataclass(frozen=True)
class Batch:
    """What ONNX Runtime's calibration reads its images from: here one batch."""

    batches: list[np.ndarray]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"images": self.batches.pop()} if self.batches else None


@dataclass(frozen=True)
class Recipe:
    """A folder with a float model and its measured ranges, and what is left to choose to quantize it."""

    folder: Path
    method: str
    per_channel: bool
    reduce_range: bool
    # Nodes that are never quantized.
    kept: Sequence[str]

    @property
    def ranges(self) -> Path:
        return self.folder / f"{self.method}.json"

    def calibrate(self, images: np.ndarray) -> None:
        """Measure the range of every activation on images uint8 [N,H,W,C]."""
        from onnxruntime.quantization import CalibrationMethod, create_calibrator, save_tensors_data

        # It prints its progress.
        with contextlib.redirect_stdout(None):
            calibrator = create_calibrator(
                self.folder / MODEL,
                STATIC_OPERATORS,
                str(self.folder / "augmented.onnx"),
                CalibrationMethod[CALIBRATION_METHODS[self.method]],
            )
            for batch in in_batches(images):
                calibrator.collect_data(Batch([batch]))
            save_tensors_data(calibrator.compute_data(), self.ranges)

    def quantize(self, only: Sequence[str] = (), left_out: Sequence[str] = ()) -> onnx.ModelProto:
        """Quantize the named nodes alone, or all but those left out."""
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        source, target = self.folder / MODEL, self.folder / "int8.onnx"
        float_model = onnx.load(source)
        pixels = read_pixels(float_model)
        overrides = {pixels.normalised: [{"scale": pixels.scale, "zero_point": pixels.zero_point}]} if pixels else {}
        quantize_static(
            source,
            target,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=STATIC_OPERATORS,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=self.per_channel,
            reduce_range=self.reduce_range,
            calibrate_method=CalibrationMethod[CALIBRATION_METHODS[self.method]],
            calibration_cache_path=self.ranges,
            nodes_to_quantize=list(only),
            nodes_to_exclude=[*decode_nodes(source), *last_linear(float_model), *self.kept, *left_out],
            extra_options={"TensorQuantOverrides": overrides},
        )
        model = onnx.load(target)
        if pixels:
            fold_normalisation(model, pixels.normalised)
        keep_float(model, [*self.kept, *left_out])
        return model


@register("quantize")
def static(
    job: Job,
    *,
    calibration_images: Annotated[int, Field(ge=MIN_CALIBRATION_IMAGES)],
    calibration_methods: Annotated[list[Literal["minmax", "entropy", "percentile"]], Field(min_length=1)],
    per_channel: Annotated[list[bool], Field(min_length=1)],
    float_layers: list[str],
    reduce_range: bool = False,
    max_accuracy_drop: float | None = None,
) -> Quantized:
    """Static QDQ int8: uint8 activations with ranges measured on training images, int8 weights.

    `calibration_images` are drawn from the training split. Of all pairs of a calibration method and one scale a channel
    (or one a tensor), that of the highest top-1 on val is taken. If it loses more than `max_accuracy_drop` (None: the
    job's) against the parent, the layers that move the logits most stay float, as few of them as it takes;
    `float_layers` names those that do so anyway. `reduce_range` leaves one bit of the weights unused: an x86 CPU
    without VNNI adds their products in 16 bits, which then never overflow. Unsigned activations with signed weights are
    the combination that x86 and ARM int8 dot products run fastest. The last linear layer is always float: rounding its
    input and output takes longer than int8 saves.

    Raises EdgemotionError for a layer that does not exist and for too few training images.
    """
    if max_accuracy_drop is not None:
        job = replace(job, max_accuracy_drop=max_accuracy_drop)
    images = draw(job.train.images, calibration_images, job.seed)
    with TemporaryDirectory() as folder, quiet():
        parent = onnx.load(job.parent.model_path)
        recipes = candidates(
            Path(folder), calibration_methods, per_channel, reduce_range, find_layers(parent, float_layers)
        )
        parent_top1 = score(parent, job).top1
        gather_blocks(parent)
        onnx.save(parent, Path(folder) / MODEL)
        for recipe in {recipe.method: recipe for recipe in recipes}.values():
            recipe.calibrate(images)
        models = [recipe.quantize() for recipe in recipes]
        scores = [score(model, job) for model in models]
        # The first of equals.
        best = max(range(len(recipes)), key=lambda number: (scores[number].top1, -scores[number].cross_entropy))
        recipe, model = recipes[best], models[best]
        notes: dict[str, Any] = {"calibration_method": recipe.method, "per_channel": recipe.per_channel}
        if len(recipes) > 1:
            notes["candidates"] = [
                {
                    "calibration_method": candidate.method,
                    "per_channel": candidate.per_channel,
                    "val_top1": round(found.top1, 6),
                    "val_cross_entropy": round(found.cross_entropy, 6),
                }
                for candidate, found in zip(recipes, scores, strict=True)
            ]
        notes |= {
            "parent_val_top1": round(parent_top1, 6),
            "val_top1": round(scores[best].top1, 6),
            "float_layers": float_layers,
        }
        if gate(parent_top1 - scores[best].top1, job.max_accuracy_drop)["passed"]:
            return Quantized(model, notes)
        model, kept = keep_accuracy(job, recipe, parent, parent_top1, images[:: -(-len(images) // TRACE_IMAGES)])
        return Quantized(model, notes | kept)


def draw(images: np.ndarray, wanted: int, seed: int) -> np.ndarray:
    """Draw calibration images without repetition; EdgemotionError where they are too few."""
    count = min(wanted, len(images))
    if count < MIN_CALIBRATION_IMAGES:
        raise EdgemotionError(
            f"calibration_images is {wanted} of {len(images)} training images; "
            f"ranges need at least {MIN_CALIBRATION_IMAGES}, so add images or leave this variant out"
        )
    return images[np.sort(np.random.default_rng(seed).choice(len(images), count, replace=False))]


def in_batches(images: np.ndarray) -> list[np.ndarray]:
    """Images [N,H,W,C] in batches of at most CALIBRATION_PIXELS pixels, and of one image where it has more."""
    count = max(1, CALIBRATION_PIXELS // (images.shape[1] * images.shape[2]))
    return np.split(images, range(count, len(images), count))


def find_layers(model: onnx.ModelProto, wanted: Sequence[str]) -> list[str]:
    """The nodes of layers that are named as model_info.json names them; EdgemotionError for one that is not there."""
    nodes = {layer: node for node, layer in layer_names(model).items()}
    for layer in wanted:
        if layer not in nodes:
            raise EdgemotionError(f"float_layers names {layer!r}, which the network has not; it has {', '.join(nodes)}")
    return [nodes[layer] for layer in wanted]


def candidates(
    folder: Path, methods: Sequence[str], per_channel: Sequence[bool], reduce_range: bool, kept: Sequence[str]
) -> list[Recipe]:
    """All pairs in the order given."""
    return [Recipe(folder, *pair, reduce_range, kept) for pair in itertools.product(methods, per_channel)]


def score(model: onnx.ModelProto, job: Job) -> Score:
    """Top-1 and mean cross-entropy of a model on the val split."""
    from scipy.special import log_softmax

    logits = run_logits(model, job.val.images, job.threads).astype(np.float64)
    losses = -log_softmax(logits, axis=1)[np.arange(len(logits)), job.val.labels]
    return Score(float((logits.argmax(1) == job.val.labels).mean()), float(losses.mean()))


def keep_accuracy(
    job: Job, recipe: Recipe, parent: onnx.ModelProto, parent_top1: float, images: np.ndarray
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Keep the layers of the largest error in float, as few as bring the loss of top-1 on val within the limit.

    Also returns what model_info.json tells of it: the layers, the errors, and where even all of them are not enough.
    """
    errors = trace(recipe, parent, images, job.threads)
    order = sorted(errors, key=errors.__getitem__, reverse=True)

    @functools.cache
    def attempt(count: int) -> tuple[onnx.ModelProto, float]:
        model = recipe.quantize(left_out=order[:count])
        return model, score(model, job).top1

    def holds(count: int) -> bool:
        return bool(gate(parent_top1 - attempt(count)[1], job.max_accuracy_drop)["passed"])

    # Each further layer in float brings the logits nearer to the parent's, so that halving finds how many it takes.
    found = bisect.bisect_left(range(1, len(order) + 1), True, key=holds)
    count = min(found + 1, len(order))
    model, top1 = attempt(count)
    names = layer_names(parent)
    notes = {
        "val_top1": round(top1, 6),
        "float_layers": [names[node] for node in (*recipe.kept, *order[:count])],
        "trace": {names[node]: errors[node] for node in order},
    }
    if found == len(order):
        notes["remark"] = (
            f"with every layer in float, top-1 on val still drops by more than {job.max_accuracy_drop}; "
            "use the parent, or train with qat"
        )
    return model, notes


def trace(recipe: Recipe, parent: onnx.ModelProto, images: np.ndarray, threads: int) -> dict[str, float]:
    """The mean squared error of the logits where only one layer is quantized, with its activation, by the node."""
    reference = run_logits(parent, images, threads)
    errors = {}
    for name in [name for name in layer_names(parent) if name not in recipe.kept]:
        model = recipe.quantize(only=[name, *activations(parent, name)])
        errors[name] = float(f"{np.square(run_logits(model, images, threads) - reference).mean():.6g}")
    return errors


def layer_names(model: onnx.ModelProto) -> dict[str, str]:
    """The weighted nodes that may be quantized, each with its layer's name in the network where the export kept it."""
    left_out, weights = last_linear(model), {tensor.name for tensor in model.graph.initializer}
    return {
        node.name: node.input[1].removeprefix("network.").removesuffix(".weight")
        if node.input[1] in weights and node.input[1].endswith(".weight")
        else node.name
        for node in model.graph.node
        if node.op_type in WEIGHTED and not node.name.startswith(DECODE) and node.name not in left_out
    }


def activations(model: onnx.ModelProto, name: str) -> list[str]:
    """The nodes that are merged with a layer when both are quantized."""
    outputs = next(node.output for node in model.graph.node if node.name == name)
    users = [node for node in model.graph.node if set(outputs) & set(node.input)]
    return [node.name for node in users if node.op_type in ("Relu", "Clip")]


def keep_float(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Part the named nodes from their DequantizeLinear by a sum of one term, which changes nothing.

    Between DequantizeLinear and QuantizeLinear, ONNX Runtime rounds a layer's float weights to int8 when it loads them.
    """
    nodes = model.graph.node
    made = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    for node in [node for node in nodes if node.name in names and node.input[0] in made]:
        value = f"{node.name}_float_input"
        nodes.insert(list(nodes).index(node), helper.make_node("Sum", [node.input[0]], [value], name=value))
        node.input[0] = value


def last_linear(model: onnx.ModelProto) -> list[str]:
    """The node whose product is the logits."""
    return [node.name for node in model.graph.node if node.op_type == "Gemm" and "logits" in node.output]
