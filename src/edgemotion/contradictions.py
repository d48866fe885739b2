"""Settings that fit the schema in; what contradicts something else in them, a sentence each, out."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from edgemotion.measure.selection import RANKINGS

if TYPE_CHECKING:
    from edgemotion.settings import Prune, Settings

INT8 = ("static", "dynamic", "qat")
# Of what is no share; a scale from 1 on would mirror the image.
MOST_AUGMENTED = {"rotate_degrees": 180, "scale": 0.99}
Limit = tuple[str, float, float, float]


def contradictions(settings: "Settings") -> Iterator[str]:
    """Names must be made by some stage, a training needs an epoch, images have 1 or 3 channels."""
    if settings.data.channels not in (1, 3):
        yield f"data.channels is {settings.data.channels}; it must be 1 (gray) or 3 (RGB)"
    made_networks = ["fp32", *settings.prune]
    made_variants = [*settings.networks, *settings.quantize]
    for key, given in (
        ("data.classes", settings.data.classes),
        ("networks", settings.networks),
        ("variants", settings.variants),
        ("robustness.scenarios", [scenario.name for scenario in settings.robustness.scenarios]),
        ("ablation.seeds", settings.ablation.seeds),
    ):
        if twice := [value for value, count in Counter(given).items() if count > 1]:
            yield f"{key} names {twice[0]!r} twice; once is enough"
    for key, wanted, made in (
        ("networks", settings.networks, made_networks),
        ("variants", settings.variants, made_variants),
        ("controls", [*settings.controls, *settings.controls.values()], settings.variants),
        ("quantize.*.parent", [entry.parent for entry in settings.quantize.values()], made_variants),
    ):
        for name in wanted:
            if name not in made:
                yield f"{key} names {name!r}, which no stage makes; there are {', '.join(made)}"
    pruned = all_pruned(settings)
    for key, teacher, allowed in [
        ("teacher.train", settings.teacher.train.distill.teacher, ["none", "self"]),
        ("train", settings.train.distill.teacher, ["none", "self", "ensemble"]),
        *((key, entry.distill.teacher, ["none", "ensemble", "dense"]) for key, entry in pruned.items()),
    ]:
        if teacher not in allowed:
            yield f"{key}.distill.teacher is {teacher!r}; it can be {' or '.join(allowed)}"
        if teacher == "ensemble" and settings.teacher.count < 1:
            yield f"{key}.distill.teacher is 'ensemble', but teacher.count is 0; set it"
    for key, prune in pruned.items():
        if prune.method == "slim" and prune.rounds > 1:
            yield f"{key}.rounds is {prune.rounds}, but each round of 'slim' starts from fresh weights; use 1"
    for key, train in (("train", settings.train), ("teacher.train", settings.teacher.train)):
        if train.distill.teacher == "self" and train.mixup:
            yield f"{key}.mixup is {train.mixup}, but {key}.distill.teacher is 'self', which takes whole images; use 0"
    for name, entry in settings.quantize.items():
        parent = settings.quantize.get(entry.parent)
        if parent and entry.method in INT8 and parent.method in INT8:
            yield f"quantize.{name}.method is {entry.method!r}, but its parent {entry.parent!r} is int8 already"
        if parent and entry.method == parent.method == "flip":
            yield f"quantize.{name}.method is 'flip', but its parent {entry.parent!r} has both views already"
    if settings.select.rank_by not in RANKINGS:
        yield f"select.rank_by is {settings.select.rank_by!r}; choose one of {', '.join(RANKINGS)}"
    for key, value, low, high in limits(settings):
        if not low <= value <= high:
            span = f"at least {low}" if high == math.inf else f"from {low} to {high}"
            yield f"{key} is {value}; it must be {span}"
    if "fp32" not in settings.variants:
        yield "variants must hold 'fp32', the reference of every comparison"


def all_pruned(settings: "Settings") -> "dict[str, Prune]":
    """What describes a pruned network, by the key it stands under."""
    pruned = {f"prune.{name}": entry for name, entry in settings.prune.items()}
    return {**pruned, "pareto.structured": settings.pareto.structured, "pareto.slim": settings.pareto.slim}


def limits(settings: "Settings") -> Iterator[Limit]:
    """Key, value, and the least and the greatest value that mean something."""
    profile, pareto, temporal = settings.profile, settings.pareto, settings.temporal
    yield from [
        ("seed", settings.seed, 0, 2**32 - 1),
        ("threads", settings.threads, 1, math.inf),
        ("certain_accuracy", settings.certain_accuracy, 0, 1),
        ("select.tie", settings.select.tie, 0, 1),
        ("data.height", settings.data.height, 1, math.inf),
        ("data.width", settings.data.width, 1, math.inf),
        ("teacher.count", settings.teacher.count, 0, math.inf),
        ("data.face_side", settings.data.face_side, 0.1, math.inf),
        ("temporal.frames", temporal.frames, 1, math.inf),
        ("temporal.dwell", temporal.dwell, 1, math.inf),
        ("temporal.process_noise", temporal.process_noise, 0, math.inf),
        # The filter divides by it.
        ("temporal.measurement_noise", temporal.measurement_noise, 1e-9, math.inf),
        ("profile.threads", profile.threads, 1, math.inf),
        ("profile.rounds", profile.rounds, 1, math.inf),
        ("profile.warmup", profile.warmup, 0, math.inf),
        ("profile.cold_starts", profile.cold_starts, 1, math.inf),
        *(("profile.batches", size, 1, math.inf) for size in profile.batches),
        ("ablation.epochs", settings.ablation.epochs, 1, math.inf),
        ("the number of ablation.seeds", len(settings.ablation.seeds), 1, math.inf),
        ("pareto.rounds", pareto.rounds, 1, math.inf),
        ("pareto.keep", pareto.keep, 1, math.inf),
    ]
    for key, train in (("train", settings.train), ("teacher.train", settings.teacher.train)):
        yield from [
            (f"{key}.epochs", train.epochs, 1, math.inf),
            (f"{key}.batch_size", train.batch_size, 1, math.inf),
            (f"{key}.learning_rate", train.learning_rate, 0, math.inf),
            (f"{key}.weight_decay", train.weight_decay, 0, math.inf),
            (f"{key}.momentum", train.momentum, 0, 1),
            (f"{key}.warmup", train.warmup, 0, 1),
            (f"{key}.label_smoothing", train.label_smoothing, 0, 1),
            (f"{key}.mixup", train.mixup, 0, math.inf),
            (f"{key}.ema_decay", train.ema_decay, 0, 1),
            *(
                (f"{key}.augment.{name}", value, 0, MOST_AUGMENTED.get(name, 1))
                for name, value in asdict(train.augment).items()
            ),
            (f"{key}.distill.weight", train.distill.weight, 0, 1),
            # Logits are divided by it.
            (f"{key}.distill.temperature", train.distill.temperature, 0.1, math.inf),
        ]
    for key, entry in all_pruned(settings).items():
        yield from [
            (f"{key}.rounds", entry.rounds, 1, math.inf),
            (f"{key}.epochs", entry.epochs, 1, math.inf),
            (f"{key}.learning_rate", entry.learning_rate, 0, math.inf),
            (f"{key}.distill.weight", entry.distill.weight, 0, 1),
            (f"{key}.distill.temperature", entry.distill.temperature, 0.1, math.inf),
        ]
