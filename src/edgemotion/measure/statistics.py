"""Paired outcomes of two variants in, intervals and p-values of their difference out."""

import numpy as np

# The ends of a central 95 % interval, in percent.
ENDS = (2.5, 97.5)


def paired_bootstrap(correct_a: np.ndarray, correct_b: np.ndarray, seed: int, resamples: int = 10000) -> list[float]:
    """95 % percentile interval of accuracy(a) - accuracy(b) on the same images (Efron 1979).

    Both are bool [N] or, where each image was classified after several trainings, the share of them float [N].
    Resampling images is drawing how many have each of the differences that occur: a multinomial.
    """
    difference = correct_a.astype(np.float64) - correct_b.astype(np.float64)
    values, counts = np.unique(difference, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(difference), counts / len(difference), size=resamples)
    return interval(drawn @ values / len(difference))


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Exact two-sided p-value that a and b, bool [N] on the same images, are equally accurate (McNemar 1947)."""
    from scipy.stats import binomtest

    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def bootstrap_ratio(
    times_a: np.ndarray, times_b: np.ndarray, seed: int, resamples: int = 2000, block: int = 10
) -> list[float]:
    """95 % percentile interval of median(a) / median(b), both [rounds] of one interleaved run.

    A disturbance hits both variants of a round and outlasts a round, so whole blocks of neighbouring rounds are
    drawn for both at once (circular block bootstrap, Politis and Romano 1992), of few rounds shorter ones, so that
    there are at least ten to draw.
    """
    rounds = len(times_a)
    block = min(block, max(1, rounds // 10))
    blocks = -(-rounds // block)
    starts = np.random.default_rng(seed).integers(rounds, size=(resamples, blocks, 1))
    drawn = ((starts + np.arange(block)) % rounds).reshape(resamples, -1)[:, :rounds]
    return interval(np.median(times_a[drawn], axis=1) / np.median(times_b[drawn], axis=1))


def interval(values: np.ndarray) -> list[float]:
    """The central 95 % of resampled values as [low, high]."""
    low, high = np.percentile(values, ENDS)
    return [round(float(low), 6), round(float(high), 6)]
