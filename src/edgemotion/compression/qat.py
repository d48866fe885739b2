"""A float ONNX file and the training split in, an int8 ONNX model out that was fine-tuned with its own rounding."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from pydantic import AfterValidator, Field

from edgemotion import registry
from edgemotion.compression.onnx_file import compare, run_logits
from edgemotion.compression.onnx_module import OnnxModule, keep_positive
from edgemotion.compression.pixels import gather_blocks
from edgemotion.compression.quantization import Job, Quantized
from edgemotion.datasets.splits import Split
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import Network, nchw
from edgemotion.registry import Positive, Share, register
from edgemotion.runtime.variant import MODEL, Variant
from edgemotion.settings import Distill
from edgemotion.training.checkpoint import checkpoint_path
from edgemotion.training.loop import device_name, fit, validate

# ONNX Runtime adds integers where the fake-quantized network adds floats, so a value on the edge may round otherwise.
MIN_AGREEMENT = 0.99
# Images of val that may lie there, however few val has.
NEAR_TIES = 3


def arguments_of_static(given: dict[str, Any]) -> dict[str, Any]:
    """The same as `static` takes them; EdgemotionError as its own."""
    return registry.check("quantize", "static", given)


@register("quantize")
def qat(
    job: Job,
    *,
    epochs: Positive,
    optimizer: Literal["sgd", "adamw"],
    learning_rate: Annotated[float, Field(ge=0)],
    batch_size: Positive,
    distill_weight: Share,
    distill_temperature: Annotated[float, Field(ge=0.1)],
    fake_quantize: bool,
    static: Annotated[dict[str, Any], AfterValidator(arguments_of_static)],
) -> Quantized:
    """Quantization-aware training: static int8, whose weights and activation scales then learn with the rounding.

    Starts from the parent with BatchNorm folded, as exported, and learns from the labels and from the parent's answers,
    whose share of the loss is `distill_weight`; the rest is as in the network's own training. `static` are the
    arguments of that method, which here keeps no layer in float but those it names. Without `fake_quantize` the
    float network is trained the same and quantized after. Jacob et al. 2018, arXiv 1712.05877.

    Raises EdgemotionError for a detector, for an operator that the training does not know, and where ONNX Runtime
    leaves a quantized convolution in float or names another class than the trained network on over 1 % of val and
    over three of its images.
    """
    if job.parent.detects:
        raise EdgemotionError(f"{job.parent.name} is a detector, and qat trains classifiers; quantize it with static")
    torch.set_num_threads(job.threads)
    settings = replace(
        job.train_settings,
        epochs=epochs,
        optimizer=optimizer,
        learning_rate=learning_rate,
        batch_size=batch_size,
        freeze=[],
        distill=Distill("dense" if distill_weight else "none", distill_weight, distill_temperature),
    )
    job = replace(job, train_settings=settings)
    static = {**static, "max_accuracy_drop": 1.0}
    source = onnx.load(job.parent.model_path)
    gather_blocks(source)
    if fake_quantize:
        quantized = registry.call("quantize", "static", job, args=static)
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}
        module, history, checkpoint = tune(job, quantized.model, weights)
        module.store(quantized.model)
        agreement = compare(run_logits(quantized.model, job.val.images, job.threads), answers(module, job.val.images))
        notes: dict[str, Any] = {"history": history, "agreement": agreement["argmax_agreement"]}
    else:
        module, history, checkpoint = tune(job, source)
        module.store(source)
        with TemporaryDirectory() as folder:
            onnx.save(source, Path(folder) / MODEL)
            tuned = replace(job, parent=Variant(Path(folder), job.parent.info))
            quantized = registry.call("quantize", "static", tuned, args=static)
        notes = {"history": history}
    layers = convolutions(source, quantized.model)
    if not agrees(notes.get("agreement", 1.0), len(job.val)):
        raise EdgemotionError(
            f"{job.parent.name}: the int8 file and the network it was trained as name the same class on only "
            f"{notes['agreement']:.1%} of val; lower quantize.*.args.learning_rate"
        )
    checkpoint.unlink(missing_ok=True)
    start = {key: quantized.notes[key] for key in ("calibration_method", "per_channel", "float_layers")}
    device = device_name(settings.device)
    return Quantized(quantized.model, {**start, **notes, "device": device, "convolutions": layers})


def agrees(share: float, images: int) -> bool:
    """Whether MIN_AGREEMENT of the images, or all but NEAR_TIES of a few, are named alike."""
    return round((1 - share) * images) <= max((1 - MIN_AGREEMENT) * images, NEAR_TIES)


def tune(
    job: Job, model: onnx.ModelProto, weights: Mapping[str, np.ndarray] | None = None
) -> tuple[OnnxModule, list[dict[str, float]], Path]:
    """Train a graph by the job's settings; return it, its loss and top-1 on val an epoch, and its checkpoint.

    `weights` are the float ones of a QDQ graph. Epoch 0 is the graph as it was given.
    """
    channels, settings = job.parent.channels, job.train_settings
    mean, std = [0.0] * channels, [1.0] * channels
    parent = Network(
        OnnxModule(onnx.load(job.parent.model_path)), job.parent.name, {}, job.parent.classes,
        job.parent.height, job.parent.width, channels, mean, std,
        parent=None, method="export", settings={}, data_sha256={},
    )  # fmt: skip
    checkpoint = checkpoint_path(
        "qat",
        train=asdict(settings),
        device=device_name(settings.device),
        seed=job.seed,
        threads=job.threads,
        start=hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest(),
        parent=job.parent.info["sha256"],
        data=[digest(split) for split in (job.train, job.val)],
    )
    module = OnnxModule(model, weights)
    val = torch.from_numpy(job.val.images), torch.from_numpy(job.val.labels)
    start = validate(module, *val, torch.tensor([mean, std]).view(2, 1, -1, 1, 1), "fp32")
    trained, rows = fit(
        module,
        (job.train.images, job.train.labels),
        (job.val.images, job.val.labels),
        mean=mean,
        std=std,
        settings=settings,
        # bf16 has eight bits too, of which fake quantization would round away some once more.
        precision="fp32",
        seed=job.seed,
        checkpoint=checkpoint,
        after_step=keep_positive,
        teachers=[] if settings.distill.teacher == "none" else [parent],
    )
    assert isinstance(trained, OnnxModule)
    kept = [{key: round(row[key], 6) for key in ("epoch", *start)} for row in [{"epoch": 0, **start}, *rows]]
    return trained, kept, checkpoint


def digest(split: Split) -> str:
    """SHA-256 of the images and labels of a split."""
    return hashlib.sha256(split.images.tobytes() + split.labels.tobytes()).hexdigest()


@torch.no_grad()
def answers(module: OnnxModule, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Logits float32 [N,classes] of the network in torch for images uint8 [N,H,W,C]."""
    return torch.cat([module(nchw(batch)) for batch in torch.from_numpy(images).split(batch_size)]).numpy()


def convolutions(parent: onnx.ModelProto, model: onnx.ModelProto) -> dict[str, Any]:
    """How many convolutions the parent has, how many run as QLinearConv, and the names of those left in float.

    Raises EdgemotionError for one that is stored as integers and yet runs in float.
    """
    stored = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    int8 = {node.name for node in convs if node.input[1] in stored}
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / MODEL)
        # The level above only changes the layout, which takes the names away.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(options.optimized_model_filepath).graph.node
    fused = {node.name for node in optimized if node.op_type == "QLinearConv"}
    if left := sorted(int8 - fused):
        raise EdgemotionError(
            f"ONNX Runtime {onnxruntime.__version__} runs the int8 convolutions {', '.join(left)} in float; use static"
        )
    return {
        "parent": sum(node.op_type == "Conv" for node in parent.graph.node),
        "QLinearConv": len(fused),
        "float": sorted(node.name for node in convs if node.name not in fused),
    }
