"""Training a YOLO: the same bytes, also after a kill, nothing left behind and no connection."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import build
from edgemotion.training.yolo import yolo

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/detector_fixtures.py")))
torch_given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
TRAIN, VAL = given.scenes(48, seed=1), given.scenes(24, seed=2)
AUGMENT = {"flip": True, "rotate_degrees": 10.0, "scale": 0.1, "shift": 0.1, "brightness": 0.2}


def make(architecture: str = "yolo11n", channels: int = 3) -> Any:
    given.need_ultralytics()
    torch.manual_seed(0)
    return build("yolo", {"architecture": architecture, "weights": None}, 3, channels, 64, 64)


def fit(folder: Path, module: Any = None, seed: int = 0, on_epoch: Any = lambda row: None, **changes: Any) -> Any:
    """Train, and remove the checkpoint as a stage does unless `keep`."""
    keep = changes.pop("keep", False)
    settings = given.yolo_settings(AUGMENT, **changes)
    checkpoint = folder / "checkpoint.pt"
    module, _, history = yolo(
        module or make(),
        TRAIN,
        VAL,
        settings=settings,
        seed=seed,
        precision="fp32",
        checkpoint=checkpoint,
        threads=1,
        on_epoch=on_epoch,
    )
    if not keep:
        checkpoint.unlink()
    return module, history


def digest(module: Any) -> str:
    return torch_given.digest(b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values()))


def killed_in(epoch: int) -> Any:
    """An on_epoch that ends the training as a kill would, before that epoch is saved."""

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    return kill


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["yolo11n", "yolo26n"])
def test_the_same_bytes_twice_and_after_a_kill(architecture: str, tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    first, history = fit(tmp_path, make(architecture), epochs=3, on_epoch=rows.append)
    assert [list(row) for row in history] == [["epoch", "learning_rate", "train_loss", "val_map50", "val_top1"]] * 3
    assert [row["epoch"] for row in rows] == [1, 2, 3] and all(row["images_per_second"] > 0 for row in rows)
    assert next(first.parameters()).dtype == torch.float32 and not first.training

    again, repeated = fit(tmp_path, make(architecture), epochs=3)
    assert digest(again) == digest(first) and repeated == history

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, make(architecture), epochs=3, on_epoch=killed_in(3))
    rows.clear()
    resumed, whole = fit(tmp_path, make(architecture), epochs=3, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [3]
    assert digest(resumed) == digest(first) and whole == history

    other, _ = fit(tmp_path, make(architecture), seed=1, epochs=3)
    assert digest(other) != digest(first)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["yolo11n", "yolo26n"])
def test_a_training_learns(architecture: str, tmp_path: Path) -> None:
    _, history = fit(tmp_path, make(architecture), epochs=12)
    losses = [row["train_loss"] for row in history]
    # One epoch of three batches may lie four hundredths above the one before it; a mean of four does not.
    assert np.mean(losses[-4:]) < 0.97 * np.mean(losses[:4])


@pytest.mark.slow
def test_a_finished_training_is_not_continued(tmp_path: Path) -> None:
    first, history = fit(tmp_path, keep=True)
    rows: list[Any] = []
    again, repeated = fit(tmp_path, on_epoch=rows.append)
    assert not rows and repeated == history and digest(again) == digest(first)


@pytest.mark.slow
def test_frozen_parts_keep_their_values(tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in make().state_dict().items()}
    module, _ = fit(tmp_path, freeze=["network.model.0", "network.model.1"], optimizer="adamw", learning_rate=0.001)
    frozen = ("network.model.0.", "network.model.1.")
    for name, tensor in module.state_dict().items():
        if name.startswith(frozen):
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(
        module.state_dict()["network.model.2.cv1.conv.weight"], before["network.model.2.cv1.conv.weight"]
    )


@pytest.mark.slow
def test_class_weights_change_the_training(tmp_path: Path) -> None:
    keep = np.flatnonzero((TRAIN.labels != 2) | (np.arange(len(TRAIN)) < 6))
    fields = {name: getattr(TRAIN, name)[keep] for name in ("images", "labels", "boxes", "leaked", "streams")}
    rare = type(TRAIN)(**fields, ids=[TRAIN.ids[number] for number in keep], classes=TRAIN.classes)
    found = []
    for balance in ("none", "weights"):
        settings = given.yolo_settings(epochs=1, balance=balance)
        options: dict[str, Any] = {
            "settings": settings,
            "seed": 0,
            "checkpoint": tmp_path / f"{balance}.pt",
            "threads": 1,
            "precision": "fp32",
        }
        found.append(digest(yolo(make(), rare, VAL, **options)[0]))
    assert found[0] != found[1]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_one_line(tmp_path: Path) -> None:
    module = make()
    torch.nn.init.constant_(module.network.model[0].conv.weight, float("inf"))
    with pytest.raises(EdgemotionError, match=r"no longer finite in epoch 1; lower train\.learning_rate \(0\.01\)"):
        fit(tmp_path, module)


@pytest.mark.slow
def test_a_value_that_ultralytics_refuses_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"train: ultralytics refuses .*lr0=30\.0") as caught:
        fit(tmp_path, learning_rate=30.0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "augment", "expected"),
    [
        ({"label_smoothing": 0.1}, {}, r"train\.label_smoothing is 0\.1"),
        ({"balance": "sampling"}, {}, r"train\.balance is 'sampling'; .* none, weights"),
        ({"optimizer": "lion"}, {}, r"train\.optimizer is 'lion'; .* sgd, adamw"),
        ({}, {"contrast": 0.2}, r"train\.augment\.contrast is 0\.2"),
        ({}, {"erase_probability": 0.5}, r"train\.augment\.erase_probability is 0\.5"),
    ],
)
def test_drops_no_setting_in_silence(changes: Any, augment: Any, expected: str, tmp_path: Path) -> None:
    settings = given.yolo_settings(augment, **changes)
    options: dict[str, Any] = {
        "settings": settings,
        "seed": 0,
        "checkpoint": tmp_path / "c.pt",
        "threads": 1,
        "precision": "fp32",
    }
    with pytest.raises(EdgemotionError, match=expected):
        yolo(given.tiny_network().module, TRAIN, VAL, **options)


def test_refuses_what_ultralytics_cannot_train(tmp_path: Path) -> None:
    gray = given.scenes(3, channels=1)
    options: dict[str, Any] = {"seed": 0, "checkpoint": tmp_path / "c.pt", "threads": 1, "precision": "fp32"}
    with pytest.raises(EdgemotionError, match=r"brightness is 0\.2, which .* for colour images"):
        settings = given.yolo_settings({"brightness": 0.2})
        yolo(given.tiny_network().module, gray, gray, settings=settings, **options)
    narrow = type(gray)(**{**vars(gray), "images": gray.images[:, :, :32]})
    with pytest.raises(EdgemotionError, match=r"data\.height is 64, data\.width 32; .* square"):
        yolo(given.tiny_network().module, narrow, narrow, settings=given.yolo_settings(), **options)
    with pytest.raises(EdgemotionError, match=r"model\.precision is 'bf16'; a YOLO is trained in fp32"):
        yolo(
            given.tiny_network().module, TRAIN, VAL, settings=given.yolo_settings(), **{**options, "precision": "bf16"}
        )
    with pytest.raises(EdgemotionError, match="a TinyDetector, is no YOLO detector; use train=default"):
        yolo(given.tiny_network().module, TRAIN, VAL, settings=given.yolo_settings(), **options)


ALONE = """
import os, runpy, socket, subprocess, sys
from pathlib import Path
from types import SimpleNamespace

