import json

import numpy as np
import pytest

from edgemotion.measure.accuracy import evaluate, top1

CLASSES = ["angry", "happy", "sad"]
# True:      a  a  a  a  h  h  h  s  s  s
# Predicted: a  a  a  h  h  h  s  s  s  s
TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
LEAKED = np.array([1, 0, 0, 0, 1, 0, 0, 0, 0, 0], bool)


def sure(predicted: np.ndarray, classes: int = 3) -> np.ndarray:
    return np.eye(classes)[predicted]


def test_a_hand_example() -> None:
    found = evaluate(sure(PREDICTED), TRUE, LEAKED, CLASSES)
    assert (found["n"], found["top1"]) == (10, 0.8)
    assert found["confusion"] == [[3, 1, 0], [0, 2, 1], [0, 0, 3]]
    assert found["per_class"] == {"angry": 0.75, "happy": 0.666667, "sad": 1.0}
    # F1 = 2 TP / (2 TP + FP + FN): 6/7, 4/6 and 6/7.
    assert found["macro_f1"] == pytest.approx((6 / 7 + 4 / 6 + 6 / 7) / 3, abs=1e-6)
    # Certain everywhere and right in 8 of 10.
    assert found["ece"] == pytest.approx(0.2)
    assert (found["leak_free"]["n"], found["leak_free"]["top1"]) == (8, 0.75)
    assert found["leaked"] == top1(np.array([True, True]))


def test_the_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662, and 0 of 20 gives 0 to 0.1611.
    found = top1(np.arange(263) < 81)
    assert found["top1_ci"] == pytest.approx([0.2553, 0.3662], abs=5e-5)
    assert top1(np.zeros(20, bool))["top1_ci"] == pytest.approx([0, 0.1611], abs=5e-5)


def test_a_split_that_is_all_leaked_has_no_leak_free_accuracy() -> None:
    found = evaluate(sure(PREDICTED), TRUE, np.ones(10, bool), CLASSES)
    assert found["leak_free"] == {"n": 0, "top1": None, "top1_ci": None}
    assert (found["leaked"]["n"], found["leaked"]["top1"]) == (10, 0.8)


def test_a_class_without_images_counts_as_zero() -> None:
    found = evaluate(sure(PREDICTED, 4), TRUE, LEAKED, [*CLASSES, "fear"])
    assert found["per_class"]["fear"] == 0
    assert found["macro_f1"] == pytest.approx((6 / 7 + 4 / 6 + 6 / 7) / 4, abs=1e-6)
    assert np.shape(found["confusion"]) == (4, 4)


def test_the_report_is_plain_json() -> None:
    found = evaluate(sure(PREDICTED).astype(np.float32), TRUE, LEAKED, CLASSES)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
