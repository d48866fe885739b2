"""The parent's models/variants folder and training images in; the int8 models/variants/<item> out."""

from dataclasses import asdict

from edgemotion import registry
from edgemotion.compression.onnx_file import VARIANTS, compare, run_logits, strip, write_variant
from edgemotion.datasets.splits import read_split
from edgemotion.runtime.classifier import Classifier
from edgemotion.runtime.variant import load_variant
from edgemotion.settings import Settings
from edgemotion.stages import stage


@stage
def main(settings: Settings) -> None:
    chosen = settings.quantize[settings.item]
    parent = load_variant(VARIANTS / chosen.parent)
    train, val = (read_split(f"data/prepared/{split}", parent.detects, parent.classes) for split in ("train", "val"))
    model = registry.call("quantize", chosen.method, parent.model_path, train.images, settings.seed, args=chosen.args)
    strip(model)
    reference, _ = Classifier(parent.folder, threads=settings.threads).run(val.images)
    parity = compare(run_logits(model, val.images, settings.threads), reference)
    info = {
        **parent.info,
        "name": settings.item,
        "parent": chosen.parent,
        "method": f"{chosen.method}_int8",
        "settings": {**asdict(chosen), "seed": settings.seed},
        "parity": parity,
    }
    info = write_variant(VARIANTS / settings.item, model, info, (val.images, val.labels), settings.threads)
    print(f"models/variants/{settings.item}: {info['size_bytes']} bytes, agreement with {chosen.parent} {parity}")


if __name__ == "__main__":
    main()
