import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from edgemotion.measure.statistics import bootstrap_ratio, mcnemar, paired_bootstrap


def outcomes(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Paired outcomes with these counts."""
    pairs = [(True, True)] * both + [(True, False)] * only_a + [(False, True)] * only_b + [(False, False)] * neither
    a, b = np.array(pairs, dtype=bool).T
    return a, b


def test_mcnemar_of_hand_examples() -> None:
    # Exact binomial: 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64 for 1 against 5; 2 / 2^5 for 0 against 5.
    assert mcnemar(*outcomes(10, 1, 5, 3)) == pytest.approx(14 / 64)
    assert mcnemar(*outcomes(10, 5, 0, 3)) == pytest.approx(2 / 32)
    # Agresti, Categorical Data Analysis, table 10.1 (86 against 150): z^2 = (86 - 150)^2 / (86 + 150) = 17.36.
    assert mcnemar(*outcomes(794, 150, 86, 570)) == pytest.approx(3.7e-5, rel=0.1)


def test_mcnemar_without_a_difference_is_one() -> None:
    a, _ = outcomes(5, 2, 0, 3)
    assert mcnemar(a, a) == 1.0


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_symmetric(only_a: int, only_b: int) -> None:
    a, b = outcomes(3, only_a, only_b, 3)
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a))


def test_paired_bootstrap_agrees_with_scipy_and_with_the_normal_interval() -> None:
    a, b = outcomes(600, 90, 40, 270)
    low, high = paired_bootstrap(a, b, seed=0)
    difference = a.astype(float) - b
    reference = bootstrap(
        (difference,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1), batch=500
    ).confidence_interval
    assert [low, high] == pytest.approx([reference.low, reference.high], abs=0.003)
    # The variance of the mean of the paired differences is (p10 + p01 - (p10 - p01)^2) / n.
    margin = 1.96 * np.sqrt((0.13 - 0.05**2) / 1000)
    assert [low, high] == pytest.approx([0.05 - margin, 0.05 + margin], abs=0.003)


def test_paired_bootstrap_changes_sign_with_the_order_and_repeats_with_the_seed() -> None:
    a, b = outcomes(60, 20, 5, 15)
    assert paired_bootstrap(a, b, seed=3) == paired_bootstrap(a, b, seed=3)
    low, high = paired_bootstrap(a, b, seed=3)
    assert 0 < low < 0.15 < high
    assert paired_bootstrap(b, a, seed=3) == pytest.approx([-high, -low], abs=0.011)
    assert paired_bootstrap(a, a, seed=3) == [0, 0]


def test_the_ratio_of_proportional_times_has_no_spread() -> None:
    times = np.random.default_rng(0).lognormal(sigma=0.3, size=200) * 1e6
    # Rounds are resampled jointly, so the factor is exact in every resample.
    assert bootstrap_ratio(2.5 * times, times, seed=0) == [2.5, 2.5]


def test_the_ratio_interval_repeats_with_the_seed() -> None:
    times = np.random.default_rng(0).lognormal(sigma=0.3, size=(2, 200))
    one, again, other = (bootstrap_ratio(*times, seed=seed) for seed in (3, 3, 4))
    assert one == again != other


def test_the_ratio_interval_covers_the_truth_at_its_rate() -> None:
    covered = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        a, b = rng.lognormal(np.log(3), 0.2, 150), rng.lognormal(0, 0.2, 150)
        low, high = bootstrap_ratio(a, b, seed=trial, resamples=300)
        covered += low <= 3 <= high
    # 95 of 100 is nominal; a binomial of 0.95 lies below 86 once in ten thousand times.
    assert covered >= 86


def test_blocks_widen_the_interval_when_neighbours_correlate() -> None:
    rng = np.random.default_rng(1)
    slow = np.zeros(1000)
    for index in range(1, 1000):
        slow[index] = 0.95 * slow[index - 1] + rng.normal()
    a, b = np.exp(0.1 * slow), np.ones(1000)

    def width(block: int) -> float:
        low, high = bootstrap_ratio(a, b, seed=0, block=block)
        return high - low

    assert width(20) > 2 * width(1)


@pytest.mark.parametrize("rounds", [7, 25])
def test_few_rounds_that_vary_have_an_interval(rounds: int) -> None:
    times = 1 + np.random.default_rng(0).random(rounds)
    low, high = bootstrap_ratio(times, np.ones(rounds), seed=0)
    assert low < np.median(times) < high


@pytest.mark.parametrize("rounds", [1, 7, 25])
def test_any_number_of_rounds_is_resampled(rounds: int) -> None:
    low, high = bootstrap_ratio(np.full(rounds, 8), np.full(rounds, 4), seed=0)
    assert (low, high) == (2, 2)
