"""The exported graph: what goes in and out, any batch size, and nothing in it about this machine."""

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

from edgemotion.compression.export import check_parity, to_onnx, torch_logits
from edgemotion.compression.onnx_file import run_logits
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import save

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))


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


def test_a_difference_from_torch_is_refused() -> None:
    check_parity("fp32", {"max_abs_diff": 9.9e-5, "argmax_agreement": 1.0})
    with pytest.raises(EdgemotionError, match=r"fp32: the exported logits differ from torch's by 0\.00012"):
        check_parity("fp32", {"max_abs_diff": 1.2e-4, "argmax_agreement": 1.0})


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
