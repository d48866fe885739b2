import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgemotion.errors import EdgemotionError
from edgemotion.runtime import KalmanSmoother, smooth
from edgemotion.runtime.smoothing import FLOOR, normalised_entropy


@st.composite
def streams(draw: st.DrawFn) -> np.ndarray:
    """Distributions [F,C], certain and uniform ones included."""
    shape = (draw(st.integers(1, 20)), draw(st.integers(2, 8)))
    weights = draw(arrays(np.float64, shape, elements=st.floats(0, 1, allow_subnormal=False)))
    weights[np.arange(shape[0]), draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))] += 1e-3
    return weights / weights.sum(axis=1, keepdims=True)


def random_stream(frames: int, classes: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.5), size=frames)


@given(streams(), st.floats(0, 1), st.floats(1e-4, 10))
def test_the_state_stays_a_distribution(stream: np.ndarray, process: float, measurement: float) -> None:
    smoothed = smooth(stream, process, measurement)
    assert smoothed.shape == stream.shape
    assert (smoothed >= 0).all()
    np.testing.assert_allclose(smoothed.sum(axis=1), 1, atol=1e-9)


@given(streams(), st.floats(0, 1), st.floats(1e-4, 10))
def test_a_constant_stream_stays_as_it_is(stream: np.ndarray, process: float, measurement: float) -> None:
    constant = np.repeat(stream[:1], 10, axis=0)
    np.testing.assert_allclose(smooth(constant, process, measurement), constant, atol=1e-12)


def test_equal_to_the_matrix_filter() -> None:
    """The textbook form with full covariance matrices, F = H = I, Q = q I and R_t = r_t I (Kalman 1960)."""
    stream, process, measurement = random_stream(200), 0.002, 0.07
    eye = np.eye(stream.shape[1])
    noises = [measurement * max(FLOOR, -(p * np.log(np.clip(p, 1e-300, 1))).sum() / np.log(p.size)) for p in stream]
    state, covariance, expected = stream[0], noises[0] * eye, [stream[0]]
    for frame, noise in zip(stream[1:], noises[1:], strict=True):
        covariance = covariance + process * eye
        innovation = covariance + noise * eye
        gain = covariance @ np.linalg.inv(innovation)
        state = state + gain @ (frame - state)
        covariance = (eye - gain) @ covariance
        expected.append(state)
    np.testing.assert_allclose(smooth(stream, process, measurement), expected, atol=1e-12)


def test_constant_noise_settles_to_an_exponential_filter() -> None:
    """Frames of one entropy have one noise r; the Riccati equation p = (1 - k)(p + q), k = (p + q) / (p + q + r)
    has the positive root p + q = (q + sqrt(q^2 + 4 q r)) / 2."""
    rng = np.random.default_rng(3)
    frame = np.array([0.6, 0.25, 0.1, 0.05])
    stream = np.array([rng.permutation(frame) for _ in range(400)])
    q, r = 0.001, 0.05 * normalised_entropy(frame)
    predicted = (q + np.sqrt(q * q + 4 * q * r)) / 2
    gain = predicted / (predicted + r)
    smoothed = smooth(stream, 0.001, 0.05)
    state = smoothed[300]
    for index in range(301, 400):
        state = (1 - gain) * state + gain * stream[index]
        np.testing.assert_allclose(smoothed[index], state, atol=1e-9)


def test_without_process_noise_it_is_the_running_mean() -> None:
    """A constant state seen n times with one noise: the estimate is the mean of the frames so far."""
    rng = np.random.default_rng(4)
    stream = np.array([rng.permutation([0.7, 0.2, 0.1]) for _ in range(50)])
    means = np.cumsum(stream, axis=0) / np.arange(1, 51)[:, None]
    np.testing.assert_allclose(smooth(stream, 0.0, 0.05), means, atol=1e-12)


def test_an_uncertain_frame_moves_the_state_less() -> None:
    before = np.array([0.8, 0.1, 0.1])
    moved = []
    for frame in ([0.02, 0.96, 0.02], [0.25, 0.5, 0.25]):
        smoother = KalmanSmoother(3, 0.001, 0.05)
        smoother.update(before)
        after = smoother.update(np.array(frame))
        moved.append(np.abs(after - before).sum() / np.abs(frame - before).sum())
    assert moved[1] < 0.7 * moved[0]


def test_a_noisy_stream_flips_less() -> None:
    rng = np.random.default_rng(5)
    truth = np.repeat([0, 1, 2], 100)
    noisy = np.array([rng.dirichlet(np.eye(3)[label] * 1.5 + 0.8) for label in truth])
    smoothed = smooth(noisy, 0.001, 0.05)

    def flips(probabilities: np.ndarray) -> int:
        return int((np.diff(probabilities.argmax(axis=1)) != 0).sum())

    assert flips(smoothed) < 0.3 * flips(noisy)
    assert (smoothed.argmax(axis=1) == truth).mean() > (noisy.argmax(axis=1) == truth).mean()


def test_reset_forgets_the_stream() -> None:
    smoother, stream = KalmanSmoother(5, 0.001, 0.05), random_stream(10)
    first = [smoother.update(frame) for frame in stream]
    smoother.reset()
    np.testing.assert_array_equal(first, [smoother.update(frame) for frame in stream])


def test_a_returned_frame_is_the_callers_own() -> None:
    smoother, frame = KalmanSmoother(3, 0.001, 0.05), np.array([0.2, 0.3, 0.5])
    smoother.update(frame)[:] = 9
    np.testing.assert_allclose(smoother.update(frame), frame)


def test_a_given_frame_may_be_written_again() -> None:
    smoother, frame = KalmanSmoother(2, 0.0, 0.05), np.array([1.0, 0.0])
    smoother.update(frame)
    frame[:] = 0.0, 1.0
    assert smoother.update(frame)[0] == pytest.approx(0.5)


def test_an_empty_stream_gives_an_empty_one() -> None:
    assert smooth(np.empty((0, 4)), 0.001, 0.05).shape == (0, 4)


@pytest.mark.parametrize(
    ("classes", "process", "measurement", "named"),
    [(1, 0.1, 0.1, "classes"), (3, -0.1, 0.1, "process_noise"), (3, 0.1, 0.0, "measurement_noise")],
)
def test_a_value_out_of_range_is_named(classes: int, process: float, measurement: float, named: str) -> None:
    with pytest.raises(EdgemotionError, match=named):
        KalmanSmoother(classes, process, measurement)


def test_a_frame_of_other_classes_is_refused() -> None:
    with pytest.raises(EdgemotionError, match="3 probabilities"):
        KalmanSmoother(3, 0.001, 0.05).update(np.array([0.5, 0.5]))
