"""The measuring stages on variants whose answers are known: class = nearest of three brightness levels."""

import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from edgemotion.datasets.splits import Split, whole_boxes, write_split
from edgemotion.errors import EdgemotionError
from edgemotion.measure.detection import evaluate_detections
from edgemotion.runtime.detector import Detector, validation_boxes
from edgemotion.settings import Settings, load
from edgemotion.stages import evaluate, profile, robustness, temporal

ROOT = Path(__file__).parents[2]
OVERRIDES = ["profile.rounds=40", "profile.warmup=2", "profile.cold_starts=1", "temporal.frames=300", "threads=1"]


def settings_of(*overrides: str, item: str = "fp32") -> Settings:
    """The settings of configs/ with overrides."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        settings = load(compose("config", [*OVERRIDES, *overrides]))
    settings.item = item
    return settings


def run(stage: Any, settings: Settings) -> None:
    """Run a stage's body in this process."""
    inspect.unwrap(stage.main)(settings)


def split_of(labels: list[int], wrong: int = 0, streams: list[int] | None = None, noise: int = 0) -> Split:
    """Plain images of their class's brightness; the first `wrong` ones show the next class, and are leaked."""
    truth = np.array(labels, np.int64)
    shown = truth.copy()
    shown[:wrong] = (shown[:wrong] + 1) % 3
    images = np.clip(np.array([0, 128, 255])[shown], 0, 255).astype(np.float64)[:, None, None, None]
    # The whole image wanders, so that the nearest level is now and then another one.
    images = images + noise * np.random.default_rng(0).standard_normal((len(truth), 1, 1, 1)) + np.zeros((1, 8, 8, 1))
    return Split(
        images=np.clip(images, 0, 255).astype(np.uint8),
        labels=truth,
        ids=[f"{index}.png" for index in range(len(truth))],
        leaked=np.arange(len(truth)) < wrong,
        streams=np.array(streams if streams is not None else np.zeros(len(truth)), np.int64),
        boxes=whole_boxes(len(truth)),
        classes=["dark", "middle", "bright"],
    )


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_variant: Callable[..., Path]) -> Path:
    """A working directory with two variants and the prepared splits, no recorded streams."""
    monkeypatch.chdir(tmp_path)
    make_variant(Path("models/variants/fp32"))
    make_variant(Path("models/variants/int8_static"), name="int8_static", sharpness=5.0)
    write_split("data/prepared/test", split_of([0, 1, 2] * 20, wrong=6))
    write_split("data/prepared/val", split_of([0, 1, 2, 1], wrong=1))
    write_split("data/prepared/streams", split_of([]))
    return tmp_path


def read(path: str) -> Any:
    return json.loads(Path(path).read_text())


def size_of(path: str) -> tuple[int, int]:
    height, width = cv2.imread(path).shape[:2]
    return height, width


def test_evaluate_reports_what_is_known(workspace: Path) -> None:
    run(evaluate, settings_of())
    report = read("reports/evaluate/fp32.json")
    assert (report["variant"], report["split"], report["n"], report["top1"]) == ("fp32", "test", 60, 0.9)
    assert report["top1_ci"][0] < 0.9 < report["top1_ci"][1]
    # Of the four val images the bright one is surest; the three that look middle, one of them wrong, follow alike.
    assert (report["certain"]["accuracy"], report["certain"]["coverage"]) == (1.0, 0.25)
    # The six wrong images are the leaked ones.
    assert (report["leak_free"]["n"], report["leak_free"]["top1"]) == (54, 1.0)
    assert (report["leaked"]["n"], report["leaked"]["top1"]) == (6, 0.0)
    assert (report["val"]["n"], report["val"]["top1"]) == (4, 0.75)
    assert report["val"]["per_class"] == {"dark": 0.0, "middle": 1.0, "bright": 1.0}
    assert report["confusion"] == [[18, 2, 0], [0, 18, 2], [2, 0, 18]]
    assert report["per_class"] == {"dark": 0.9, "middle": 0.9, "bright": 0.9}
    info = read("models/variants/fp32/model_info.json")
    assert (report["size_bytes"], report["macs"]) == (info["size_bytes"], info["macs"])
    predictions = np.load("reports/predictions/fp32.npy")
    assert predictions.dtype == np.int16
    assert predictions.tolist() == [1, 2, 0, 1, 2, 0] + [0, 1, 2] * 18
    assert min(size_of("reports/figures/confusion/fp32.png")) > 300


