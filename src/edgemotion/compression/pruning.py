"""A dense network in; the pruned one, fine-tuned after each round, out."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgemotion import registry
from edgemotion.datasets.splits import Split
from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file
from edgemotion.networks.detector import Detector
from edgemotion.networks.network import NETWORKS, Network, nchw, normalise, shrink_to, training_layout
from edgemotion.settings import Prune, Settings, Train
from edgemotion.training.checkpoint import checkpoint_path
from edgemotion.training.loop import choose_precision, device_name, fit
from edgemotion.training.trained import load_teachers, teachers_sha256

# Importance by gradients needs a sample of the training images.
GRADIENT_IMAGES = 1024


def plan_tuning(chosen: Prune, settings: Settings) -> tuple[Train, dict[str, Any]]:
    """The settings of the training after each round, and all that makes a pruned network another one, data apart."""
    tuning = replace(
        settings.train,
        epochs=chosen.epochs,
        learning_rate=chosen.learning_rate,
        # What was frozen could not recover from the loss of its channels.
        freeze=[],
        distill=chosen.distill,
    )
    return tuning, {
        "prune": asdict(chosen),
        "train": asdict(tuning),
        "precision": choose_precision(settings.model.precision, tuning.device),
        "device": device_name(tuning.device),
        "seed": settings.seed,
        "threads": settings.threads,
        "dense_sha256": sha256_file(NETWORKS / "fp32/model.safetensors"),
        "teachers_sha256": teachers_sha256(chosen.distill.teacher),
    }


def prune_and_tune(
    name: str,
    dense: Network,
    splits: tuple[Split, Split],
    chosen: Prune,
    tuning: Train,
    *,
    identity: Mapping[str, Any],
) -> tuple[nn.Module, list[dict[str, float]], list[Path]]:
    """Prune in `chosen.rounds` equal steps, each followed by a training with the settings `tuning` on (train, val).

    Returns the pruned module, a row an epoch, and the rounds' checkpoints, which the caller removes once it has kept
    the result; `identity` (with the keys precision and seed) tells them from those of other trainings. Raises
    EdgemotionError for a detector, and for a network whose layers cannot be built with fewer channels.
    """
    if isinstance(dense.module, Detector):
        raise EdgemotionError(
            f"{NETWORKS / 'fp32'} is a detector, and pruning trains classifiers; choose compression=quantized"
        )
    train, val = splits
    module = copy.deepcopy(dense.module)
    example = torch.zeros(1, dense.channels, dense.height, dense.width)
    teachers = load_teachers(chosen.distill.teacher, dense.classes)
    history: list[dict[str, float]] = []
    checkpoints = []
    for number in range(1, chosen.rounds + 1):
        if chosen.args.get("importance") == "taylor":
            give_gradients(module, dense, train, identity["seed"])
        hook = registry.call(
            "prune", chosen.method, module, dense.module, example, number / chosen.rounds, args=chosen.args
        )
        module.zero_grad(set_to_none=True)
        # What cannot be loaded again is told before the training, not by the export.
        shrink_to(copy.deepcopy(dense.module), module.state_dict())
        checkpoints.append(checkpoint_path(f"{name}-{number}", **identity))
        module, rows = fit(
            module,
            (train.images, train.labels),
            (val.images, val.labels),
            mean=dense.mean,
            std=dense.std,
            settings=tuning,
            precision=identity["precision"],
            seed=identity["seed"] + number - 1,
            checkpoint=checkpoints[-1],
            after_step=hook,
            teachers=teachers,
        )
        module.requires_grad_(True)
        history += [{**row, "epoch": row["epoch"] + len(history)} for row in rows]
    return module, history, checkpoints


def give_gradients(module: nn.Module, network: Network, split: Split, seed: int) -> None:
    """Leave in the module the gradients of the mean cross-entropy over a sample of a split."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(split), generator=generator)[:GRADIENT_IMAGES]
    images, labels = torch.from_numpy(split.images)[chosen], torch.from_numpy(split.labels)[chosen]
    scale = torch.tensor([network.mean, network.std]).view(2, 1, -1, 1, 1)
    layout = training_layout(module)
    module.to(memory_format=layout).eval()
    module.zero_grad(set_to_none=True)
    for batch, target in zip(images.split(128), labels.split(128), strict=True):
        loss = nn.functional.cross_entropy(module(normalise(nchw(batch), scale, layout)), target, reduction="sum")
        (loss / len(labels)).backward()
