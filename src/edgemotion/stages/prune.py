"""models/networks/fp32, models/teachers and data/prepared train and val in; the pruned models/networks/<item> out."""

from dataclasses import asdict, replace

import torch

from edgemotion.compression.pruning import prune_and_tune
from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.settings import Settings
from edgemotion.stages import stage
from edgemotion.training.trained import teachers_sha256


@stage
def main(settings: Settings) -> None:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    chosen = settings.prune[settings.item]
    dense = network.load(network.NETWORKS / "fp32")
    train, val = (read_split(f"data/prepared/{split}", classes=dense.classes) for split in ("train", "val"))
    # What was frozen could not recover from the loss of its channels.
    tuning = replace(
        settings.train,
        epochs=chosen.epochs,
        learning_rate=chosen.learning_rate,
        freeze=[],
        distill=chosen.distill,
    )
    identity = {
        "prune": asdict(chosen),
        "train": asdict(tuning),
        "precision": settings.model.precision,
        "seed": settings.seed,
        "threads": settings.threads,
        "dense_sha256": sha256_file(network.NETWORKS / "fp32/model.safetensors"),
        "teachers_sha256": teachers_sha256(chosen.distill.teacher),
    }
    data = [split_sha256(f"data/prepared/{split}") for split in ("train", "val")]
    module, history, checkpoints = prune_and_tune(
        settings.item, dense, (train, val), chosen, tuning, identity=identity | {"data": data}
    )
    pruned = replace(dense, module=module, parent="fp32", method=chosen.method, settings=identity)
    network.save(network.NETWORKS / settings.item, pruned, history)
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)
    print(f"models/networks/{settings.item}: val top-1 {history[-1]['val_top1']:.4f} after fine-tuning")


if __name__ == "__main__":
    main()
