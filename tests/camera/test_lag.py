import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemotion.camera.lag import Lag, measure_lag


def lag_of(predictions: str, labels: str, streams: str | None = None, numbers: list[int] | None = None) -> Lag:
    """One letter a frame; 10 frames a second."""
    counted = np.array(numbers if numbers is not None else range(len(labels)))
    columns = [
        np.array([ord(letter) for letter in text]) for text in (predictions, labels, streams or "0" * len(labels))
    ]
    return measure_lag(*columns, counted, counted / 10)


def test_by_hand() -> None:
    # Changes at 3 (followed at 5), 7 (at once) and 10 (followed at 11, or not): lags 2, 0 and 1, or infinite.
    assert lag_of("aaaaabbccccd", "aaabbbbcccdd") == Lag(3, 0, 1.0, 100.0)
    assert lag_of("aaaaabbccccc", "aaabbbbcccdd") == Lag(3, 1, 2.0, 200.0)


def test_a_change_that_is_never_followed_is_infinitely_late() -> None:
    assert lag_of("aaaa", "aabb") == Lag(1, 1, None, None)
    assert lag_of("aaabaa", "aabbaa") == Lag(2, 0, 0.5, 50.0)
    # A label that comes when the truth has moved on follows nothing.
    assert lag_of("aaaabb", "aabbaa") == Lag(2, 2, None, None)


def test_another_stream_is_no_change_and_dropped_frames_count() -> None:
    assert lag_of("aabb", "aabb", "0011") == Lag(0, 0, None, None)
    assert lag_of("aab", "abb", numbers=[0, 4, 9]) == Lag(1, 0, 5.0, 500.0)


def test_nothing_to_measure() -> None:
    assert lag_of("a", "a") == Lag(0, 0, None, None)


@settings(max_examples=40)
@given(st.lists(st.integers(4, 9), min_size=2, max_size=8), st.integers(0, 3))
def test_a_delayed_copy_of_the_truth_lags_by_its_delay(runs: list[int], delay: int) -> None:
    labels = np.repeat(np.arange(len(runs)), runs)
    predictions = np.concatenate([np.zeros(delay, int), labels])[: len(labels)]
    frames = np.arange(len(labels))
    found = measure_lag(predictions, labels, np.zeros_like(labels), frames, frames / 10)
    assert found == Lag(len(runs) - 1, 0, float(delay), 100.0 * delay)
