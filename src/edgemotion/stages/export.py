"""models/networks/<item> in; models/variants/<item> with a self-contained model.onnx out."""

import torch

from edgemotion.compression.export import check_parity, measure_parity, task_of, to_onnx
from edgemotion.compression.onnx_file import VARIANTS, count_macs, write_variant
from edgemotion.datasets.splits import read_split, split_sha256
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.settings import Settings
from edgemotion.stages import stage


@stage
def main(settings: Settings) -> None:
    torch.set_num_threads(settings.threads)
    trained = network.load(network.NETWORKS / settings.item)
    task = task_of(trained)
    val = read_split("data/prepared/val", task == "detect", trained.classes)
    model = to_onnx(trained)
    parity = measure_parity(trained, model, val.images, settings.threads)
    check_parity(settings.item, parity)
    size = {"height": trained.height, "width": trained.width, "channels": trained.channels}
    info = {
        "name": settings.item,
        "task": task,
        "parent": trained.parent,
        "method": trained.method,
        "settings": trained.settings,
        "network": {"name": trained.name, "args": trained.args},
        "weights_sha256": sha256_file(network.NETWORKS / settings.item / "model.safetensors"),
        "classes": trained.classes,
        "input": {"layout": "NHWC", "dtype": "uint8", **size},
        "parity": parity,
        "gates": {"agreement": parity["argmax_agreement"]},
        "parameters": sum(parameter.numel() for parameter in trained.module.parameters()),
        "macs": count_macs(model),
        "threads": settings.threads,
        "data_sha256": trained.data_sha256,
        "val_sha256": split_sha256("data/prepared/val"),
    }
    info = write_variant(VARIANTS / settings.item, model, info, (val.images, val.labels), settings.threads)
    print(f"models/variants/{settings.item}: {info['size_bytes']} bytes, {info['macs']} MACs, parity {parity}")


if __name__ == "__main__":
    main()
