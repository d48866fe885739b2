"""data/prepared train and val in; models/teachers with a network for each of teacher.count out."""

import torch

from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.files import replacing, sha256_file, write_json
from edgemotion.networks import network
from edgemotion.settings import Settings, check_arguments
from edgemotion.stages import stage
from edgemotion.tracking import training_run
from edgemotion.training.trained import TEACHERS, train_network


@stage
def main(settings: Settings) -> None:
    check_arguments(settings)
    torch.set_num_threads(settings.threads)
    train, val = (read_split(f"data/prepared/{split}", True, settings.data.classes) for split in ("train", "val"))
    digests = split_sha256("data/prepared/train"), split_sha256("data/prepared/val")
    teacher, checkpoints, top1 = settings.teacher, [], {}
    # The folder appears whole; a teacher that is done waits in its checkpoint for the others.
    with replacing(TEACHERS) as partial:
        partial.mkdir()
        for number in range(1, teacher.count + 1):
            name = f"teacher_{number}"
            with training_run(settings, name) as run:
                trained, history, checkpoint = train_network(
                    name,
                    teacher.model,
                    teacher.train,
                    (train, val),
                    digests,
                    # Teachers that start alike would answer alike.
                    seed=settings.seed + number,
                    threads=settings.threads,
                    on_epoch=lambda row, run=run: run.log(row, step=int(row["epoch"])),  # type: ignore[misc]
                )
                network.save(partial / name, trained, history)
                run.tag("weights_sha256", sha256_file(partial / name / "model.safetensors"))
            checkpoints.append(checkpoint)
            top1[name] = round(history[-1]["val_top1"], 6)
            print(f"{TEACHERS / name}: val top-1 {top1[name]:.4f} after {len(history)} epochs")
        write_json(partial / "teachers.json", top1)
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
