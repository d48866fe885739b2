"""The networks of a search in; what a model made of one, with some layers in int8, reaches on val, out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgemotion import registry
from edgemotion.compression.onnx_file import set_metadata, set_temperature, strip
from edgemotion.compression.quantization import Job
from edgemotion.compression.static import layer_names
from edgemotion.datasets.splits import Split
from edgemotion.measure.accuracy import recalls, top1
from edgemotion.measure.latency import cut, interleave, pinned, runner
from edgemotion.measure.statistics import bootstrap_ratio
from edgemotion.runtime.classifier import open_session, run_session
from edgemotion.runtime.variant import Variant
from edgemotion.search.front import as_chosen
from edgemotion.search.networks import FP32
from edgemotion.settings import Settings


@dataclass(frozen=True)
class Parent:
    """A float variant, and the classes int64 [N] that it names on val."""

    variant: Variant
    # Those that may be int8, in the order of the graph.
    layers: list[str]
    predicted: np.ndarray


@dataclass(frozen=True)
class Bench:
    """What every trial is made from and measured with."""

    settings: Settings
    train: Split
    val: Split
    parents: Mapping[str, Parent]

    def build(self, network: str, float_layers: Sequence[str]) -> bytes:
        """The model file with all other layers in int8, or the parent's own where all stay in float."""
        parent, given, chosen = self.parents[network], self.settings, self.settings.pareto.quantize
        if len(float_layers) == len(parent.layers):
            return parent.variant.model_path.read_bytes()
        limit = given.select.max_accuracy_drop
        job = Job(parent.variant, self.train, self.val, given.train, given.seed, given.threads, limit)
        args = {**chosen.args, **as_chosen(float_layers)}
        model = registry.call("quantize", chosen.method, job, args=args).model
        strip(model)
        set_metadata(model, parent.variant.info)
        # write_variant sets its own after strip, whose empty doc string takes two bytes.
        set_temperature(model, parent.variant.info["temperature"])
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def measure(self, network: str, float_layers: Sequence[str]) -> dict[str, Any]:
        """Size, accuracy on val and latency as a ratio to fp32's.

        Returns plain numbers: size_bytes, n, top1 with top1_ci, per_class recalls, agreement with the parent, p50_ratio
        with p50_ratio_ci, and p95_ratio.
        """
        content, val = self.build(network, float_layers), self.val
        predicted = predict(content, val.images, self.settings.threads)
        return {
            "size_bytes": len(content),
            **top1(predicted == val.labels),
            "per_class": recalls(predicted, val.labels, val.classes),
            "agreement": round(float((predicted == self.parents[network].predicted).mean()), 6),
            **self.time(content),
        }

    def time(self, content: bytes) -> dict[str, Any]:
        """p50 and p95 of single images, as ratios to those of the fp32 variant in the same rounds."""
        given, rounds = self.settings.profile, self.settings.pareto.rounds
        models: dict[str, Path | bytes] = {FP32: self.parents[FP32].variant.model_path, "trial": content}
        with pinned(given.threads):
            calls = {name: runner(open_session(model, given.threads)) for name, model in models.items()}
            times = interleave(calls, cut(self.val.images, 1), rounds, given.warmup)
        (base, trial) = (np.percentile(times[name], (50, 95)) for name in models)
        return {
            "p50_ratio": round(float(trial[0] / base[0]), 6),
            "p50_ratio_ci": bootstrap_ratio(times["trial"], times[FP32], self.settings.seed),
            "p95_ratio": round(float(trial[1] / base[1]), 6),
        }


def open_parent(variant: Variant, val: Split, threads: int) -> Parent:
    """Find a variant's layers and what it answers on val."""
    layers = list(layer_names(onnx.load(variant.model_path)).values())
    return Parent(variant, layers, predict(variant.model_path.read_bytes(), val.images, threads))


def predict(content: bytes, images: np.ndarray, threads: int) -> np.ndarray:
    """The class int64 [N] that a model file names for images uint8 [N,H,W,C]."""
    return run_session(open_session(content, threads), images, names=["logits"])[0].argmax(1)
