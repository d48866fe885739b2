"""The exported graph: what goes in and out, any batch size, and nothing in it about this machine."""

import math
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from edgemotion.compression.export import check_parity, measure_parity, task_of, to_onnx, torch_logits
from edgemotion.compression.onnx_file import DECODE, count_macs, run_logits, run_model
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import save

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))


detection = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/detector_fixtures.py")))


@pytest.fixture(scope="module")
def network() -> Any:
    return given.network_of(channels=3)


@pytest.fixture(scope="module")
def exported(network: Any) -> onnx.ModelProto:
    return to_onnx(network)


def test_takes_uint8_images_and_gives_both_outputs(exported: onnx.ModelProto) -> None:
    def described(value: onnx.ValueInfoProto) -> tuple[str, int, list[Any]]:
        tensor = value.type.tensor_type
        return value.name, tensor.elem_type, [dim.dim_value or dim.dim_param for dim in tensor.shape.dim]

    assert [described(value) for value in exported.graph.input] == [("images", TensorProto.UINT8, ["N", 16, 16, 3])]
    assert [described(value) for value in exported.graph.output] == [
        ("logits", TensorProto.FLOAT, ["N", 3]),
        ("probabilities", TensorProto.FLOAT, ["N", 3]),
    ]
    onnx.checker.check_model(exported, full_check=True)


def test_batch_normalisation_is_folded(exported: onnx.ModelProto) -> None:
    found = {node.op_type for node in exported.graph.node}
    assert "BatchNormalization" not in found and "Conv" in found


@pytest.mark.parametrize("count", [1, 2, 65])
def test_runs_any_number_of_images(network: Any, exported: onnx.ModelProto, count: int) -> None:
    images = given.patterned(count, channels=3)[0]
    np.testing.assert_allclose(run_logits(exported, images, threads=1), torch_logits(network, images), atol=1e-5)


def test_normalises_each_channel_by_its_own_mean_and_deviation(network: Any) -> None:
    images = given.patterned(4, channels=3)[0]
    pixels = (images.astype(np.float32) - [110, 111, 112]) / [50, 51, 52]
    with torch.no_grad():
        expected = network.module(torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float()).numpy()
    np.testing.assert_allclose(torch_logits(network, images, batch_size=3), expected, atol=1e-5)


@pytest.fixture(scope="module")
def detector() -> tuple[Any, onnx.ModelProto]:
    network = detection.tiny_network()
    return network, to_onnx(network)


def test_a_detector_gives_boxes_and_scores_too(detector: tuple[Any, onnx.ModelProto]) -> None:
    network, model = detector
    shapes = {
        value.name: [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.output
    }
    assert shapes == {"logits": ["N", 3], "boxes": ["N", 4, 4], "scores": ["N", 4, 3], "probabilities": ["N", 3]}
    assert next(iter(shapes)) == "logits" and task_of(network) == "detect"
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("count", [1, 33])
def test_a_detector_answers_as_torch_does(detector: tuple[Any, onnx.ModelProto], count: int) -> None:
    network, model = detector
    images = detection.scenes(count, size=16).images
    logits, boxes, scores = run_model(model, images, 1, ["logits", "boxes", "scores"])
    with torch.no_grad():
        expected, class_logits = network.module.detect(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    np.testing.assert_allclose(boxes, expected, atol=1e-5)
    np.testing.assert_allclose(scores, class_logits.sigmoid(), atol=1e-5)
    # The logits are those of the candidate with the largest of all.
    best = class_logits.flatten(1).argmax(1) // 3
    np.testing.assert_allclose(logits, class_logits[torch.arange(count), best], atol=1e-5)
    parity = measure_parity(network, model, images, threads=1)
    assert parity["max_abs_diff"] < 1e-5 and parity["argmax_agreement"] == 1.0


def test_parity_sees_boxes_that_differ(detector: tuple[Any, onnx.ModelProto]) -> None:
    model = detector[1]
    moved = detection.tiny_network()
    moved.module.anchors += 0.01
    images = detection.scenes(9, size=16).images
    assert measure_parity(moved, model, images, 1) == {"max_abs_diff": 0.01, "argmax_agreement": 1.0}


def test_only_what_follows_the_last_weights_is_decode(detector: tuple[Any, onnx.ModelProto]) -> None:
    model = detector[1]
    nodes = list(model.graph.node)
    last = max(number for number, node in enumerate(nodes) if node.op_type == "Conv")
    decode = {number for number, node in enumerate(nodes) if node.name.startswith(DECODE)}
    assert len(decode) > 5 and min(decode) > last
    # The head's two outputs alone enter it; what add_probabilities appends is no part of it.
    assert {node.op_type for node in nodes[last + 1 :] if not node.name.startswith(DECODE)} == {"Div", "Softmax"}
    # 8x8 positions of a 3x3 kernel over 3 colours into 8 channels, and 2x2 positions of a 1x1 kernel into 7.
    assert count_macs(model) == 64 * 27 * 8 + 4 * 8 * 7


def test_a_classifier_has_no_decode(exported: onnx.ModelProto) -> None:
    assert not [node.name for node in exported.graph.node if node.name.startswith(DECODE)]


def test_a_difference_from_torch_is_refused() -> None:
    check_parity("fp32", {"max_abs_diff": 9.9e-5, "argmax_agreement": 1.0})
    with pytest.raises(EdgemotionError, match=r"fp32: the exported outputs differ from torch's by 0\.00012"):
        check_parity("fp32", {"max_abs_diff": 1.2e-4, "argmax_agreement": 1.0})
    with pytest.raises(EdgemotionError, match=r"differ from torch's by nan"):
        check_parity("fp32", {"max_abs_diff": math.nan, "argmax_agreement": 1.0})


EXPORT = """
import sys
from pathlib import Path

import numpy as np

from edgemotion.compression.export import to_onnx
from edgemotion.compression.onnx_file import write_variant
from edgemotion.networks.network import load

network = load("fp32")
info = {"name": "fp32", "classes": network.classes, "input": {"height": 16, "width": 16, "channels": 1}}
val = np.load("images.npy"), np.load("labels.npy")
write_variant(Path("variant"), to_onnx(network), info, val, threads=1)
"""


@pytest.mark.slow
def test_two_folders_give_the_same_bytes(tmp_path: Path) -> None:
    network = given.network_of()
    images, labels = given.patterned(30)
    found, models = [], []
    for name in ("one", "another"):
        folder = tmp_path / name
        save(folder / "fp32", network, [])
        np.save(folder / "images.npy", images)
        np.save(folder / "labels.npy", labels)
        # The sources lie in each folder too, as they do in two clones: their paths must not get into the file.
        (folder / "src").symlink_to(ROOT / "src")
        environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-c", EXPORT], cwd=folder, env=environment, check=True)
        found.append(given.digests(folder / "variant"))
        models.append((folder / "variant/model.onnx").read_bytes())
    assert list(found[0]) == ["model.onnx", "model_info.json"]
    assert found[0] == found[1]
    paths = [str(path) for path in (tmp_path, ROOT, Path(sys.prefix), Path(torch.__file__).parent)]
    assert not [path for path in paths if path.encode() in models[0]]
