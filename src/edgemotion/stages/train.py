"""data/prepared train and val in; models/networks/fp32 out."""

from dataclasses import asdict

import torch

from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.settings import Settings
from edgemotion.stages import stage
from edgemotion.tracking import training_run
from edgemotion.training.checkpoint import checkpoint_path
from edgemotion.training.loop import fit


@stage
def main(settings: Settings) -> None:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    train, val = read_split("data/prepared/train"), read_split("data/prepared/val")
    _, height, width, channels = train.images.shape
    model, classes = settings.model, settings.data.classes
    mean = train.images.mean((0, 1, 2)).round(4).tolist()
    std = train.images.std((0, 1, 2)).round(4).tolist()
    data_sha256, val_sha256 = (split_sha256(f"data/prepared/{split}") for split in ("train", "val"))
    identity = {
        "model": asdict(model),
        "train": asdict(settings.train),
        "seed": settings.seed,
        "threads": settings.threads,
    }

    with training_run(settings) as run:
        module, history = fit(
            network.build(model.name, model.args, len(classes), channels, height, width),
            (train.images, train.labels),
            (val.images, val.labels),
            mean=mean,
            std=std,
            settings=settings.train,
            precision=model.precision,
            seed=settings.seed,
            checkpoint=checkpoint_path("train", **identity, classes=classes, data=[data_sha256, val_sha256]),
            on_epoch=lambda row: run.log(row, step=int(row["epoch"])),
        )
        trained = network.Network(
            module, model.name, model.args, classes, height, width, channels, mean, std,
            parent=None, method="train", settings=identity, data_sha256=data_sha256,
        )  # fmt: skip
        network.save(network.NETWORKS / "fp32", trained, history)
        run.tag("weights_sha256", sha256_file(network.NETWORKS / "fp32/model.safetensors"))
    print(f"models/networks/fp32: val top-1 {history[-1]['val_top1']:.4f} after {len(history)} epochs")


if __name__ == "__main__":
    main()
