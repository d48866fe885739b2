"""models/networks/<item> in; models/variants/<item> with a self-contained model.onnx out."""

import torch

from edgemotion.compression.export import check_parity, to_onnx, torch_logits
from edgemotion.compression.onnx_file import VARIANTS, compare, count_macs, run_logits, write_variant
from edgemotion.datasets.splits import read_split
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.settings import Settings
from edgemotion.stages import stage


@stage
def main(settings: Settings) -> None:
    torch.set_num_threads(settings.threads)
    trained = network.load(network.NETWORKS / settings.item)
    val, test = read_split("data/prepared/val"), read_split("data/prepared/test")
    model = to_onnx(trained)
    parity = compare(run_logits(model, test.images, settings.threads), torch_logits(trained, test.images))
    check_parity(settings.item, parity)
    size = {"height": trained.height, "width": trained.width, "channels": trained.channels}
    info = {
        "name": settings.item,
        "parent": trained.parent,
        "method": trained.method,
        "settings": trained.settings,
        "network": {"name": trained.name, "args": trained.args},
        "weights_sha256": sha256_file(network.NETWORKS / settings.item / "model.safetensors"),
        "classes": trained.classes,
        "input": {"layout": "NHWC", "dtype": "uint8", **size},
        "parity": parity,
        "macs": count_macs(model),
        "data_sha256": trained.data_sha256,
    }
    info = write_variant(VARIANTS / settings.item, model, info, (val.images, val.labels), settings.threads)
    print(f"models/variants/{settings.item}: {info['size_bytes']} bytes, {info['macs']} MACs, parity {parity}")


if __name__ == "__main__":
    main()
