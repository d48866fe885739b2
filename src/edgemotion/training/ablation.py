"""A recipe and single changes of it in; what each change is worth on the val split, at equal epochs, out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from edgemotion.compression.export import torch_logits
from edgemotion.contradictions import contradictions
from edgemotion.datasets.splits import Split, faces
from edgemotion.errors import EdgemotionError, first_line
from edgemotion.files import read_json, write_json
from edgemotion.measure.statistics import mcnemar, paired_bootstrap
from edgemotion.report.summary import p_value
from edgemotion.settings import Ablation, Settings
from edgemotion.training.checkpoint import checkpoint_path
from edgemotion.training.trained import identify, train_network

RECIPE = "recipe"
Digests = tuple[Mapping[str, str], Mapping[str, str]]


@dataclass(frozen=True)
class Row:
    """One change, and whether each val image was classified rightly after it: bool [seeds,N]."""

    name: str
    changes: Mapping[str, Any]
    correct: np.ndarray


def ablate(settings: Settings, splits: tuple[Split, Split], digests: Digests, cache: Path) -> list[dict[str, Any]]:
    """Train each of the `recipes` of `settings`, from every seed, for ablation.epochs; return the table.

    Finished trainings wait as JSON in the folder `cache`, so that a search that was killed goes on; other teachers,
    pretrained weights, settings, precision, device, data or code are other trainings. Only (train, val) are read, as
    whole images: the test split chooses nothing. Raises EdgemotionError for a detector, which has no top-1 of its own.
    """
    if settings.train.trainer == "yolo":
        raise EdgemotionError("train.trainer is 'yolo', which trains detectors; the ablation compares classifiers")
    rows = []
    # A row that contradicts itself is told before the first training, not hours later.
    for name, changed in recipes(settings).items():
        try:
            correct = [train_once(name, changed, splits, digests, seed, cache) for seed in settings.ablation.seeds]
        except EdgemotionError as error:
            raise EdgemotionError(f"ablation.rows, {name!r}: {error}") from None
        rows.append(Row(name, settings.ablation.rows.get(name, {}), np.stack(correct)))
    return [compare(row, rows[0], settings.seed, settings.ablation) for row in rows]


def recipes(settings: Settings) -> dict[str, Settings]:
    """The settings of the recipe and of every row of ablation.rows, but for rows that change nothing of it.

    EdgemotionError as of `apply`, and for a row that has the recipe's name.
    """
    if RECIPE in settings.ablation.rows:
        raise EdgemotionError(f"ablation.rows has the row {RECIPE!r}, which all others are compared with; rename it")
    recipe = apply(RECIPE, settings, {})
    changed = {name: apply(name, settings, changes) for name, changes in settings.ablation.rows.items()}
    return {RECIPE: recipe, **{name: row for name, row in changed.items() if row != recipe}}


def subject(settings: Settings, digests: Digests) -> dict[str, Any]:
    """What a table is of: the recipe but for its epochs, its teachers, and the SHA-256 of the train and val arrays."""
    recipe = {"model": asdict(settings.model), "train": asdict(settings.train)}
    if settings.train.distill.teacher == "ensemble":
        recipe["teacher"] = asdict(settings.teacher)
    del recipe["train"]["epochs"]
    return {**recipe, "data_sha256": dict(digests[0]), "val_sha256": dict(digests[1])}


def apply(name: str, settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with dotted keys replaced as the row `name` does, checked as params.yaml is.

    EdgemotionError names a key that is none, one that no row trains by (data and epochs are those of the recipe), and
    what a change contradicts.
    """
    for key in changes:
        if not key.startswith(("model.", "train.")) or key == "train.epochs":
            raise EdgemotionError(
                f"ablation.rows changes {key!r}; a row can change model.* and train.*, all have the same train.epochs"
            )
        argument = key.removeprefix("model.args.")
        if argument != key and argument.split(".")[0] not in settings.model.args:
            raise EdgemotionError(
                f"ablation.rows, {name!r}: network {settings.model.name} has no argument {argument!r}; it has "
                f"{', '.join(settings.model.args)}, so leave this row out of configs/ablation/"
            )
    config = OmegaConf.create({part: OmegaConf.structured(getattr(settings, part)) for part in ("model", "train")})
    for key, value in {"train.epochs": settings.ablation.epochs, **changes}.items():
        try:
            OmegaConf.update(config, key, value, merge=False)
        except ValidationError as error:
            reason = first_line(error)
            raise EdgemotionError(f"ablation.rows, {name!r}: {key}: {reason}") from None
        except OmegaConfBaseException:
            raise EdgemotionError(f"ablation.rows changes {key!r}, which the settings do not have") from None
    parts = OmegaConf.to_object(config)
    assert isinstance(parts, dict)
    changed = replace(settings, model=parts["model"], train=parts["train"])
    if complaint := next(contradictions(changed), None):
        raise EdgemotionError(f"ablation.rows, {name!r}: {complaint}")
    return changed


