"""The parent's models/variants folder, data/prepared train and val in; the int8 models/variants/<item> out."""

from dataclasses import asdict

from edgemotion import registry
from edgemotion.compression.onnx_file import VARIANTS, compare, run_logits, set_metadata, strip, write_variant
from edgemotion.compression.quantization import Job
from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.runtime.classifier import Classifier
from edgemotion.runtime.variant import load_variant
from edgemotion.settings import Settings
from edgemotion.stages import pick, stage


@stage
def main(settings: Settings) -> None:
    chosen = pick(settings.quantize, settings.item)
    parent = load_variant(VARIANTS / chosen.parent)
    train, val = (read_split(f"data/prepared/{split}", parent.detects, parent.classes) for split in ("train", "val"))
    job = Job(parent, train, val, settings.train, settings.seed, settings.threads, settings.select.max_accuracy_drop)
    quantized = registry.call("quantize", chosen.method, job, args=chosen.args)
    model = quantized.model
    strip(model)
    set_metadata(model, parent.info)
    logits = run_logits(model, val.images, settings.threads)
    reference, _ = Classifier(parent.folder, threads=settings.threads).run(val.images)
    parity = compare(logits, reference)
    own_top1, parent_top1 = (float((answers.argmax(1) == val.labels).mean()) for answers in (logits, reference))
    info = {
        **parent.info,
        "name": settings.item,
        "parent": chosen.parent,
        "method": chosen.method if chosen.method == "flip" else f"{chosen.method}_int8",
        "settings": {
            **asdict(chosen),
            "seed": settings.seed,
            "max_accuracy_drop": job.max_accuracy_drop,
            "train": asdict(settings.train),
        },
        "threads": settings.threads,
        "parent_sha256": parent.info["sha256"],
        "val_sha256": split_sha256("data/prepared/val"),
        "notes": dict(quantized.notes),
        "parity": parity,
        "gates": {"agreement": parity["argmax_agreement"], "accuracy_drop": round(parent_top1 - own_top1, 6)},
        "macs": parent.info["macs"] * quantized.passes,
    }
    info = write_variant(VARIANTS / settings.item, model, info, (val.images, val.labels), settings.threads)
    print(f"models/variants/{settings.item}: {info['size_bytes']} bytes, parity with {chosen.parent} {info['parity']}")


if __name__ == "__main__":
    main()
