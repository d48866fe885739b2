"""A module and arrays in; the module trained, its averaged weights and its history out."""

import copy
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from edgemotion.errors import EdgemotionError, first_line
from edgemotion.networks.network import Network, nchw, normalise, training_layout
from edgemotion.settings import Train
from edgemotion.training.augment import augment, mix
from edgemotion.training.balance import check_balance, classification_loss, draw_epoch, image_weights
from edgemotion.training.checkpoint import load_checkpoint, save_checkpoint
from edgemotion.training.distillation import Ensemble, Memory, distillation_loss
from edgemotion.training.optimizer import build_optimizer, freeze, rate_schedule

# The instructions, as torch names them, with which a CPU computes in bf16: of x86, and of ARM.
BF16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def fit(
    module: nn.Module,
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    *,
    mean: list[float],
    std: list[float],
    settings: Train,
    precision: str,
    seed: int,
    checkpoint: Path,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
    after_step: Callable[[nn.Module], None] = lambda module: None,
    teachers: Sequence[Network] = (),
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train with linear warm-up and cosine decay; return the EMA module and a row an epoch.

    `train` and `val` are images uint8 [N,H,W,C] and labels int64 [N]. `after_step` may correct the weights after
    every step (a pruning mask). `settings.balance` acts on the training alone: val is measured as it is. `teachers`
    answer for every batch as it is seen, changed and mixed (Beyer et al. 2022, arXiv 2106.05237); with the teacher
    `self` the network's own earlier answers to the same images do. The same arguments, thread count and machine type
    give the same bytes, also when the training was killed and starts again from `checkpoint`, which the caller removes
    once it has kept the result. Raises EdgemotionError for a loss that is no longer finite.
    """
    if precision not in ("fp32", "bf16"):
        raise EdgemotionError(f"precision is {precision!r}; use fp32 or bf16")
    check_balance(settings.balance)
    device = choose_device(settings.device)
    make_deterministic()
    frozen = freeze(module, settings.freeze)
    layout = training_layout(module)
    module = module.to(device).to(memory_format=layout)
    average = copy.deepcopy(module).eval().requires_grad_(False)
    slow, fast = tensors(average), tensors(module)
    optimizer = build_optimizer(
        module,
        settings.optimizer,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    images, labels = to_tensors(train, device)
    weights = image_weights(labels).float().to(device) if settings.balance == "weights" else None
    val_images, val_labels = to_tensors(val, device)
    scale = torch.tensor([mean, std], device=device).view(2, 1, -1, 1, 1)
    distill, ensemble = settings.distill, Ensemble(teachers, device, precision)
    memory = Memory(labels)

    def labels_loss(logits: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
        counted = None if weights is None else weights[picked]
        return classification_loss(logits, labels[picked], settings.label_smoothing, counted)

    steps_per_epoch = len(batches(labels, settings.batch_size))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, rate_schedule(settings.epochs * steps_per_epoch, settings.warmup)
    )
    history: list[dict[str, float]] = []

    if state := load_checkpoint(checkpoint):
        module.load_state_dict(state["module"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        memory.load(state["memory"])
        history = state["history"]
        tqdm.write(f"going on after epoch {len(history)} from {checkpoint}", file=sys.stderr)

    with progress(settings.epochs * steps_per_epoch, len(history) * steps_per_epoch) as bar:
        for epoch in range(len(history) + 1, settings.epochs + 1):
            # All randomness of an epoch comes from its number, so a resumed training draws the same.
            torch.manual_seed(seed * 100_003 + epoch)
            generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
            totals = torch.zeros(2, device=device)
            started = time.perf_counter()
            module.train()
            for layer in frozen:
                layer.eval()
            order = draw_epoch(labels, settings.balance, generator).to(device)
            for number, picked in enumerate(batches(order, settings.batch_size)):
                batch, target = nchw(images[picked]), labels[picked]
                batch = augment(batch, generator, **asdict(settings.augment))
                batch, partner, share = mix(batch, generator, settings.mixup)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                    logits = module(normalise(batch, scale, layout)).float()
                loss = share * labels_loss(logits, picked)
                if share < 1:
                    loss = loss + (1 - share) * labels_loss(logits, picked[partner])
                answers = None
                if distill.teacher == "self":
                    answers = memory.exchange(picked, logits, distill.temperature)
                elif teachers:
                    answers = ensemble.answer(batch, distill.temperature)
                if answers is not None:
                    loss = (1 - distill.weight) * loss + distill.weight * distillation_loss(
                        logits, answers, distill.temperature
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                after_step(module)
                update_average(slow, fast, settings.ema_decay, (epoch - 1) * steps_per_epoch + number)
                totals += torch.stack([loss.detach(), (logits.argmax(1) == target).float().mean()]) * len(picked)
                bar.update()
            row: dict[str, float] = {
                "epoch": epoch,
                "learning_rate": float(schedule.get_last_lr()[0]),
                "train_loss": float(totals[0]) / len(images),
                "train_top1": float(totals[1]) / len(images),
                **validate(average, val_images, val_labels, scale, precision),
            }
            if not math.isfinite(row["train_loss"] + row["val_loss"]):
                raise EdgemotionError(
                    f"the loss is no longer finite in epoch {epoch}; lower this training's learning rate "
                    f"({settings.learning_rate:g})"
                )
            history.append(row)
            speed = len(images) / (time.perf_counter() - started)
            bar.set_postfix_str(
                f"epoch {epoch}/{settings.epochs} loss {row['train_loss']:.3f} top1 {row['train_top1']:.3f} "
                f"val {row['val_top1']:.3f} {speed:.0f} images/s"
            )
            on_epoch({**row, "images_per_second": speed})
            parts: dict[str, Any] = {"module": module, "average": average, "optimizer": optimizer, "schedule": schedule}
            states = {name: part.state_dict() for name, part in parts.items()}
            save_checkpoint(checkpoint, {**states, "memory": memory.answers, "history": history})
    return average.cpu(), history


def batches(order: torch.Tensor, size: int) -> list[torch.Tensor]:
    """The images of each step; a last one joins those before, because BatchNorm has no statistics of one alone."""
    parts = list(order.split(size))
    if len(parts[-1]) == 1 < min(size, len(order)):
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; EdgemotionError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise EdgemotionError(f"device is {name!r}, which does not work here ({reason}); use auto or cpu") from None


def device_name(name: str) -> str:
    """What a training on this device writes down, because other devices give other bytes: cpu, or the GPU's model."""
    device = choose_device(name)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def choose_precision(name: str, device: str) -> str:
    """What a training that asks for `bf16` or `fp32` takes on this machine: fp32 on a CPU without bf16 instructions.

    Such a CPU would emulate bf16, ten times slower than fp32.
    """
    capabilities = torch.cpu.get_capabilities()
    if name != "bf16" or choose_device(device).type != "cpu" or any(capabilities.get(key) for key in BF16):
        return name
    tell("this CPU has no bf16 instructions; training takes fp32")
    return "fp32"


@cache
def tell(line: str) -> None:
    """Write a line above the bar, once a process."""
    tqdm.write(line, file=sys.stderr)


def make_deterministic() -> None:
    """Refuse operations whose result depends on the run."""
    # CUDA's matrix products are reproducible only with a fixed workspace, which is read at the first of them.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling memory that is written next anyway finds faulty operations, changes no result and costs training time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def to_tensors(arrays: tuple[np.ndarray, np.ndarray], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep images as uint8 on the device; a whole dataset of small faces fits there."""
    return torch.from_numpy(arrays[0]).to(device), torch.from_numpy(arrays[1]).to(device)


def tensors(module: nn.Module) -> list[torch.Tensor]:
    """The parameters and buffers of a module; finding them takes longer than a GPU takes to change them."""
    return [*module.parameters(), *module.buffers()]


@torch.no_grad()
def update_average(slow: Sequence[torch.Tensor], fast: Sequence[torch.Tensor], decay: float, step: int) -> None:
    """Move the averaged tensors towards the module's; early steps count more, so that the start is forgotten."""
    moving, moved_to = ([tensor for tensor in given if tensor.is_floating_point()] for given in (slow, fast))
    get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))(moving, moved_to, step)
    for kept, current in zip(slow, fast, strict=True):
        if not kept.is_floating_point():
            kept.copy_(current)


@torch.no_grad()
def validate(
    module: nn.Module, images: torch.Tensor, labels: torch.Tensor, scale: torch.Tensor, precision: str
) -> dict[str, float]:
    """Cross-entropy and top-1 over a split."""
    loss, correct = 0.0, 0
    for batch, target in zip(images.split(512), labels.split(512), strict=True):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = module(normalise(nchw(batch), scale)).float()
        loss += float(F.cross_entropy(logits, target, reduction="sum"))
        correct += int((logits.argmax(1) == target).sum())
    return {"val_loss": loss / len(labels), "val_top1": correct / len(labels)}


def progress(total: int, done: int) -> "tqdm[Any]":
    """A bar over all steps with the time left; sparse lines where the output is a log file."""
    quiet = not sys.stderr.isatty()
    return tqdm(
        total=total, initial=done, unit="step", dynamic_ncols=True, mininterval=15 if quiet else 0.2, maxinterval=60
    )
