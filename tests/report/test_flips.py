"""Flips by hand: one image of each kind, and the list that names them."""

import numpy as np

from edgemotion.report.flips import count_by_class, count_flips, list_flips

#                  right   lost  gained  other  wrong alike  lost
LABELS = np.array([0, 0, 1, 1, 2, 2])
FP32 = np.array([0, 0, 0, 0, 1, 2], np.int16)
OTHER = np.array([0, 2, 1, 2, 1, 0], np.int16)
CLASSES = ["angry", "happy", "sad"]


def test_flips_by_hand() -> None:
    assert count_flips(LABELS, FP32, OTHER) == {"lost": 2, "gained": 1, "changed": 4}
    assert count_flips(LABELS, OTHER, FP32) == {"lost": 1, "gained": 2, "changed": 4}
    assert count_flips(LABELS, FP32, FP32) == {"lost": 0, "gained": 0, "changed": 0}


def test_flips_count_by_true_class() -> None:
    assert count_by_class(LABELS, FP32, OTHER, [*CLASSES, "fear"]) == {
        "angry": {"lost": 1, "gained": 0, "changed": 1},
        "happy": {"lost": 0, "gained": 1, "changed": 2},
        "sad": {"lost": 1, "gained": 0, "changed": 1},
        "fear": {"lost": 0, "gained": 0, "changed": 0},
    }


def test_the_list_names_variant_image_and_classes() -> None:
    ids = [f"{number}.png" for number in range(6)]
    rows = list(list_flips(ids, LABELS, {"fp32": FP32, "same": FP32, "other": OTHER}, CLASSES))
    assert rows == [
        ("other", "1.png", "angry", "angry", "sad"),
        ("other", "2.png", "happy", "angry", "happy"),
        ("other", "3.png", "happy", "angry", "sad"),
        ("other", "5.png", "sad", "sad", "angry"),
    ]
