import threading
import time
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemotion.camera.feed import Feed, Frame

IMAGE = np.zeros((2, 2, 3), np.uint8)


class Ticks(Feed):
    def __init__(self, count: int, fps: float, live: bool = True, fail_at: int | None = None) -> None:
        super().__init__("ticks", fps, live)
        self.count, self.fail_at = count, fail_at

    def shots(self) -> Generator[Frame, None, None]:
        for number in range(self.count):
            if number == self.fail_at:
                raise OSError("the cable is out")
            if (when := self.due(number)) is None:
                return
            yield Frame(IMAGE, when, number, number / self.fps)


def test_a_slow_reader_gets_the_newest_frame_and_the_others_are_counted() -> None:
    feed, seen = Ticks(60, fps=300), []
    for frame in feed.frames():
        seen.append(frame.number)
        time.sleep(0.03)
    assert seen == sorted(set(seen)) and seen[-1] == 59
    assert feed.captured == 60
    assert feed.dropped == 60 - len(seen) >= 30


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 12), st.sampled_from([200.0, 3000.0]), st.integers(1, 12), st.booleans())
def test_each_captured_frame_is_yielded_or_dropped(count: int, fps: float, stop_after: int, live: bool) -> None:
    feed, seen = Ticks(count, fps, live), 0
    for _ in feed.frames():
        seen += 1
        if seen == stop_after:
            feed.stop()
    assert feed.captured == feed.dropped + seen
    assert seen <= stop_after


def test_frames_are_due_at_the_rate_and_never_early() -> None:
    feed = Ticks(8, fps=100)
    frames = [(frame.captured, time.perf_counter()) for frame in feed.frames()]
    captured = np.array([when for when, _ in frames])
    assert all(seen >= when for when, seen in frames)
    steps = np.diff(captured) * 100
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)


def test_a_stop_ends_a_wait_for_a_frame_that_is_far_away() -> None:
    feed, started = Ticks(2, fps=0.01), time.perf_counter()
    for _ in feed.frames():
        feed.stop()
    assert time.perf_counter() - started < 3
    assert feed.captured == 1


def test_a_frame_that_waits_at_a_stop_is_dropped_and_the_thread_ends() -> None:
    feed, seen = Ticks(60, fps=300), 0
    feed.name = "stopped ticks"
    for _ in feed.frames():
        seen += 1
        time.sleep(0.05)
        feed.stop()
    assert feed.captured == feed.dropped + seen and feed.dropped > 0
    assert "stopped ticks" not in [thread.name for thread in threading.enumerate()]


def test_the_last_frame_may_come_when_the_reader_has_just_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()

    class Late(Ticks):
        def shots(self) -> Generator[Frame, None, None]:
            looked.wait(5)
            yield from super().shots()

    class Interrupted(threading.Condition):
        """Whenever the reader leaves it, the other thread has its turn."""

        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            if threading.current_thread() is threading.main_thread():
                looked.set()
                for thread in threading.enumerate():
                    if thread.name == "ticks":
                        thread.join(5)

    replaced = SimpleNamespace(Condition=Interrupted, Thread=threading.Thread)
    monkeypatch.setattr("edgemotion.camera.feed.threading", replaced)
    late = Late(1, fps=1000)
    assert [frame.number for frame in late.frames()] == [0] and late.dropped == 0


def test_an_error_in_the_thread_reaches_the_reader() -> None:
    feed, seen = Ticks(5, fps=1000, fail_at=1), []
    with pytest.raises(OSError, match="the cable is out"):
        seen += [frame.number for frame in feed.frames()]
