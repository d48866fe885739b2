"""Compact with `mirrored`: one answer to a face and to its mirror image, before, during and after a training."""

import runpy
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgemotion import registry
from edgemotion.compression.export import torch_logits
from edgemotion.compression.onnx_file import run_logits
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import Network, build, load, save

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))


def mirrored() -> Network:
    args = {**given.COMPACT, "stem_stride": 2, "mirrored": True}
    network = given.network_of(args=args, size=48)
    # The batches that gave the statistics of BatchNorm held no mirror images.
    network.module.constrain()
    return network


def turned(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images[:, :, ::-1])


def test_a_network_that_is_not_mirrored_answers_differently() -> None:
    network = given.network_of(size=48)
    images, _ = given.patterned(9, size=48)
    assert np.abs(torch_logits(network, images) - torch_logits(network, turned(images))).max() > 0.05


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_fresh_weights_answer_alike(stem_stride: int) -> None:
    args = {**given.COMPACT, "stem_stride": stem_stride, "mirrored": True}
    module = build("compact", args, 3, 1, 48, 48).eval()
    images = torch.randn(6, 1, 48, 48)
    with torch.no_grad():
        logits, flipped = module(images), module(images.flip(3))
    assert logits.std(0).max() > 1e-4
    torch.testing.assert_close(logits, flipped, rtol=0, atol=1e-6)


def test_a_training_keeps_it_and_learns(tmp_path: Path) -> None:
    # Left and right are the same class here: no other answer is open to this network.
    images, labels = given.patterned(240, size=24)
    labels = labels // 2
    train, val = (
        replace(given.split_of(240, seed=seed, size=24), labels=labels, classes=["side", "middle"]) for seed in (0, 1)
    )
    args = {**given.COMPACT, "stem_stride": 2, "mirrored": True}
    module, (mean, std), history = registry.call(
        "trainer", "classifier", build("compact", args, 2, 1, 24, 24), train, val, args={},
        settings=given.train_settings(epochs=4), precision="fp32", seed=1, checkpoint=tmp_path / "c.pt", threads=1,
        on_epoch=lambda row: None, teachers=(),
    )  # fmt: skip
    assert history[-1]["val_top1"] > 0.9
    network = Network(
        module.eval(), "compact", args, ["side", "middle"], 24, 24, 1, mean, std,
        parent=None, method="train", settings={}, data_sha256={},
    )  # fmt: skip
    save(tmp_path / "fp32", network, history)
    loaded = load(tmp_path / "fp32")
    np.testing.assert_allclose(torch_logits(loaded, images), torch_logits(loaded, turned(images)), atol=1e-4)


def test_int8_answers_alike_too(tmp_path: Path) -> None:
    train = given.split_of(300, seed=0, size=48)
    job = given.job_of(mirrored(), tmp_path / "fp32", train, train)
    args = {"calibration_images": 300, "calibration_methods": ["minmax"], "per_channel": [True], "float_layers": []}
    model = registry.call("quantize", "static", job, args=args).model
    images = train.images[:30]
    logits = run_logits(model, images, threads=1)
    assert logits.std(0).max() > 1e-3
    # Whole numbers add up to the same in any order; only the mean before the last layer is taken in float.
    np.testing.assert_allclose(logits, run_logits(model, turned(images), threads=1), atol=1e-5)


def test_pruned_it_is_a_network_like_others(tmp_path: Path) -> None:
    network = mirrored()
    args = {"macs_ratio": 0.4, "round_to": 2, "importance": "magnitude"}
    dense = deepcopy(network.module)
    registry.call("prune", "structured", network.module, dense, torch.zeros(1, 1, 48, 48), args=args, share=1.0)
    save(tmp_path / "pruned", network, [])
    loaded = load(tmp_path / "pruned")
    images, _ = given.patterned(4, size=48)
    np.testing.assert_array_equal(torch_logits(loaded, images), torch_logits(network, images))
    assert sum(p.numel() for p in loaded.module.parameters()) < sum(p.numel() for p in dense.parameters())


@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 37), (4, 4)])
def test_takes_any_size(height: int, width: int) -> None:
    module = build("compact", {**given.COMPACT, "stem_stride": 2, "mirrored": True}, 3, 3, height, width)
    assert module.eval()(torch.zeros(2, 3, height, width)).shape == (2, 3)


def test_costs_no_more_than_another_network_of_its_widths() -> None:
    def cost(mirrored: bool) -> tuple[int, int]:
        args = {"widths": [32, 32, 64], "depths": [1, 2, 1], "stem_stride": 2, "dropout": 0.2, "mirrored": mirrored}
        module = build("compact", args, 7, 1, 48, 48).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(torch.zeros(1, 1, 48, 48))
        return counter.get_total_flops(), sum(parameter.numel() for parameter in module.parameters())

    for plain, paired in zip(cost(False), cost(True), strict=True):
        assert 0.9 * plain < paired < 1.02 * plain


def test_an_odd_width_has_no_halves() -> None:
    with pytest.raises(EdgemotionError, match=r"model.args.widths \[8, 15\] must be even where"):
        build("compact", {**given.COMPACT, "widths": [8, 15], "mirrored": True}, 3, 1, 48, 48)
