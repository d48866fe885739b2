"""data/prepared train and val and models/teachers in; models/networks/fp32 out."""

import torch

from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.settings import Settings, check_arguments
from edgemotion.stages import stage
from edgemotion.tracking import training_run
from edgemotion.training.trained import train_network


@stage
def main(settings: Settings) -> None:
    check_arguments(settings)
    torch.set_num_threads(settings.threads)
    train, val = (read_split(f"data/prepared/{split}", True, settings.data.classes) for split in ("train", "val"))
    train_sha256, val_sha256 = (split_sha256(f"data/prepared/{split}") for split in ("train", "val"))
    with training_run(settings) as run:
        trained, history, checkpoint = train_network(
            "train",
            settings.model,
            settings.train,
            (train, val),
            (train_sha256, val_sha256),
            seed=settings.seed,
            threads=settings.threads,
            on_epoch=lambda row: run.log(row, step=int(row["epoch"])),
        )
        network.save(network.NETWORKS / "fp32", trained, history)
        run.tag("weights_sha256", sha256_file(network.NETWORKS / "fp32/model.safetensors"))
        if teachers := trained.settings.get("teachers_sha256"):
            run.tag("teachers_sha256", " ".join(teachers))
    checkpoint.unlink(missing_ok=True)
    print(f"models/networks/fp32: val top-1 {history[-1]['val_top1']:.4f} after {len(history)} epochs")


if __name__ == "__main__":
    main()
