"""models/networks/fp32 and data/prepared train and val in; the pruned, fine-tuned models/networks/<item> out."""

from dataclasses import asdict, replace

import torch

from edgemotion import registry
from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.settings import Settings
from edgemotion.stages import stage
from edgemotion.training.checkpoint import checkpoint_path
from edgemotion.training.loop import fit


@stage
def main(settings: Settings) -> None:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    chosen = settings.prune[settings.item]
    dense = network.load(network.NETWORKS / "fp32")
    train, val = (read_split(f"data/prepared/{split}", classes=dense.classes) for split in ("train", "val"))

    example = torch.zeros(1, dense.channels, dense.height, dense.width)
    hook = registry.call("prune", chosen.method, dense.module, example, args=chosen.args)
    # What was frozen could not recover from the loss of its channels.
    tuning = replace(settings.train, epochs=chosen.epochs, learning_rate=chosen.learning_rate, freeze=[])
    identity = {
        "prune": asdict(chosen),
        "train": asdict(tuning),
        "precision": settings.model.precision,
        "seed": settings.seed,
        "threads": settings.threads,
    }
    inputs = {
        "weights": sha256_file(network.NETWORKS / "fp32/model.safetensors"),
        "data": [split_sha256(f"data/prepared/{split}") for split in ("train", "val")],
    }
    module, history = fit(
        dense.module,
        (train.images, train.labels),
        (val.images, val.labels),
        mean=dense.mean,
        std=dense.std,
        settings=tuning,
        precision=settings.model.precision,
        seed=settings.seed,
        checkpoint=checkpoint_path(settings.item, **identity, **inputs),
        after_step=hook,
    )
    pruned = replace(dense, module=module, parent="fp32", method=chosen.method, settings=identity)
    network.save(network.NETWORKS / settings.item, pruned, history)
    print(f"models/networks/{settings.item}: val top-1 {history[-1]['val_top1']:.4f} after fine-tuning")


if __name__ == "__main__":
    main()
