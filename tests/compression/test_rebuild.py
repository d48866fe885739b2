"""A variant from its record: the same bytes, or one line that says which of its origins is not the recorded one."""

import contextlib
import inspect
import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from edgemotion.compression.export import torch_logits
from edgemotion.compression.rebuild import rebuild
from edgemotion.datasets.splits import split_sha256, write_split
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import save
from edgemotion.runtime.classifier import Classifier
from edgemotion.settings import load
from edgemotion.stages import export, quantize

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
SETTINGS = [
    "threads=1", "compression=quantized", "quantize.int8_static.args.calibration_images=300", "train.device=cpu",
    # Another one than that of the default settings.
    "seed=7", "+quantize@quantize.int8_qat=qat", "quantize.int8_qat.args.epochs=1",
    "quantize.int8_qat.args.static.calibration_images=300",
]  # fmt: skip
VARIANTS = Path("models/variants")


def run(stage: Any, item: str, *overrides: str) -> None:
    """Run a stage's body in this process."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        settings = load(compose("config", [*SETTINGS, *overrides]))
    settings.item = item
    inspect.unwrap(stage.main)(settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a network and its variants, of which one was held to what no int8 layer keeps."""
    folder = tmp_path_factory.mktemp("project")
    with contextlib.chdir(folder):
        network = given.network_of()
        splits = {name: given.split_of(count, count) for name, count in (("train", 320), ("val", 90), ("test", 60))}
        # Centred, because untrained it would name one class only; then it is always right on val.
        logits = torch_logits(network, splits["val"].images)
        network.module.head.bias.data -= torch.from_numpy(logits.mean(0))
        splits["val"] = replace(splits["val"], labels=(logits - logits.mean(0)).argmax(1))
        for name, split in splits.items():
            write_split(f"data/prepared/{name}", split)
        network.classes, network.data_sha256 = given.CLASSES, split_sha256("data/prepared/train")
        save("models/networks/fp32", network, [])
        run(export, "fp32")
        run(quantize, "int8_dynamic")
        run(quantize, "int8_qat")
        run(quantize, "int8_static", "select.max_accuracy_drop=-1.0")
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy in which models are only where the test leaves them."""
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def info_of(name: str) -> Any:
    return json.loads((VARIANTS / name / "model_info.json").read_text())


@pytest.mark.parametrize("name", ["fp32", "int8_dynamic", "int8_qat", "int8_static"])
def test_makes_the_same_bytes_from_the_record_alone(project: Path, name: str) -> None:
    path = VARIANTS / name / "model.onnx"
    content = path.read_bytes()
    path.unlink()
    # A champion is a copy elsewhere.
    shutil.copytree(path.parent, "models/champion")
    before = given.digests(project)
    assert given.digest(rebuild(path.parent)) == given.digest(rebuild("models/champion")) == given.digest(content)
    assert given.digests(project) == before


def test_the_record_tells_settings_and_gates(project: Path) -> None:
    fp32, static, qat = (info_of(name) for name in ("fp32", "int8_static", "int8_qat"))
    assert static["parent_sha256"] == fp32["sha256"] and static["val_sha256"] == split_sha256("data/prepared/val")
    assert static["settings"]["max_accuracy_drop"] == -1.0 and static["threads"] == fp32["threads"] == 1
    assert static["gates"]["accuracy_drop"] == pytest.approx(0, abs=0.1)
    assert len(static["notes"]["float_layers"]) == 7
    labels, images = (np.load(f"data/prepared/val/{name}.npy") for name in ("labels", "images"))
    top1 = float((Classifier(VARIANTS / "int8_qat").run(images)[0].argmax(1) == labels).mean())
    assert 0.5 < top1 < 1
    assert qat["gates"] == {
        "size_mb": pytest.approx(qat["size_bytes"] / 1e6, abs=1e-6),
        "accuracy_drop": pytest.approx(1 - top1, abs=1e-6),
        "agreement": pytest.approx(top1, abs=1e-6),
    }
    assert set(fp32["gates"]) == {"size_mb", "agreement"} and fp32["gates"]["agreement"] == 1.0


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("fp32", "models/networks/fp32/model.safetensors"),
        ("int8_dynamic", "models/variants/fp32/model.onnx"),
        ("int8_dynamic", "data/prepared/train/images.npy"),
        ("fp32", "data/prepared/val/labels.npy"),
    ],
)
def test_names_the_origin_that_is_another_or_missing(project: Path, name: str, path: str) -> None:
    spoil(Path(path))
    with pytest.raises(
        EdgemotionError, match=rf"^{path} has the SHA-256 .* but {VARIANTS}/{name}/model_info\.json says"
    ):
        rebuild(VARIANTS / name)
    Path(path).unlink()
    with pytest.raises(EdgemotionError, match=rf"^{path} is missing, from which {VARIANTS}/{name} was made"):
        rebuild(VARIANTS / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"sha256": "0" * 64},
            r"says the SHA-256 000000000000, the model made again has [0-9a-f]{12}; take the code and the device that",
        ),
        ({"temperature": 9.9}, r"says the temperature 9\.9, the model made again has [0-9.]+$"),
        ({"size_bytes": 10}, r"says the size_bytes 10, the model made again has [0-9]+$"),
        ({"val_sha256": None}, r"has no key 'val_sha256'; make the variant again"),
        ({"settings": {"train": {"epoch": 1}}}, r"settings\.train is of another version of edgemotion \(Key 'epoch'"),
    ],
)
def test_a_record_that_does_not_fit(project: Path, change: dict[str, Any], message: str) -> None:
    info = {key: value for key, value in {**info_of("int8_dynamic"), **change}.items() if value is not None}
    (VARIANTS / "int8_dynamic/model_info.json").write_text(json.dumps(info))
    with pytest.raises(EdgemotionError, match=message):
        rebuild(VARIANTS / "int8_dynamic")


def test_another_machine_is_told_what_it_has_otherwise(project: Path) -> None:
    info = info_of("int8_dynamic")
    here = info["made_with"]
    there = {**here, "cpu": "RISC", "versions": {**here["versions"], "onnx": "1.0", "old_quantizer": "2.0"}}
    record = VARIANTS / "int8_dynamic/model_info.json"
    record.write_text(json.dumps({**info, "sha256": "0" * 64, "made_with": there}))
    with pytest.raises(EdgemotionError) as caught:
        rebuild(VARIANTS / "int8_dynamic")
    onnx = here["versions"]["onnx"]
    assert str(caught.value).endswith(
        f"it was made with CPU RISC (here {here['cpu']}), onnx 1.0 (here {onnx}), old_quantizer 2.0 (here none)"
    )