def refuse(name):
    def called(*args, **keywords):
        print("refused", name, args[1:] if name == "connect" else args, file=sys.stderr)
        os._exit(3)
    return called

for owner, name in [
    (socket.socket, "connect"), (socket.socket, "connect_ex"), (socket, "getaddrinfo"), (socket, "create_connection"),
    (socket, "gethostbyname"), (os, "system"), (os, "fork"),
]:
    setattr(owner, name, refuse(name))

# ctypes asks it where the C library lies, by the first of these and, in Python 3.14, that by the second.
ALLOWED = ["/sbin/ldconfig", "-p"]

class Popen(subprocess.Popen):
    def __init__(self, command, *args, **keywords):
        if command != ALLOWED:
            refuse("Popen")(command)
        super().__init__(command, *args, **keywords)

def posix_spawn(path, command, *args, spawn=os.posix_spawn, **keywords):
    return spawn(path, command, *args, **keywords) if command == ALLOWED else refuse("posix_spawn")(command)

subprocess.Popen, os.posix_spawn = Popen, posix_spawn

import numpy as np, torch
root = Path(sys.argv[1])
given = SimpleNamespace(**runpy.run_path(str(root / "tests/detector_fixtures.py")))
from edgemotion import registry
from edgemotion.compression.export import measure_parity, to_onnx
from dataclasses import replace
from edgemotion.compression.onnx_file import write_variant
from edgemotion.compression.quantization import Job
from edgemotion.networks.network import Network, build, load, save
from edgemotion.runtime import Detector
from edgemotion.runtime.variant import load_variant
from edgemotion.training.yolo import yolo

train, val = given.scenes(24, seed=1), given.scenes(12, seed=2)
args = {"architecture": "yolo11n", "weights": None}
module = build("yolo", args, 3, 3, 64, 64)
module, (mean, std), history = yolo(
    module, train, val, settings=given.yolo_settings(epochs=1), precision="fp32", seed=0, checkpoint=Path("ck/c.pt"),
    threads=1, on_epoch=print,
)
network = Network(module, "yolo", args, val.classes, 64, 64, 3, mean, std, None, "train", {}, {})
save("out/fp32", network, history)
model = to_onnx(load("out/fp32"))
print(measure_parity(network, model, val.images, 1))
size = {"height": 64, "width": 64, "channels": 3}
info = {"name": "fp32", "task": "detect", "classes": val.classes, "input": size}
write_variant(Path("out/variant"), model, info, (val.images, val.labels), 1)
static = {"calibration_images": 300, "calibration_methods": ["minmax"], "per_channel": [True], "float_layers": []}
many = replace(train, images=np.tile(train.images, (13, 1, 1, 1)))
job = Job(load_variant("out/variant"), many, val, given.yolo_settings(), 0, 1, 1.0)
registry.call("quantize", "static", job, args=static)
Detector("out/variant").detect(val.images[0])
"""


@pytest.mark.slow
def test_no_connection_no_installer_and_nothing_left(tmp_path: Path) -> None:
    given.need_ultralytics()
    places = {name: tmp_path / name for name in ("home", "work", "temporary")}
    for place in places.values():
        place.mkdir()
    cleared = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "XDG_", "PYTEST_"))}
    environment = {
        **cleared,
        "HOME": str(places["home"]),
        "TMPDIR": str(places["temporary"]),
        # Matplotlib keeps its list of fonts there, which is not ultralytics' doing.
        "MPLCONFIGDIR": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(ROOT)], cwd=places["work"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    left = {name: sorted(str(path.relative_to(place)) for path in place.rglob("*")) for name, place in places.items()}
    assert left["home"] == [] and left["temporary"] == []
    assert [name for name in left["work"] if not name.startswith("out")] == ["ck", "ck/c.pt"]
