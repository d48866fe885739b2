"""A detection variant without torch: a graph whose boxes and scores are known by hand, and suppression by the book."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgemotion.errors import EdgemotionError
from edgemotion.runtime import Classifier, Detector
from edgemotion.runtime.detector import suppress, validation_boxes

# Two that overlap by 0.9, one apart, and one that reaches beyond the image.
BOXES = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.45], [0.5, 0.5, 0.75, 1], [0.8, -0.2, 1.2, 0.2]], np.float32)
SCORES = np.array([[0.9, 0.1], [0.8, 0.3], [0.05, 0.7], [0.4, 0.2]], np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A variant for 8x8 gray images: BOXES always, SCORES times the mean brightness of 0 to 1."""
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=1),
        helper.make_node("Div", ["mean", "white"], ["light"]),
        helper.make_node("Squeeze", ["light", "last"], ["factor"]),
        helper.make_node("Mul", ["factor", "all_scores"], ["scores"]),
        helper.make_node("Mul", ["factor", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "all_boxes"], ["boxes"]),
        helper.make_node("ReduceMax", ["scores", "anchors"], ["logits"], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = {
        "axes": np.array([1, 2, 3]),
        "last": np.array([3]),
        "anchors": np.array([1]),
        "white": np.float32(255),
        "nothing": np.float32(0),
        "all_scores": SCORES[None],
        "all_boxes": BOXES[None],
    }
    outputs = {"logits": ["N", 2], "probabilities": ["N", 2], "boxes": ["N", 4, 4], "scores": ["N", 4, 2]}
    graph = helper.make_graph(
        nodes,
        "boxes",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 8, 8, 1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    info = {
        "name": "fp32",
        "task": "detect",
        "classes": ["calm", "glad"],
        "input": {"height": 8, "width": 8, "channels": 1},
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    target = tmp_path / "fp32"
    target.mkdir()
    (target / "model.onnx").write_bytes(content)
    (target / "model_info.json").write_text(json.dumps(info))
    return target


def test_run_gives_all_candidates(folder: Path) -> None:
    images = np.stack([np.full((8, 8, 1), value, np.uint8) for value in (255, 0, 51)])
    boxes, scores = Detector(folder).run(images)
    assert boxes.dtype == scores.dtype == np.float32
    np.testing.assert_allclose(boxes, np.tile(BOXES, (3, 1, 1)))
    np.testing.assert_allclose(scores, SCORES * np.array([1, 0, 0.2])[:, None, None], rtol=1e-6)
    parts = Detector(folder, threads=2).run(images, batch_size=2)
    np.testing.assert_array_equal(parts[1], scores)
    assert [part.shape for part in Detector(folder).run(images[:0])] == [(0, 4, 4), (0, 4, 2)]


@pytest.mark.parametrize("shape", [(8, 8), (100, 200, 3), (30, 20, 1)])
def test_detect_answers_in_pixels_of_the_given_image(folder: Path, shape: tuple[int, ...]) -> None:
    found = Detector(folder).detect(np.full(shape, 255, np.uint8))
    height, width = shape[:2]
    assert [(face.label, round(face.score, 4)) for face in found] == [("calm", 0.9), ("glad", 0.7), ("calm", 0.4)]
    expected = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 0.75, 1], [0.8, 0, 1, 0.2]]) * (width, height, width, height)
    np.testing.assert_allclose([face.box for face in found], expected, rtol=1e-6)


def test_detect_keeps_what_it_is_told(folder: Path) -> None:
    detector, white = Detector(folder), np.full((8, 8), 255, np.uint8)
    assert [face.label for face in detector.detect(white, confidence=0.5)] == ["calm", "glad"]
    assert len(detector.detect(white, iou=0.95)) == 4
    assert len(detector.detect(white, max_detections=1)) == 1
    assert detector.detect(np.zeros((8, 8), np.uint8)) == []


def test_a_detection_variant_classifies_whole_images_too(folder: Path) -> None:
    assert Classifier(folder).predict(np.full((50, 40), 255, np.uint8)).label == "calm"


def test_refuses_a_classifier(tmp_path: Path, make_variant: Callable[..., Path]) -> None:
    with pytest.raises(EdgemotionError, match=r"fp32 holds a classifier of face crops.*runtime\.Classifier"):
        Detector(make_variant(tmp_path / "fp32"))


def test_refuses_other_images(folder: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"fp32 takes uint8 images \[N,8,8,1\], not float32"):
        Detector(folder).run(np.zeros((1, 8, 8, 1), np.float32))
    with pytest.raises(EdgemotionError, match="an image must be uint8"):
        Detector(folder).detect(np.zeros((8, 8, 2), np.uint8))


def by_the_book(boxes: np.ndarray, scores: np.ndarray, confidence: float, iou: float, multi: bool) -> list[tuple]:
    """Greedy suppression as its definition says, one pair after the other."""
    rows = [
        (scores[row, label], row, label)
        for row in range(len(boxes))
        for label in range(scores.shape[1])
        if scores[row, label] > confidence and (multi or label == scores[row].argmax())
    ]
    kept: list[tuple] = []
    for score, row, label in sorted(rows, key=lambda entry: -entry[0]):
        for _, other, same in kept:
            (ax, ay, bx, by), (cx, cy, dx, dy) = boxes[row].tolist(), boxes[other].tolist()
            shared = max(0.0, min(bx, dx) - max(ax, cx)) * max(0.0, min(by, dy) - max(ay, cy))
            if same == label and shared > iou * ((bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - shared):
                break
        else:
            kept.append((score, row, label))
    return kept


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 4), st.integers(0, 10**6), st.booleans(), st.sampled_from([0.3, 0.5, 0.7]))
def test_suppresses_by_the_book(count: int, classes: int, seed: int, multi: bool, iou: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.random((count, 2)) * 0.6
    boxes = np.concatenate([corner, corner + 0.1 + 0.3 * rng.random((count, 2))], 1).astype(np.float32)
    # No two alike, because the order of equal scores is nobody's promise.
    scores = (rng.permutation(count * classes) / max(1, count * classes)).astype(np.float32).reshape(count, classes)
    found = suppress(boxes, scores, 0.2, iou, multi_label=multi)
    expected = by_the_book(boxes, scores, 0.2, iou, multi)
    assert found.labels.tolist() == [label for _, _, label in expected]
    np.testing.assert_array_equal(found.scores, np.array([score for score, _, _ in expected], np.float32))
    np.testing.assert_array_equal(found.boxes, boxes[[row for _, row, _ in expected]].reshape(-1, 4))
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)


def test_validation_takes_every_class_of_a_box() -> None:
    found = validation_boxes(BOXES[None], SCORES[None])
    assert len(found) == 1
    # Of each class the second box goes, which the first overlaps by 0.9, but where its score is the better one.
    assert found[0].labels.tolist() == [0, 1, 0, 1, 1, 0]
    np.testing.assert_allclose(found[0].scores, [0.9, 0.7, 0.4, 0.3, 0.2, 0.05])
