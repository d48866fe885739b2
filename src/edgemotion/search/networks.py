"""The settings of a search in; each network that it may choose, trained, exported and kept for later searches, out."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from edgemotion.compression.export import check_parity, measure_parity, to_onnx
from edgemotion.compression.onnx_file import VARIANTS, count_macs, write_variant
from edgemotion.compression.pruning import plan_tuning, prune_and_tune
from edgemotion.datasets.splits import Split
from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.runtime.variant import MODEL, Variant, load_variant
from edgemotion.settings import Pareto, Prune, Settings
from edgemotion.training.checkpoint import checkpoint_path

FOLDER = Path(".pareto")
FP32 = "fp32"


def choices(pareto: Pareto) -> dict[str, Prune]:
    """The networks beside fp32: structured_50 has lost at least half of its MACs, slim_75 has 75 % of its channels."""
    found = {}
    for template, argument, values in (
        (pareto.structured, "macs_ratio", pareto.macs_ratios),
        (pareto.slim, "width", pareto.widths),
    ):
        for value in values:
            # DVC and Hydra read a dot as the end of a key.
            name = f"{template.method}_{100 * value:g}".replace(".", "_")
            found[name] = replace(template, args={**template.args, argument: value})
    return found


def load_dense(digests: list[dict[str, str]]) -> Variant:
    """The fp32 variant that everything is measured against.

    EdgemotionError where it is no child of its network, or of other train and val arrays than `digests` are of: it may
    have been trained on what is val now.
    """
    folder, weights = VARIANTS / FP32, network.NETWORKS / FP32 / "model.safetensors"
    for path, stage in ((weights, "train"), (folder / MODEL, "export")):
        if not path.is_file():
            raise EdgemotionError(f"{path} is missing; run `dvc repro {stage}`")
    variant = load_variant(folder)
    if variant.detects:
        raise EdgemotionError(f"{folder} is a detector, which cannot be pruned; the search is for classifiers")
    if variant.info["weights_sha256"] != sha256_file(weights):
        raise EdgemotionError(f"{folder} was not exported from {weights}; run `dvc repro export`")
    if [variant.info["data_sha256"], variant.info["val_sha256"]] != digests:
        raise EdgemotionError(f"{folder} is of other data than data/prepared; run `dvc repro export`")
    return variant


def make_network(
    name: str,
    chosen: Prune,
    settings: Settings,
    splits: tuple[Split, Split],
    digests: list[dict[str, str]],
    dense: Variant,
) -> Variant:
    """Prune and train as the stage `prune` does, export, and keep the variant under a name that only its inputs have.

    `splits` are train and val, `digests` the SHA-256 of their arrays. The training's checkpoints stay, so that the
    stage, once it is told to make the same network, need not train it again.
    """
    tuning, identity = plan_tuning(chosen, settings)
    whole = identity | {"data": digests}
    folder = FOLDER / checkpoint_path(name, **whole).stem
    if not folder.is_dir():
        # Each network starts from the seed, whichever were made before it.
        torch.manual_seed(settings.seed)
        parent = network.load(network.NETWORKS / FP32)
        module, _, _ = prune_and_tune(name, parent, splits, chosen, tuning, identity=whole)
        trained = replace(parent, module=module, parent=FP32, method=chosen.method, settings=identity)
        export(folder, name, trained, splits[1], settings.threads, dense.info)
    return load_variant(folder)


def export(
    folder: Path, name: str, trained: network.Network, val: Split, threads: int, dense: Mapping[str, Any]
) -> None:
    """Write a network as a variant that names no weights file, because none is kept; the test split is not needed."""
    model = to_onnx(trained)
    parity = measure_parity(trained, model, val.images, threads)
    check_parity(name, parity)
    own = {
        "name": name,
        "parent": trained.parent,
        "method": trained.method,
        "settings": trained.settings,
        "parity": parity,
        "parameters": sum(parameter.numel() for parameter in trained.module.parameters()),
        "macs": count_macs(model),
    }
    info = {key: value for key, value in dense.items() if key != "weights_sha256"} | own
    write_variant(folder, model, info, (val.images, val.labels), threads)
