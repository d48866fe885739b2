"""MobileNetV2 in float, static int8 and dynamic int8 at several image sizes: latencies and speed-ups from one run.

    uv run python benchmarks/mobilenet.py --output reports/mobilenet

The network is this project's, with random weights unless `--weights` names a state dict or "imagenet": the weights
do not change the latency. Its ReLU6 is a Clip in the exported file; static quantization takes 0 to 6 as the range of
the convolution's output and drops the Clip.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from omegaconf import OmegaConf
from torch import nn

from edgemotion import registry, settings
from edgemotion.compression.export import Deployable, to_onnx
from edgemotion.compression.onnx_file import strip, write_variant
from edgemotion.compression.quantization import Job
from edgemotion.datasets.splits import Split, whole_boxes
from edgemotion.errors import EdgemotionError
from edgemotion.files import write_json, write_text
from edgemotion.measure.environment import describe
from edgemotion.measure.latency import cut, interleave, percentiles, pinned, runner, speedup
from edgemotion.networks.network import Network, build
from edgemotion.report.tables import interval, milliseconds, times
from edgemotion.runtime.classifier import open_session
from edgemotion.runtime.variant import load_variant

ROOT = Path(__file__).resolve().parents[1]
NAME = "mobilenet_v2"
CLASSES = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
# Of ImageNet. As in any photographs the channels differ, so int8 cannot take the pixels themselves for its integers.
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
# The speed-up wanted of static int8 by the side of the image.
GOALS = {48: 1.3, 224: 1.8}
SEED = 42


def split_of(size: int, count: int) -> Split:
    """Noise: int8 is as fast on it as on faces."""
    generator = np.random.default_rng(SEED)
    images = generator.integers(0, 256, (count, size, size, 3), np.uint8)
    zeros, ids = np.zeros(count, np.int64), [str(number) for number in range(count)]
    return Split(images, zeros, ids, zeros.astype(bool), zeros, whole_boxes(count), CLASSES)


def network_of(size: int, stem_stride: int, weights: str | None, images: np.ndarray) -> Network:
    """Fresh weights with BatchNorm statistics of `images`, without which activations fade out; or the given weights."""
    torch.manual_seed(SEED)
    args = {**read("model", NAME), "stem_stride": stem_stride, "weights": weights}
    module = build(NAME, args, len(CLASSES), 3, size, size)
    network = Network(
        module, NAME, args, CLASSES, size, size, 3, MEAN, STD,
        parent=None, method="train", settings={}, data_sha256={},
    )  # fmt: skip
    if weights is None:
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        with torch.no_grad():
            module.train()(Deployable(network).normalise(torch.from_numpy(images)))
    module.eval()
    return network


def read(group: str, name: str) -> dict[str, Any]:
    """The arguments in configs/<group>/<name>.yaml."""
    return dict(OmegaConf.to_container(OmegaConf.load(ROOT / "configs" / group / f"{name}.yaml"))["args"])  # type: ignore


def variants(network: Network, noise: Split, folder: Path) -> dict[str, Path]:
    """The model files of one network: fp32, int8_static and int8_dynamic."""
    size = {"height": network.height, "width": network.width, "channels": network.channels}
    info = {"name": "fp32", "classes": CLASSES, "input": {"layout": "NHWC", "dtype": "uint8", **size}}
    few = split_of(network.height, 8)
    write_variant(folder / "fp32", to_onnx(network), info, (few.images, few.labels), threads=1)
    parent = load_variant(folder / "fp32")
    # Accuracy on noise means nothing, so a drop of all of it is allowed.
    job = Job(parent, noise, few, settings.read(ROOT / "params.yaml").train, SEED, threads=1, max_accuracy_drop=1.0)
    paths = {"fp32": parent.model_path}
    for method in ("static", "dynamic"):
        quantized = registry.call("quantize", method, job, args=read("quantize", method))
        strip(quantized.model)
        paths[f"int8_{method}"] = folder / f"{method}.onnx"
        onnx.save(quantized.model, paths[f"int8_{method}"])
    return paths


def measure(paths: Mapping[str, Path], images: np.ndarray, rounds: int, warmup: int) -> dict[str, dict[str, Any]]:
    """Latency, speed-up over fp32 with its interval, and size of each file, interleaved."""
    calls = {name: runner(open_session(path)) for name, path in paths.items()}
    measured = interleave(calls, cut(images, 1), rounds, warmup)
    return {
        name: {
            "size_bytes": path.stat().st_size,
            **percentiles(measured[name]),
            **speedup(measured["fp32"], measured[name], SEED),
        }
        for name, path in paths.items()
    }


def sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether each goal is reached, and how much dynamic quantization loses."""
    said = []
    for row in rows:
        static, dynamic = (row["variants"][name] for name in ("int8_static", "int8_dynamic"))
        title = f"{row['size']} px, stem stride {row['stem_stride']}"
        wanted = GOALS.get(row["size"])
        reached = wanted is not None and static["speedup"] >= wanted
        goal = f" (goal {times(wanted)}: {'reached' if reached else 'missed'})" if wanted else ""
        word = "slower than" if dynamic["speedup_ci"][1] < 1 else "not shown to be slower than"
        said.append(
            f"- {title}: static int8 is {times(static['speedup'])} {interval(static['speedup_ci'], times)} as fast as "
            f"fp32{goal}; dynamic int8 is {word} fp32, {times(dynamic['speedup'])} "
            f"{interval(dynamic['speedup_ci'], times)} as fast."
        )
    return said


