"""Average precision by hand, and the same as ultralytics' own on random boxes and on a trained detector."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgemotion.measure.detection import evaluate_detections, match
from edgemotion.runtime.detector import Boxes, validation_boxes

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "detector_fixtures.py")))
WHOLE = np.array([0.0, 0.0, 1.0, 1.0], np.float32)


def boxes_of(*rows: tuple[float, int, float]) -> Boxes:
    """One detection for each (score, label, overlap with WHOLE)."""
    scores, labels, shares = (np.array(column) for column in zip(*rows, strict=True))
    boxes = np.array([(0, 0, share, 1) for share in shares], np.float32).reshape(-1, 4)
    return Boxes(boxes, scores.astype(np.float32), labels.astype(np.int64))


def empty() -> Boxes:
    return Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def evaluate(detections: list[Boxes], labels: list[int]) -> dict[str, Any]:
    return evaluate_detections(detections, np.tile(WHOLE, (len(labels), 1)), np.array(labels), ["a", "b", "c"])


def test_perfect_boxes_score_as_ultralytics_has_it() -> None:
    found = evaluate([boxes_of((0.9, 0, 1.0)), boxes_of((0.8, 1, 1.0))], [0, 1])
    # Its curve falls to zero at recall 1, which takes half of the last of 100 trapezoids.
    assert found["map50"] == pytest.approx(0.995) and found["map50_95"] == pytest.approx(0.995)
    assert list(found["per_class_ap50"]) == ["a", "b"]


def test_a_class_without_boxes_scores_zero() -> None:
    found = evaluate([boxes_of((0.9, 0, 1.0)), empty()], [0, 2])
    assert found["per_class_ap50"]["c"] == 0.0
    assert found["map50"] == pytest.approx(found["per_class_ap50"]["a"] / 2)
    assert evaluate([empty()], [1]) == {"map50": 0.0, "map50_95": 0.0, "per_class_ap50": {"b": 0.0}}


def test_a_wrong_class_or_too_little_overlap_is_no_hit() -> None:
    assert evaluate([boxes_of((0.9, 1, 1.0))], [0])["map50"] == 0.0
    assert evaluate([boxes_of((0.9, 0, 0.49))], [0])["map50"] == 0.0
    found = evaluate([boxes_of((0.9, 0, 0.72))], [0])
    # An overlap of 0.72 reaches five of the ten thresholds 0.50 to 0.95.
    assert found["map50_95"] == pytest.approx(found["map50"] / 2)


def test_the_true_box_is_hit_once_and_by_the_best_score() -> None:
    hits = match(boxes_of((0.9, 0, 0.6), (0.8, 0, 0.9)), WHOLE, 0)
    assert hits[:, 0].tolist() == [True, False]
    # At 0.65 the first no longer overlaps enough, so the second is the hit.
    assert hits[:, 3].tolist() == [False, True] and hits.sum(0).max() == 1


def test_half_of_the_recall_is_worth_half() -> None:
    found = evaluate([boxes_of((0.9, 0, 1.0)), boxes_of((0.8, 1, 1.0))], [0, 0])
    # Precision 1 below recall 0.5 and 0 from there: of 100 trapezoids 49 whole and one half.
    assert found["map50"] == pytest.approx(0.495)


def test_boxes_count_by_score_and_a_false_one_at_their_head_costs_precision() -> None:
    found = evaluate([boxes_of((0.5, 0, 1.0)), boxes_of((0.9, 0, 0.1)), boxes_of((0.8, 0, 1.0))], [0, 0, 0])
    # By score: false, true, true. The precision is 1/2 and then 2/3, which holds for the lower recall too.
    assert found["map50"] == pytest.approx(2 / 3 * 2 / 3, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_equals_ultralytics_on_random_boxes(seed: int) -> None:
    import torch

    given.need_ultralytics()
    from edgemotion.networks.yolo import import_ultralytics

    import_ultralytics()
    from ultralytics.models.yolo.detect import DetectionValidator
    from ultralytics.utils.metrics import ap_per_class

    rng = np.random.default_rng(seed)
    count, classes = 60, ["a", "b", "c", "d"]
    truth = np.concatenate([rng.random((count, 2)) * 0.4, 0.5 + rng.random((count, 2)) * 0.4], 1).astype(np.float32)
    labels = rng.integers(0, 3, count)
    detections = []
    for box in truth:
        number = int(rng.integers(0, 9))
        boxes = (box + rng.normal(0, 0.05, (number, 4))).astype(np.float32)
        scores = np.sort(rng.random(number).astype(np.float32))[::-1]
        detections.append(Boxes(boxes, scores, rng.integers(0, 4, number)))
    validator, hits = DetectionValidator(), []
    for found, box, label in zip(detections, truth, labels, strict=True):
        predicted = {"cls": torch.from_numpy(found.labels), "bboxes": torch.from_numpy(found.boxes)}
        target = {"cls": torch.tensor([label]), "bboxes": torch.from_numpy(box[None])}
        hits.append(validator._process_batch(predicted, target)["tp"])
    scores, predicted = (np.concatenate([getattr(f, name) for f in detections]) for name in ("scores", "labels"))
    expected = ap_per_class(np.concatenate(hits), scores, predicted, labels)[5]
    found = evaluate_detections(detections, truth, labels, classes)
    assert 0.05 < expected.mean() < 0.95
    assert found["map50_95"] == pytest.approx(expected.mean(), abs=1e-6)
    np.testing.assert_allclose(list(found["per_class_ap50"].values()), expected[:, 0], atol=1e-6)


@pytest.mark.slow
def test_equals_ultralytics_validator_on_a_trained_detector(tmp_path: Path) -> None:
    import torch

    given.need_ultralytics()
    from edgemotion.networks.network import build
    from edgemotion.networks.yolo import import_ultralytics
    from edgemotion.training.yolo import yolo

    import_ultralytics()
    from ultralytics.models.yolo.detect import DetectionValidator

    torch.manual_seed(0)
    module = build("yolo", {"architecture": "yolo11n", "weights": None}, 3, 3, 64, 64)
    settings = given.yolo_settings(epochs=6, optimizer="adamw", learning_rate=0.002, ema_decay=0.9)
    val = given.scenes(90, seed=2)
    module, _, _ = yolo(
        module,
        given.scenes(240, seed=1),
        val,
        settings=settings,
        precision="fp32",
        seed=0,
        checkpoint=tmp_path / "c.pt",
        threads=1,
    )

    with torch.no_grad():
        images = torch.from_numpy(val.images).permute(0, 3, 1, 2).float() / 255
        boxes, logits = (part.numpy() for part in module.detect(images))
        best = module(images).argmax(1).numpy()
    detections = validation_boxes(boxes, 1 / (1 + np.exp(-logits)))
    found = evaluate_detections(detections, val.boxes, val.labels, val.classes)

    for name in ("images", "labels"):
        (tmp_path / name / "val").mkdir(parents=True)
    for number, (image, label, box) in enumerate(zip(val.images, val.labels, val.boxes, strict=True)):
        cv2.imwrite(str(tmp_path / f"images/val/{number:03d}.png"), image[:, :, ::-1])
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        row = " ".join(f"{value:.7f}" for value in (*centre, *size))
        (tmp_path / f"labels/val/{number:03d}.txt").write_text(f"{label} {row}\n")
    (tmp_path / "data.yaml").write_text(
        f"path: {tmp_path}\ntrain: images/val\nval: images/val\nnames: [{', '.join(val.classes)}]\n"
    )
    options = {"task": "detect", "data": str(tmp_path / "data.yaml"), "imgsz": 64, "rect": False, "batch": 16}
    options |= {"plots": False, "device": "cpu", "workers": 0, "project": str(tmp_path), "name": "val"}
    module.network.names = dict(enumerate(val.classes))
    theirs = DetectionValidator(args=options)(model=module.network)
    # A detector that finds nothing would agree whatever we did.
    assert theirs["metrics/mAP50(B)"] > 0.1
    assert found["map50"] == pytest.approx(theirs["metrics/mAP50(B)"], abs=0.005)
    assert found["map50_95"] == pytest.approx(theirs["metrics/mAP50-95(B)"], abs=0.005)
    # Top-1 of the best box: by the logits of the module, and by the first of the boxes that are left.
    assert [boxes.labels[0] for boxes in detections] == best.tolist()