def train_once(
    name: str, settings: Settings, splits: tuple[Split, Split], digests: Digests, seed: int, cache: Path
) -> np.ndarray:
    """Train a changed recipe from one seed, or read what it gave: bool [N] over val."""
    label = f"{name.replace(' ', '_')}-{seed}"
    identity = identify(settings.model, settings.train, seed, settings.threads)
    path = cache / checkpoint_path(label, **identity, data=list(digests)).with_suffix(".json").name
    if not path.is_file():
        trained, _, checkpoint = train_network(
            f"ablation-{label}", settings.model, settings.train, splits, digests, seed=seed, threads=settings.threads
        )
        val = faces(splits[1])
        write_json(path, {"correct": (torch_logits(trained, val.images).argmax(1) == val.labels).tolist()})
        checkpoint.unlink(missing_ok=True)
    return np.array(read_json(path)["correct"], bool)


def compare(row: Row, recipe: Row, seed: int, ablation: Ablation) -> dict[str, Any]:
    """A row of the table; `gain` is what the change brings over the recipe, paired image by image.

    The interval is over images, each with its mean over the seeds; McNemar's test needs a single seed.
    """
    ours, theirs = row.correct.mean(0), recipe.correct.mean(0)
    return {
        "name": row.name,
        "changes": dict(row.changes),
        "epochs": ablation.epochs,
        "seeds": list(ablation.seeds),
        "val_top1": round(float(ours.mean()), 6),
        "gain": round(float(ours.mean() - theirs.mean()), 6),
        "gain_ci": paired_bootstrap(ours, theirs, seed),
        "mcnemar_p": round(mcnemar(row.correct[0], recipe.correct[0]), 6) if len(row.correct) == 1 else None,
    }


def markdown(table: list[dict[str, Any]]) -> str:
    """The table in Markdown, in the order of the configuration."""
    lines = ["| change | val top-1 | gain [95 % CI] | McNemar p |", "| --- | ---: | ---: | ---: |"]
    for row in table:
        low, high = (f"{100 * end:+.1f}" for end in row["gain_ci"])
        gain = "" if row["name"] == RECIPE else f"{100 * row['gain']:+.1f} [{low}, {high}]"
        p = "" if row["name"] == RECIPE or row["mcnemar_p"] is None else p_value(row["mcnemar_p"]).removeprefix("= ")
        lines.append(f"| {row['name']} | {100 * row['val_top1']:.1f} % | {gain} | {p} |")
    first = table[0]
    seeds = f"{len(first['seeds'])} seed" + ("" if len(first["seeds"]) == 1 else "s")
    return "\n".join(lines) + (
        f"\n\n{first['epochs']} epochs each, {seeds}, measured on val. The intervals are over images: they do not tell "
        "how far trainings from other seeds would differ. What holds back overfitting gains with the number of epochs, "
        "so a table of few epochs undervalues it.\n"
    )
