"""A YOLO detector and whole images with boxes in; its averaged weights and its history out, by ultralytics' trainer."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import torch
from torch import nn
from tqdm import tqdm

from edgemotion.datasets.splits import Split
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import Network
from edgemotion.networks.yolo import YoloDetector
from edgemotion.registry import register
from edgemotion.settings import Train
from edgemotion.training.checkpoint import load_checkpoint
from edgemotion.training.loop import choose_device
from edgemotion.training.yolo_trainer import make_trainer

OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}
BALANCES = ("none", "weights")


@register("trainer")
def yolo(
    module: nn.Module,
    train: Split,
    val: Split,
    *,
    settings: Train,
    precision: str,
    seed: int,
    checkpoint: Path,
    threads: int,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
    teachers: Sequence[Network] = (),
) -> tuple[YoloDetector, tuple[list[float], list[float]], list[dict[str, float]]]:
    """Train a YOLO detector from its weights on whole images, whose pixels it takes divided by 255.

    Returns the EMA detector in float32, (mean, std) of pixels of 0 to 255, and a row an epoch. Batches, loss, optimizer
    and augmentation are ultralytics'; mosaic is off, because it would show faces at half the size they have in use.
    mAP and top-1 are ours. Its images lie in a temporary folder that is removed at the end, and it makes no connection.
    The same arguments, thread count and machine type give the same bytes, also when the training was killed and starts
    again from `checkpoint`, which the caller removes once it has kept the result.
    """
    check(settings, train)
    # Its own bf16 needs a CUDA device, and its fp16 would load a model from the net to be checked.
    if precision != "fp32":
        raise EdgemotionError(f"model.precision is {precision!r}; a YOLO is trained in fp32")
    if not isinstance(module, YoloDetector):
        raise EdgemotionError(
            f"train.trainer is 'yolo', but the model, a {type(module).__name__}, is no YOLO detector; use train=default"
        )
    state = load_checkpoint(checkpoint)
    history: list[dict[str, float]] = state["history"] if state else []
    if state:
        tqdm.write(f"going on after epoch {len(history)} from {checkpoint}", file=sys.stderr)
    if state and len(history) == settings.epochs:
        module.network.load_state_dict(state["average"])
    else:
        with TemporaryDirectory(prefix="edgemotion-yolo-") as folder:
            write_images(Path(folder), train)
            trainer = make_trainer(
                trainer_options(settings, train, seed, Path(folder)),
                module,
                (train, val),
                settings=settings,
                seed=seed,
                checkpoint=checkpoint,
                state=state,
                history=history,
                on_epoch=on_epoch,
            )
            # Its choice of a device sets the threads to the number of cores.
            torch.set_num_threads(threads)
            with trainer.bar:
                trainer.train()
            module = YoloDetector(trainer.ema.ema.float().cpu(), module.height, module.width)
    channels = train.images.shape[3]
    return module.eval(), ([0.0] * channels, [255.0] * channels), history


def check(settings: Train, train: Split) -> None:
    """EdgemotionError for what this training cannot do: no setting is dropped in silence."""
    augment = settings.augment
    for key, value in (
        ("label_smoothing", settings.label_smoothing),
        ("mixup", settings.mixup),
        ("distill.teacher", settings.distill.teacher != "none" and settings.distill.teacher),
        ("augment.contrast", augment.contrast),
        ("augment.noise", augment.noise),
        ("augment.erase_probability", augment.erase_probability),
    ):
        if value:
            raise EdgemotionError(f"train.{key} is {value}, which a YOLO's training does not have; leave it out")
    for key, name, known in (
        ("optimizer", settings.optimizer, OPTIMIZERS),
        ("balance", settings.balance, BALANCES),
    ):
        if name not in known:
            raise EdgemotionError(f"train.{key} is {name!r}; a YOLO's training knows {', '.join(known)}")
    _, height, width, channels = train.images.shape
    if height != width:
        raise EdgemotionError(f"data.height is {height}, data.width {width}; a YOLO is trained on square images")
    if channels == 1 and augment.brightness:
        raise EdgemotionError(
            f"train.augment.brightness is {augment.brightness}, which a YOLO's training has for colour images alone; "
            "set it to 0, or data.channels to 3"
        )


def write_images(folder: Path, split: Split) -> None:
    """Write images/<number>.png and labels/<number>.txt: class, then centre and size in shares of the image."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
    boxes = split.boxes.astype(float).tolist()
    for number, (image, label, (x1, y1, x2, y2)) in enumerate(zip(split.images, split.labels, boxes, strict=True)):
        stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.shape[2] == 3 else image
        cv2.imwrite(str(folder / f"images/{number:07d}.png"), stored)
        row = f"{label} {(x1 + x2) / 2:.7f} {(y1 + y2) / 2:.7f} {x2 - x1:.7f} {y2 - y1:.7f}\n"
        (folder / f"labels/{number:07d}.txt").write_text(row)


def trainer_options(settings: Train, train: Split, seed: int, folder: Path) -> dict[str, Any]:
    """Our settings in ultralytics' words; what is not named here keeps its default (the gains of the three losses)."""
    augment = settings.augment
    return {
        "task": "detect",
        # A name that it neither looks for nor loads: the module itself is given before the training.
        "model": "given.yaml",
        "data": str(folder),
        "project": str(folder),
        "name": "run",
        "imgsz": train.images.shape[1],
        "epochs": settings.epochs,
        "batch": settings.batch_size,
        # Its nominal batch size: with another one gradients are summed over batches and across epochs.
        "nbs": settings.batch_size,
        "optimizer": OPTIMIZERS[settings.optimizer],
        "lr0": settings.learning_rate,
        "cos_lr": True,
        "momentum": settings.momentum,
        "weight_decay": settings.weight_decay,
        "warmup_epochs": settings.warmup * settings.epochs,
        "warmup_momentum": settings.momentum,
        "warmup_bias_lr": 0.0,
        "cls_pw": float(settings.balance == "weights"),
        "fliplr": 0.5 if augment.flip else 0.0,
        "degrees": augment.rotate_degrees,
        "scale": augment.scale,
        "translate": augment.shift,
        "hsv_h": 0.0,
        "hsv_s": 0.0,
        "hsv_v": augment.brightness,
        "mosaic": 0.0,
        "close_mosaic": 0,
        "patience": 0,
        "amp": False,
        "seed": seed % 2**31,
        "deterministic": True,
        "workers": 0,
        "device": str(choose_device(settings.device)),
        "plots": False,
        "pretrained": False,
    }
