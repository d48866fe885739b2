"""data/prepared train and val in; models/networks/fp32 out."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from edgemotion import registry
from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.settings import Settings
from edgemotion.stages import stage
from edgemotion.tracking import training_run
from edgemotion.training.checkpoint import checkpoint_path


@stage
def main(settings: Settings) -> None:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    model = settings.model
    train, val = (read_split(f"data/prepared/{split}", True, settings.data.classes) for split in ("train", "val"))
    _, height, width, channels = train.images.shape
    data_sha256, val_sha256 = (split_sha256(f"data/prepared/{split}") for split in ("train", "val"))
    identity: dict[str, Any] = {"model": asdict(model), "train": asdict(settings.train)}
    identity |= {"seed": settings.seed, "threads": settings.threads}
    if Path(weights := model.args.get("weights") or "").is_file():
        identity["pretrained_sha256"] = sha256_file(weights)

    with training_run(settings) as run:
        module, (mean, std), history = registry.call(
            "trainer",
            settings.train.trainer,
            network.build(model.name, model.args, len(train.classes), channels, height, width),
            train,
            val,
            args={},
            settings=settings.train,
            precision=model.precision,
            seed=settings.seed,
            checkpoint=checkpoint_path("train", **identity, classes=train.classes, data=[data_sha256, val_sha256]),
            threads=settings.threads,
            on_epoch=lambda row: run.log(row, step=int(row["epoch"])),
        )
        trained = network.Network(
            module, model.name, model.args, train.classes, height, width, channels, mean, std,
            parent=None, method="train", settings=identity, data_sha256=data_sha256,
        )  # fmt: skip
        network.save(network.NETWORKS / "fp32", trained, history)
        run.tag("weights_sha256", sha256_file(network.NETWORKS / "fp32/model.safetensors"))
    print(f"models/networks/fp32: val top-1 {history[-1]['val_top1']:.4f} after {len(history)} epochs")


if __name__ == "__main__":
    main()
