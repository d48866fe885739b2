import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from edgemotion.measure.calibration import ece, fit_temperature


def two_class(confidences: list[float]) -> np.ndarray:
    return np.array([[value, 1 - value] for value in confidences])


def test_ece_of_a_hand_example() -> None:
    # Five bins; (0.6, 0.8]: confidences 0.7 and 0.8, one right: |0.5 - 0.75| * 2/4;
    # (0.8, 1.0]: 0.9 and 1.0, both right: |1 - 0.95| * 2/4; the sum is 0.125 + 0.025.
    probabilities = two_class([0.7, 0.8, 0.9, 1.0])
    assert ece(probabilities, np.array([0, 1, 0, 0]), bins=5) == pytest.approx(0.15, abs=1e-12)


def test_ece_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    probabilities = softmax(rng.normal(scale=2, size=(500, 6)), axis=1)
    labels = rng.integers(6, size=500)
    expected = 0.0
    for low in np.arange(15) / 15:
        rows = [i for i in range(500) if low < probabilities[i].max() <= low + 1 / 15]
        if rows:
            right = np.mean([probabilities[i].argmax() == labels[i] for i in rows])
            sure = np.mean([probabilities[i].max() for i in rows])
            expected += len(rows) / 500 * abs(right - sure)
    assert ece(probabilities, labels) == pytest.approx(expected, abs=1e-12)


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not() -> None:
    probabilities = two_class([1.0, 1.0])
    assert ece(probabilities, np.array([0, 0])) == 0
    assert ece(probabilities, np.array([1, 1])) == 1


def test_temperature_of_a_hand_example() -> None:
    # All logits are [2, 0] and three of four labels are 0: the likelihood is greatest where
    # sigmoid(2 / T) = 3/4, so T = 2 / log 3.
    logits = np.tile(np.array([2.0, 0.0], np.float32), (4, 1))
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(2 / np.log(3), rel=1e-4)


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_temperature_is_found_again_and_minimises_the_log_loss(true: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=2, size=(4000, 5))
    labels = np.array([rng.choice(5, p=row) for row in softmax(logits, axis=1)])
    temperature = fit_temperature(logits * true, labels)
    assert temperature == pytest.approx(true, rel=0.08)
    losses = [log_loss(labels, softmax(logits * true / (temperature * f), axis=1)) for f in (0.98, 1.0, 1.02)]
    assert losses[1] < min(losses[0], losses[2])


def test_an_overconfident_model_is_better_calibrated_after_scaling() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(scale=1.5, size=(3000, 7))
    labels = np.array([rng.choice(7, p=row) for row in softmax(logits, axis=1)])
    logits *= 3
    temperature = fit_temperature(logits, labels)
    assert ece(softmax(logits / temperature, axis=1), labels) < 0.3 * ece(softmax(logits, axis=1), labels)


def test_logits_that_are_never_wrong_get_a_low_temperature() -> None:
    logits, labels = np.eye(4, dtype=np.float32) * 9, np.arange(4)
    temperature = fit_temperature(logits, labels)
    assert 0.05 <= temperature < 1
    assert log_loss(labels, softmax(logits / temperature, axis=1)) < 1e-6
