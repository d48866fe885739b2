"""Settings that fit the schema in; what contradicts something else in them, a sentence each, out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemotion.settings import Settings


def contradictions(settings: "Settings") -> Iterator[str]:
    """Names must be made by some stage, a training needs an epoch, images have 1 or 3 channels."""
    if settings.data.channels not in (1, 3):
        yield f"data.channels is {settings.data.channels}; it must be 1 (gray) or 3 (RGB)"
    made_networks = ["fp32", *settings.prune]
    made_variants = [*settings.networks, *settings.quantize]
    for key, wanted, made in (
        ("networks", settings.networks, made_networks),
        ("variants", settings.variants, made_variants),
        ("controls", [*settings.controls, *settings.controls.values()], settings.variants),
        ("quantize.*.parent", [entry.parent for entry in settings.quantize.values()], made_variants),
    ):
        for name in wanted:
            if name not in made:
                yield f"{key} names {name!r}, which no stage makes; there are {', '.join(made)}"
    pruned = {f"prune.{name}": entry for name, entry in settings.prune.items()}
    pruned |= {"pareto.structured": settings.pareto.structured, "pareto.slim": settings.pareto.slim}
    for key, entry in pruned.items():
        if entry.rounds < 1:
            yield f"{key}.rounds is {entry.rounds}; it must be at least 1"
    for key, teacher, allowed in [
        ("teacher.train", settings.teacher.train.distill.teacher, ["none", "self"]),
        ("train", settings.train.distill.teacher, ["none", "self", "ensemble"]),
        *((key, entry.distill.teacher, ["none", "ensemble", "dense"]) for key, entry in pruned.items()),
    ]:
        if teacher not in allowed:
            yield f"{key}.distill.teacher is {teacher!r}; it can be {' or '.join(allowed)}"
        if teacher == "ensemble" and settings.teacher.count < 1:
            yield f"{key}.distill.teacher is 'ensemble', but teacher.count is 0; set it"
    for key, train in (("train", settings.train), ("teacher.train", settings.teacher.train)):
        if train.distill.teacher == "self" and train.mixup:
            yield f"{key}.mixup is {train.mixup}, but {key}.distill.teacher is 'self', which takes whole images; use 0"
    for key, epochs in [
        ("train", settings.train.epochs),
        ("teacher.train", settings.teacher.train.epochs),
        *((key, entry.epochs) for key, entry in pruned.items()),
    ]:
        if epochs < 1:
            yield f"{key}.epochs is {epochs}; it must be at least 1"
    if "fp32" not in settings.variants:
        yield "variants must hold 'fp32', the reference of every comparison"
