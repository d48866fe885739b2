"""A model's settings and prepared splits in; the trained network, its history and its checkpoint out."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from edgemotion import registry
from edgemotion.datasets.splits import Split
from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.networks.detector import Detector
from edgemotion.networks.network import Network
from edgemotion.settings import Model, Train
from edgemotion.training.checkpoint import checkpoint_path
from edgemotion.training.loop import choose_precision, device_name

TEACHERS = Path("models/teachers")


def train_network(
    name: str,
    model: Model,
    settings: Train,
    splits: tuple[Split, Split],
    digests: tuple[Mapping[str, str], Mapping[str, str]],
    *,
    seed: int,
    threads: int,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
) -> tuple[Network, list[dict[str, float]], Path]:
    """Build a model and train it on (train, val), whose files have the SHA-256 `digests`.

    The checkpoint that is returned holds the finished training until the caller has kept it and removes the file.
    """
    torch.manual_seed(seed)
    train, val = splits
    _, height, width, channels = train.images.shape
    identity = identify(model, settings, seed, threads)
    checkpoint = checkpoint_path(name, **identity, classes=train.classes, data=list(digests))
    module, (mean, std), history = registry.call(
        "trainer",
        settings.trainer,
        network.build(model.name, model.args, len(train.classes), channels, height, width),
        train,
        val,
        args={},
        settings=settings,
        precision=identity["precision"],
        seed=seed,
        checkpoint=checkpoint,
        threads=threads,
        on_epoch=on_epoch,
        teachers=load_teachers(settings.distill.teacher, train.classes),
    )
    trained = Network(
        module, model.name, model.args, train.classes, height, width, channels, mean, std,
        parent=None, method="train", settings=identity, data_sha256=dict(digests[0]),
    )  # fmt: skip
    return trained, history, checkpoint


def identify(model: Model, settings: Train, seed: int, threads: int) -> dict[str, Any]:
    """All that makes a trained network another one, data apart."""
    identity: dict[str, Any] = {
        "model": asdict(model),
        "train": asdict(settings),
        "precision": choose_precision(model.precision, settings.device),
        "device": device_name(settings.device),
        "seed": seed,
        "threads": threads,
    }
    weights = Path(model.args.get("weights") or "")
    if weights.is_file():
        identity["pretrained_sha256"] = sha256_file(weights)
    if teachers := teachers_sha256(settings.distill.teacher):
        identity["teachers_sha256"] = teachers
    return identity


def teachers_sha256(teacher: str) -> list[str]:
    """The SHA-256 of the weights of each network that `distill.teacher` names."""
    return [sha256_file(folder / "model.safetensors") for folder in teacher_folders(teacher)]


def load_teachers(teacher: str, classes: list[str]) -> list[Network]:
    """Read the networks that `distill.teacher` names; EdgemotionError for one that cannot teach these classes."""
    teachers = []
    for folder in teacher_folders(teacher):
        loaded = network.load(folder)
        if loaded.classes != classes:
            raise EdgemotionError(
                f"{folder} knows the classes {', '.join(loaded.classes)}, the data has {', '.join(classes)}; "
                "train the teacher on this data"
            )
        if isinstance(loaded.module, Detector):
            raise EdgemotionError(f"{folder} is a detector, which cannot teach a classifier")
        teachers.append(loaded)
    return teachers


def teacher_folders(teacher: str) -> list[Path]:
    """The folders of the networks that `distill.teacher` names; EdgemotionError where there is none."""
    match teacher:
        case "none" | "self":
            return []
        case "dense":
            return [network.NETWORKS / "fp32"]
        case "ensemble":
            if folders := sorted(path for path in TEACHERS.glob("*") if path.is_dir()):
                return folders
            raise EdgemotionError(f"distill.teacher is 'ensemble', but {TEACHERS} is empty; run `dvc repro teach`")
    raise EdgemotionError(f"distill.teacher is {teacher!r}; choose none, self, ensemble or dense")