def detect_with(folder: Path) -> None:
    """Make a detector of a variant: one candidate an image, all of it, with the probabilities as its scores."""
    model = onnx.load(folder / "model.onnx")
    for name, value in (("axis", np.array([1])), ("none", np.float32(0)), ("whole", np.float32([[[0, 0, 1, 1]]]))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    for kind, inputs, output, options in (
        ("Unsqueeze", ["probabilities", "axis"], "scores", {}),
        ("ReduceMax", ["scores"], "best", {"axes": [2]}),
        ("Mul", ["best", "none"], "zero", {}),
        ("Add", ["zero", "whole"], "boxes", {}),
    ):
        model.graph.node.append(onnx.helper.make_node(kind, inputs, [output], **options))
    for name, shape in (("boxes", ["N", 1, 4]), ("scores", ["N", 1, 3])):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    # ReduceMax takes its axes as an attribute up to opset 17.
    model.opset_import[0].version = 17
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    info = json.loads((folder / "model_info.json").read_text())
    info |= {"task": "detect", "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "model_info.json").write_text(json.dumps(info))


def test_evaluate_adds_the_precision_of_a_detector(workspace: Path) -> None:
    test = split_of([0, 0, 0, 1, 2, 2, 1] * 10, wrong=23)
    write_split("data/prepared/test", test)
    detect_with(Path("models/variants/fp32"))
    run(evaluate, settings_of())
    report = read("reports/evaluate/fp32.json")
    assert (report["n"], report["top1"]) == (70, round(47 / 70, 6))
    detections = validation_boxes(*Detector("models/variants/fp32").run(test.images))
    expected = evaluate_detections(detections, test.boxes, test.labels, test.classes)
    assert 0.1 < report["map50"] < 0.9
    assert {key: report[key] for key in ("map50", "map50_95")} != {key: expected[key] for key in ("map50", "map50_95")}
    assert [report["map50"], report["map50_95"]] == [round(expected[key], 6) for key in ("map50", "map50_95")]
    assert report["per_class_ap50"] == {name: round(value, 6) for name, value in expected["per_class_ap50"].items()}


def test_evaluate_repeats_byte_for_byte(workspace: Path) -> None:
    contents = []
    for _ in range(2):
        run(evaluate, settings_of())
        contents.append([path.read_bytes() for path in sorted(Path("reports").rglob("*.*"))])
    assert len(contents[0]) == 3
    assert contents[0] == contents[1]


@pytest.mark.parametrize("stage", [evaluate, robustness, temporal, profile])
def test_a_dataset_of_other_classes_is_refused(workspace: Path, stage: Any) -> None:
    for name in ("test", "val", "streams"):
        write_split(f"data/prepared/{name}", replace(split_of([0, 1, 2] * 4), classes=["dark", "middle", "gray"]))
    with pytest.raises(EdgemotionError, match=r"gray too many and lacks the classes bright; prepare the dataset"):
        run(stage, settings_of("variants=[fp32,int8_static]"))


def test_robustness_scores_every_scenario(workspace: Path) -> None:
    run(robustness, settings_of())
    report = read("reports/robustness/fp32.json")
    assert list(report["scenarios"]) == ["clean", "gaussian_0.10", "blur_k5", "occlusion_25", "bright_1.4"]
    top1 = {name: found["top1"] for name, found in report["scenarios"].items()}
    # Blur keeps the brightness of plain images; 1.4 * 128 = 179 is nearer to 128 than to 255, but
    # a quarter at 128 leaves dark and bright images nearest to their own level too.
    assert top1["clean"] == top1["blur_k5"] == top1["bright_1.4"] == top1["occlusion_25"] == 0.9
    assert (report["n"], report["split"]) == (60, "test")


def test_a_stronger_corruption_breaks_what_it_should(workspace: Path) -> None:
    scenarios = "robustness.scenarios=[{name: x, corruption: brightness, args: {factor: 1.6}}]"
    run(robustness, settings_of(scenarios))
    # 1.6 * 128 = 205 is nearest to 255: the 18 middle images shown as such are lost, and 2 bright ones shown
    # as dark stay wrong; 2 dark ones shown as middle and 2 middle ones shown as bright stay wrong too.
    assert read("reports/robustness/fp32.json")["scenarios"]["x"]["top1"] == pytest.approx(36 / 60)


def test_corrupted_pixels_are_the_same_beside_other_scenarios(workspace: Path) -> None:
    noise = "{name: noise, corruption: gaussian_noise, args: {std: 3.0}}"
    found = []
    for scenarios in (f"[{noise}]", f"[{{name: o, corruption: occlusion, args: {{area: 0.5}}}}, {noise}]"):
        run(robustness, settings_of(f"robustness.scenarios={scenarios}"))
        found.append(read("reports/robustness/fp32.json")["scenarios"]["noise"])
    assert found[0] == found[1]


def test_temporal_draws_streams_from_test(workspace: Path) -> None:
    write_split("data/prepared/test", split_of([0, 1, 2] * 200, noise=70))
    run(temporal, settings_of("temporal.process_noise=0.001"))
    report = read("reports/temporal/fp32.json")
    assert (report["source"], report["streams"], report["frames"]) == ("sampled", 1, 300)
    assert report["smoothed"]["flips_per_frame"] < 0.5 * report["raw"]["flips_per_frame"]
    assert report["smoothed"]["top1"] > report["raw"]["top1"]
    assert report["filter"] == {"process_noise": 0.001, "measurement_noise": 0.05}
    assert min(size_of("reports/figures/temporal/fp32.png")) > 300


def test_temporal_restarts_the_filter_for_each_recording(workspace: Path) -> None:
    # Two recordings of one frame class each: without a restart the second would begin as the first ended.
    write_split("data/prepared/streams", split_of([0] * 50 + [2] * 5, streams=[0] * 50 + [1] * 5))
    run(temporal, settings_of())
    report = read("reports/temporal/fp32.json")
    assert (report["source"], report["streams"], report["frames"]) == ("recorded", 2, 55)
    assert report["raw"] == report["smoothed"] == {"top1": 1.0, "flips_per_frame": 0.0}


def test_recordings_out_of_order_keep_their_own_frames(workspace: Path) -> None:
    labels, streams = [0] * 30 + [2] * 30 + [1] * 30, [10] * 30 + [2] * 30 + [10] * 30
    write_split("data/prepared/streams", split_of(labels, streams=streams))
    run(temporal, settings_of())
    smoothed = read("reports/temporal/fp32.json")["smoothed"]
    assert smoothed["top1"] > 0.9


def test_profile_measures_all_variants(workspace: Path) -> None:
    run(profile, settings_of("variants=[fp32,int8_static]", "profile.batches=[1,8]"))
    report = read("reports/profile.json")
    assert list(report) == ["environment", "protocol", "variants"]
    assert report["environment"]["threads"] == 1
    assert {**report["protocol"], "note": ""} == {
        "rounds": 40,
        "warmup": 2,
        "threads": 1,
        "interleaved": True,
        "note": "",
    }
    assert "ratios" in report["protocol"]["note"]
    assert list(report["variants"]) == ["fp32", "int8_static"]
    for found in report["variants"].values():
        assert 0 < found["p50_ms"] <= found["p90_ms"] <= found["p95_ms"] <= found["p99_ms"]
        assert list(found["throughput"]) == ["1", "8"] and min(found["throughput"].values()) > 0
        assert found["cold_start_ms"] > found["p50_ms"] and found["peak_memory_mb"] > 20
        assert found["speedup_ci"][0] <= found["speedup"] <= found["speedup_ci"][1]
    assert (report["variants"]["fp32"]["speedup"], report["variants"]["fp32"]["speedup_ci"]) == (1, [1, 1])


def test_a_damaged_variant_ends_the_command_in_one_line(workspace: Path) -> None:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        OmegaConf.save(compose("config"), "params.yaml", resolve=True)
    with Path("models/variants/fp32/model.onnx").open("ab") as stream:
        stream.write(b"x")
    command = [sys.executable, "-m", "edgemotion.stages.evaluate", "+item=fp32"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: models/variants/fp32/model.onnx has the SHA-256")
    assert done.stderr.count("\n") == 1
    assert not Path("reports").exists() and not Path("outputs").exists()
