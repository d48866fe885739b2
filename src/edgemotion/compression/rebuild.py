"""A variant's model_info.json and what it was made from in; the same model.onnx, byte for byte, out."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from edgemotion import registry
from edgemotion.compression.export import to_onnx
from edgemotion.compression.onnx_file import VARIANTS, write_variant
from edgemotion.compression.quantization import Job
from edgemotion.datasets.splits import Split, read_split
from edgemotion.errors import EdgemotionError, first_line
from edgemotion.files import read_json, sha256_file
from edgemotion.networks import network
from edgemotion.runtime.variant import INFO, MODEL, load_variant
from edgemotion.settings import Train

PREPARED = Path("data/prepared")
# By what a record names its origin: a quantized variant has a parent's model, an exported one a network's weights.
PARENT, WEIGHTS = "parent_sha256", "weights_sha256"
NEEDED = ("name", "settings", "threads", "sha256", "data_sha256", "val_sha256", WEIGHTS)


def rebuild(
    folder: Path | str,
    variants: Path | str = VARIANTS,
    networks: Path | str = network.NETWORKS,
    prepared: Path | str = PREPARED,
) -> bytes:
    """Make the model of a variant again from its model_info.json; the model.onnx beside it is not read.

    A quantized variant is made from its parent in `variants`, an exported one from its network in `networks`, both with
    the splits in `prepared`. Networks themselves are made by `dvc repro`.

    Raises EdgemotionError for a record that lacks a key, for a parent, network or split that is not the recorded one,
    and for a model that comes out with another SHA-256, size or temperature than the recorded one.
    """
    record = Path(folder) / INFO
    info = read_json(record)
    for key in NEEDED:
        if key not in info:
            raise EdgemotionError(f"{record} has no key {key!r}; make the variant again with `dvc repro`")
    train, val = (
        read_recorded(Path(prepared) / name, info[key], record, info)
        for name, key in (("train", "data_sha256"), ("val", "val_sha256"))
    )
    if PARENT in info:
        model = quantize(record, info, Path(variants) / info["parent"], train, val)
    else:
        model = export(record, info, Path(networks) / info["name"])
    with TemporaryDirectory() as place:
        made = Path(place) / info["name"]
        again = write_variant(made, model, info, (val.images, val.labels), info["threads"])
        found = again["sha256"]
        if found != info["sha256"]:
            raise EdgemotionError(
                f"{record} says the SHA-256 {info['sha256'][:12]}, the model made again has {found[:12]}; "
                f"{differences(info, again)}"
            )
        for key in ("temperature", "opset", "size_bytes"):
            if again[key] != info.get(key):
                raise EdgemotionError(f"{record} says the {key} {info.get(key)}, the model made again has {again[key]}")
        return (made / MODEL).read_bytes()


def differences(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Say on which CPU or with which versions the recorded model was made, where this machine has others."""
    then, now = (flatten(info.get("made_with", {})) for info in (recorded, here))
    others = [f"{key} {value} (here {now.get(key, 'none')})" for key, value in then.items() if value != now.get(key)]
    if others:
        return f"it was made with {', '.join(others)}"
    return "take the code and the device that it was made with"


def flatten(made: Mapping[str, Any]) -> dict[str, str]:
    """What a model was made with, one text a name."""
    told = {"CPU": made.get("cpu", "unknown"), "the CPU flags": " ".join(made.get("flags", ()))}
    return told | made.get("versions", {})


def quantize(record: Path, info: dict[str, Any], folder: Path, train: Split, val: Split) -> onnx.ModelProto:
    """Quantize the recorded parent by the recorded settings."""
    check(folder / MODEL, info[PARENT], record)
    parent, settings = load_variant(folder), info["settings"]
    try:
        training = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Train), settings["train"]))
    except OmegaConfBaseException as error:
        reason = first_line(error)
        raise EdgemotionError(f"{record}: settings.train is of another version of edgemotion ({reason})") from None
    assert isinstance(training, Train)
    job = Job(parent, train, val, training, settings["seed"], info["threads"], settings["max_accuracy_drop"])
    model = registry.call("quantize", settings["method"], job, args=settings["args"]).model
    assert isinstance(model, onnx.ModelProto)
    return model


def export(record: Path, info: dict[str, Any], folder: Path) -> onnx.ModelProto:
    """Export the recorded network."""
    check(folder / "model.safetensors", info[WEIGHTS], record)
    torch.set_num_threads(info["threads"])
    return to_onnx(network.load(folder))


def read_recorded(folder: Path, digests: dict[str, str], record: Path, info: dict[str, Any]) -> Split:
    """Read a split of the recorded files as the variant takes it: whole images or crops of faces."""
    for name, recorded in digests.items():
        check(folder / name, recorded, record)
    return read_split(folder, info.get("task") == "detect", info["classes"])


def check(path: Path, recorded: str, record: Path) -> None:
    """EdgemotionError for a file that is missing or is not the recorded one."""
    if not path.is_file():
        raise EdgemotionError(f"{path} is missing, from which {record.parent} was made; make it with `dvc repro`")
    if (found := sha256_file(path)) != recorded:
        raise EdgemotionError(
            f"{path} has the SHA-256 {found[:12]}, but {record} says {recorded[:12]}; "
            "bring back what the variant was made from"
        )
