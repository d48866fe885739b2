import numpy as np
import pytest

from edgemotion.errors import EdgemotionError
from edgemotion.measure.streams import flips_per_frame, sampled_stream, score_stream

# Classes of very unequal size, one of them absent.
LABELS = np.repeat([0, 1, 3, 4], [500, 20, 3, 100])


def test_classes_are_uniform_and_stay_for_the_dwell() -> None:
    frames = 60_000
    indices = sampled_stream(LABELS, frames, 30, np.random.default_rng(0))
    states = LABELS[indices]
    assert (indices.shape, indices.dtype) == ((frames,), np.int64)
    shares = [(states == label).mean() for label in (0, 1, 3, 4)]
    assert shares == pytest.approx([0.25] * 4, abs=0.05)
    runs = np.count_nonzero(np.diff(states)) + 1
    assert frames / runs == pytest.approx(30, rel=0.1)


def test_a_stream_begins_with_any_class() -> None:
    first = [LABELS[sampled_stream(LABELS, 1, 1000, np.random.default_rng(seed))[0]] for seed in range(40)]
    assert set(first) == {0, 1, 3, 4}


def test_each_frame_is_a_random_image_of_its_class() -> None:
    indices = sampled_stream(LABELS, 20_000, 10, np.random.default_rng(1))
    assert set(indices.tolist()) == set(range(len(LABELS)))
    within = np.bincount(indices, minlength=len(LABELS))[LABELS == 1]
    assert within.min() > 0.7 * within.mean()


def test_a_stream_repeats_with_the_seed() -> None:
    one, two, other = (sampled_stream(LABELS, 200, 5, np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_one_class_never_changes_and_dwell_one_always_does() -> None:
    assert len(sampled_stream(np.zeros(4, np.int64), 50, 3, np.random.default_rng(0))) == 50
    states = LABELS[sampled_stream(LABELS, 100, 1, np.random.default_rng(0))]
    assert (np.diff(states) != 0).all()


@pytest.mark.parametrize(("frames", "dwell"), [(0, 5), (5, 0)])
def test_a_length_below_one_is_named(frames: int, dwell: int) -> None:
    with pytest.raises(EdgemotionError, match=r"temporal\.frames and temporal\.dwell"):
        sampled_stream(LABELS, frames, dwell, np.random.default_rng(0))


def test_flips_of_a_hand_example() -> None:
    streams = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    labels = np.array([2, 2, 2, 0, 0, 0, 0, 0])
    predictions = np.array([2, 1, 1, 0, 0, 2, 2, 0])
    # Neighbours of one stream and one label: 0-1 flips, 1-2, 3-4, 5-6, and 6-7 flips; 2-3 and 4-5 do not count.
    assert flips_per_frame(predictions, labels, streams) == pytest.approx(2 / 5)


def test_nothing_can_flip_in_single_frames() -> None:
    assert flips_per_frame(np.array([0, 1]), np.array([0, 0]), np.array([0, 1])) == 0


def test_score_of_a_hand_example() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])
    zeros = np.zeros(3, np.int64)
    assert score_stream(probabilities, zeros, zeros) == {"top1": 0.666667, "flips_per_frame": 1.0}
