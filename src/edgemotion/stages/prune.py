"""models/networks/fp32, models/teachers and data/prepared train and val in; the pruned models/networks/<item> out."""

from dataclasses import replace

import torch

from edgemotion.compression.pruning import plan_tuning, prune_and_tune
from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.networks import network
from edgemotion.settings import Settings, check_arguments
from edgemotion.stages import pick, stage


@stage
def main(settings: Settings) -> None:
    check_arguments(settings)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    chosen = pick(settings.prune, settings.item)
    dense = network.load(network.NETWORKS / "fp32")
    train, val = (read_split(f"data/prepared/{split}", classes=dense.classes) for split in ("train", "val"))
    tuning, identity = plan_tuning(chosen, settings)
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
