"""YOLO networks: boxes as ultralytics itself decodes them, weights from a checkpoint, and what is refused."""

import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import Network, build, load, save
from edgemotion.networks.yolo import import_ultralytics

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "detector_fixtures.py")))
DETECTORS = ["yolo11n", "yolo26n", "yolov8n"]
CLASSES = ["a", "b", "c"]


def make(architecture: str, classes: int = 3, channels: int = 3, size: int = 64, weights: str | None = None) -> Any:
    """A network whose BatchNorm statistics have seen images, so that its answers vary."""
    given.need_ultralytics()
    torch.manual_seed(0)
    args = {"architecture": architecture, "weights": weights}
    module = build("yolo", args, classes, channels, size, size).train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.rand(8, channels, size, size))
    return module.eval()


def refused(args: dict[str, Any], height: int = 64, width: int = 64) -> str:
    given.need_ultralytics()
    with pytest.raises(EdgemotionError) as caught:
        build("yolo", {"weights": None, **args}, 3, 3, height, width)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_the_extra_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(EdgemotionError, match="not installed; run `uv sync --extra yolo`"):
        build("yolo", {"architecture": "yolo11n", "weights": None}, 3, 3, 64, 64)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("architecture", DETECTORS)
def test_boxes_are_those_that_ultralytics_decodes(architecture: str, channels: int) -> None:
    module = make(architecture, channels=channels)
    images = torch.rand(2, channels, 64, 96)
    module = type(module)(module.network, 64, 96)
    with torch.no_grad():
        boxes, logits = module.detect(images)
        theirs = module.network(images)[0].transpose(1, 2)
    assert boxes.shape == (2, 126, 4) and logits.shape == (2, 126, 3)
    centre, size = (theirs[..., part] / torch.tensor([96, 64]) for part in (slice(0, 2), slice(2, 4)))
    torch.testing.assert_close(boxes, torch.cat([centre - size / 2, centre + size / 2], 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(logits.sigmoid(), theirs[..., 4:], rtol=0, atol=1e-5)
    assert logits.std() > 1e-3


@pytest.mark.slow
def test_a_detector_classifies_by_its_best_box() -> None:
    module, images = make("yolo11n"), torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        answer, logits = module(images), module.detect(images)[1]
    for row, candidates in zip(answer, logits, strict=True):
        best = divmod(int(candidates.argmax()), 3)[0]
        assert torch.equal(row, candidates[best])
    # 8x8 positions: the finest of the strides 8, 16 and 32.
    seen: list[torch.Size] = []
    module.cam_layer.register_forward_hook(lambda layer, given, output: seen.append(output.shape[2:]))
    module(images)
    assert seen == [torch.Size([8, 8])]


@pytest.mark.slow
def test_a_classifier_gives_logits_in_training_and_evaluation() -> None:
    module, images = make("yolo11n-cls", channels=1, size=48), torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        logits, theirs = module(images), module.network(images)[0]
    torch.testing.assert_close(logits.softmax(1), theirs)
    assert module.train()(images).shape == (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [*DETECTORS, "yolo11n-cls"])
def test_comes_back_bitwise(architecture: str, tmp_path: Path) -> None:
    module = make(architecture, channels=1)
    args = {"architecture": architecture, "weights": "gone.pt"}
    network = Network(
        module, "yolo", args, CLASSES, 64, 64, 1, [0.0], [255.0],
        parent=None, method="train", settings={}, data_sha256={},
    )  # fmt: skip
    save(tmp_path / "fp32", network, [])
    loaded = load(tmp_path / "fp32").module
    torch.testing.assert_close(loaded.state_dict(), module.state_dict(), rtol=0, atol=0)
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images), module(images))


def checkpoint(path: Path, classes: int = 80, **entries: Any) -> str:
    """A .pt as ultralytics writes them: the whole module, in half precision."""
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(1)
    model = DetectionModel("yolo11n.yaml", ch=3, nc=classes, verbose=False).half()
    torch.save({"epoch": -1, "ema": None, "model": model, "train_args": {"lr0": 0.01}, **entries}, path)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_starts_from_a_checkpoint(channels: int, tmp_path: Path) -> None:
    given.need_ultralytics()
    path = checkpoint(tmp_path / "coco.pt")
    stored = torch.load(path, weights_only=False)["model"].float().state_dict()
    torch.manual_seed(2)
    found = build("yolo", {"architecture": "yolo11n", "weights": path}, 3, channels, 64, 64).network.state_dict()
    stem = stored.pop("model.0.conv.weight")
    torch.testing.assert_close(found.pop("model.0.conv.weight"), stem.sum(1, keepdim=True) if channels == 1 else stem)
    differing = {name for name, tensor in found.items() if not torch.equal(tensor, stored[name])}
    assert differing and all(".cv3." in name for name in differing)


@pytest.mark.slow
def test_names_a_checkpoint_of_another_architecture(tmp_path: Path) -> None:
    given.need_ultralytics()
    message = refused({"architecture": "yolov8n", "weights": checkpoint(tmp_path / "coco.pt")})
    assert f"{tmp_path}/coco.pt does not fit yolov8n: model." in message


class Intruder:
    """What a hostile file would bring: code that runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("intruded",))


@pytest.mark.slow
def test_runs_no_code_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given.need_ultralytics()
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Intruder()}, tmp_path / "hostile.pt")
    message = refused({"architecture": "yolo11n", "weights": "hostile.pt"})
    assert "hostile.pt names posix.mkdir" in message and "is not loaded" in message
    assert not (tmp_path / "intruded").exists()


@pytest.mark.slow
def test_names_a_checkpoint_that_cannot_be_read(tmp_path: Path) -> None:
    assert "absent.pt is missing" in refused({"architecture": "yolo11n", "weights": "absent.pt"})
    (tmp_path / "a.pt").write_bytes(b"no archive")
    assert "a.pt is no ultralytics checkpoint" in refused(
        {"architecture": "yolo11n", "weights": str(tmp_path / "a.pt")}
    )
    torch.save({"weight": torch.zeros(2)}, tmp_path / "b.pt")
    assert "b.pt is no ultralytics checkpoint" in refused(
        {"architecture": "yolo11n", "weights": str(tmp_path / "b.pt")}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("yolo99n", "ultralytics has no 'yolo99n'"), ("yolo11n-seg", "ends in Segment"), ("../yolo11n", "has no")],
)
def test_refuses_another_architecture(architecture: str, expected: str) -> None:
    assert expected in refused({"architecture": architecture})


@pytest.mark.slow
def test_refuses_sides_that_its_strides_do_not_divide() -> None:
    assert "data.height and data.width are 64 and 48; this detector needs multiples of 32" in refused(
        {"architecture": "yolo11n"}, 64, 48
    )
