import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemotion.measure.certainty import certain_from


def test_certainty_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.3, 0.7], [0.4, 0.6]])
    labels = np.array([0, 0, 1, 1, 0])
    # Right: yes, yes, no, yes, no. The two of 0.7 are taken together.
    assert certain_from(probabilities, labels, 1.0) == {"probability": 0.8, "accuracy": 1.0, "coverage": 0.4}
    assert certain_from(probabilities, labels, 0.75) == {"probability": 0.7, "accuracy": 0.75, "coverage": 0.8}
    assert certain_from(probabilities, labels, 0.6) == {"probability": 0.0, "accuracy": 0.6, "coverage": 1.0}
    assert certain_from(probabilities, 1 - labels, 0.9) == {"probability": 1.0, "accuracy": 0.0, "coverage": 0.0}


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0.1, 1))
def test_certain_images_are_right_often_enough(seed: int, count: int, accuracy: float) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), count).round(1)
    labels = rng.integers(3, size=count)
    found = certain_from(probabilities, labels, accuracy)
    chosen = probabilities.max(1) >= found["probability"]
    if found["coverage"]:
        right = (probabilities.argmax(1) == labels)[chosen]
        assert right.mean() == pytest.approx(found["accuracy"], abs=1e-6) and right.mean() >= accuracy
        assert chosen.mean() == pytest.approx(found["coverage"], abs=1e-6)


def test_the_threshold_leaves_out_no_image_that_it_counts() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7000006, 0.2999994], [0.6, 0.4]])
    found = certain_from(probabilities, np.array([0, 0, 1]), 1.0)
    assert (probabilities.max(1) >= found["probability"]).mean() == pytest.approx(found["coverage"], abs=1e-6)
