import os
import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from edgemotion.errors import EdgemotionError
from edgemotion.measure.latency import cut, interleave, percentiles, pinned, speedup, throughput


def test_every_call_follows_every_other_about_equally_often() -> None:
    seen: list[str] = []
    calls = {name: lambda batch, name=name: seen.append(name) for name in "abcd"}
    interleave(calls, [np.zeros(1)], rounds=1200, warmup=0)
    rounds = [seen[start : start + 4] for start in range(0, len(seen), 4)]
    assert all(sorted(names) == list("abcd") for names in rounds)
    followed = Counter(pair for names in rounds for pair in pairwise(names))
    # 1,200 rounds of three pairs each, over twelve pairs; five standard deviations of a binomial on either side.
    assert len(followed) == 12 and all(abs(count - 300) < 80 for count in followed.values())
    first = seen.copy()
    seen.clear()
    interleave(calls, [np.zeros(1)], rounds=1200, warmup=0)
    assert seen == first


def test_every_round_runs_all_on_the_same_images() -> None:
    seen: list[tuple[str, int]] = []
    batches = [np.array([index]) for index in range(2)]
    calls = {name: lambda batch, name=name: seen.append((name, int(batch[0]))) for name in "abc"}
    times = interleave(calls, batches, rounds=3, warmup=1)
    assert [sorted(name for name, _ in seen[start : start + 3]) for start in range(0, 12, 3)] == [list("abc")] * 4
    assert [batch for _, batch in seen] == [0] * 3 + [1] * 3 + [0] * 3 + [1] * 3
    assert {name: measured.shape for name, measured in times.items()} == {"a": (3,), "b": (3,), "c": (3,)}


def test_times_are_nanoseconds_and_leave_out_the_warm_up() -> None:
    pauses = iter([0.05, 0.002, 0.002, 0.002])
    times = interleave({"a": lambda batch: time.sleep(next(pauses))}, [np.zeros(1)], rounds=3, warmup=1)["a"]
    assert (times >= 2_000_000).all()
    assert np.median(times) < 40_000_000


def test_figures_of_a_hand_example() -> None:
    times = np.arange(1, 102) * 1_000_000
    assert percentiles(times) == {"p50_ms": 51.0, "p90_ms": 91.0, "p95_ms": 96.0, "p99_ms": 100.0}
    assert throughput(np.array([2_000_000, 4_000_000, 9_000_000]), size=8) == 2000.0
    assert speedup(times * 3, times, seed=0) == {"speedup": 3.0, "speedup_ci": [3.0, 3.0]}


@pytest.mark.parametrize(("count", "size", "batches"), [(10, 1, 10), (10, 4, 2), (3, 8, 1), (8, 8, 1)])
def test_batches_are_full(count: int, size: int, batches: int) -> None:
    images = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2, 1)
    made = cut(images, size)
    assert len(made) == batches
    assert all(batch.shape == (size, 2, 2, 1) for batch in made)
    np.testing.assert_array_equal(made[0][0], images[0])


needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin")


@needs_affinity
def test_pinning_ends_with_the_block() -> None:
    before = os.sched_getaffinity(0)
    with pinned(1):
        # The first core serves most interrupts.
        assert os.sched_getaffinity(0) == {max(before)}
    assert os.sched_getaffinity(0) == before


@needs_affinity
def test_more_threads_than_cores_is_refused() -> None:
    with pytest.raises(EdgemotionError, match=r"profile\.threads is 9999"), pinned(9999):
        pass