def markdown(report: Mapping[str, Any]) -> str:
    """The table, a sentence a size, and what the figures were measured on."""
    header = ["size", "stem stride", "variant", "bytes", "p50 ms", "p99 ms", "speed-up [95 % CI]"]
    lines = ["| " + " | ".join(header) + " |", "|" + " ---: |" * 2 + " --- |" + " ---: |" * 4]
    for row in report["rows"]:
        for name, entry in row["variants"].items():
            cells = [
                f"{row['size']} px", str(row["stem_stride"]), name, f"{entry['size_bytes']:,}",
                milliseconds(entry["p50_ms"]), milliseconds(entry["p99_ms"]),
                f"{times(entry['speedup'])} {interval(entry['speedup_ci'], times)}",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    environment = report["environment"]
    versions = ", ".join(f"{package} {number}" for package, number in environment["versions"].items())
    notes = (
        f"One RGB image a call, one thread, one core, {report['protocol']['rounds']} rounds in which the three "
        f"variants of a size take turns. Weights: {report['weights'] or 'random'}. The stem stride in "
        f"configs/model/{NAME}.yaml is {report['stem_stride']}, that of the published network 2."
    )
    machine = f"{environment['cpu']} ({', '.join(environment['flags'])}); {versions}."
    return "\n".join([*lines, "", *sentences(report["rows"]), "", notes, "", machine, ""])


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Build, export, quantize and measure the network at each size and stem stride."""
    torch.set_num_threads(1)
    rows = []
    with pinned(1):
        for size in given.sizes:
            noise = split_of(size, given.images)
            for stem_stride in given.stem_strides:
                with TemporaryDirectory() as folder:
                    network = network_of(size, stem_stride, given.weights, noise.images[:16])
                    found = measure(variants(network, noise, Path(folder)), noise.images, given.rounds, given.warmup)
                rows.append({"size": size, "stem_stride": stem_stride, "variants": found})
        environment = describe(threads=1)
    environment["versions"]["torch"] = torch.__version__
    return {
        "environment": environment,
        "protocol": {"rounds": given.rounds, "warmup": given.warmup, "interleaved": True},
        "weights": given.weights,
        "stem_stride": read("model", NAME)["stem_stride"],
        "goals": {str(size): goal for size, goal in GOALS.items()},
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what int8 brings MobileNetV2 at several image sizes.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[48, 96, 224])
    parser.add_argument("--stem-strides", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--weights", help="a state dict, or imagenet; random without")
    parser.add_argument("--output", type=Path, default=Path("reports/mobilenet"), help="mobilenet.json, mobilenet.md")
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--images", type=int, default=320, help="of noise, to calibrate and measure with")
    given = parser.parse_args()
    try:
        report = run(given)
    except EdgemotionError as error:
        sys.exit(f"error: {error}")
    write_json(given.output / "mobilenet.json", report)
    write_text(given.output / "mobilenet.md", markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
