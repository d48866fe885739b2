"""Frames as they come in; each of them, or always the newest one that a thread has taken, out."""

import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import closing
from typing import NamedTuple, Protocol

import numpy as np

# Waits are cut into slices of this many seconds, after each of which a stop is seen.
SLICE = 0.05


class Frame(NamedTuple):
    """An image uint8 [H,W,3] BGR, when it was captured (time.perf_counter, seconds) and what it truly shows, if known.

    `number` counts the frames of the source, dropped ones too, and `time_s` its seconds; `stream` counts its persons.
    """

    image: np.ndarray
    captured: float
    number: int
    time_s: float
    truth: str | None = None
    stream: int = 0


class Source(Protocol):
    """What the loop looks at. After the last frame, `captured` is `dropped` plus the frames that were yielded."""

    name: str
    fps: float
    captured: int
    dropped: int
    # Why there are no more frames, if not because they came to their end.
    failure: str | None

    def frames(self) -> Generator[Frame, None, None]: ...

    def stop(self) -> None:
        """End the frames soon; may be called by a signal's handler."""


class Feed:
    """A source over `shots`: each of them in turn, or with `live` the newest one that a thread has taken."""

    def __init__(self, name: str, fps: float, live: bool) -> None:
        self.name, self.fps, self.live = name, fps, live
        self.captured = self.dropped = 0
        self.failure: str | None = None
        self.stopped = False
        self.started: float | None = None

    def shots(self) -> Generator[Frame, None, None]:
        """All frames, as fast as they come; runs in the thread where there is one."""
        raise NotImplementedError

    def stop(self) -> None:
        # A plain flag: a signal's handler must not wait for a lock that the code it interrupted may hold.
        self.stopped = True

    def frames(self) -> Generator[Frame, None, None]:
        """The frames until the last one or a stop; EdgemotionError for what went wrong in the thread."""
        return self.newest() if self.live else self.each()

    def each(self) -> Generator[Frame, None, None]:
        with closing(self.shots()) as shots:
            for frame in shots:
                self.captured += 1
                yield frame
                if self.stopped:
                    return

    def newest(self) -> Generator[Frame, None, None]:
        slot: deque[Frame] = deque(maxlen=1)
        changed = threading.Condition()
        ended: list[Exception | None] = []

        def take() -> None:
            error: Exception | None = None
            try:
                with closing(self.shots()) as shots:
                    for frame in shots:
                        with changed:
                            self.captured += 1
                            self.dropped += len(slot)
                            slot.append(frame)
                            changed.notify()
                        if self.stopped:
                            return
            except Exception as raised:
                error = raised
            finally:
                with changed:
                    ended.append(error)
                    changed.notify()

        thread = threading.Thread(target=take, name=self.name, daemon=True)
        thread.start()
        try:
            while not self.stopped:
                with changed:
                    if not slot and not ended:
                        changed.wait(SLICE)
                    frame = slot.pop() if slot else None
                    # Asked together with the slot: afterwards a last frame may lie in it.
                    over = bool(ended)
                if frame is not None:
                    yield frame
                elif over:
                    break
        finally:
            self.stopped = True
            # A camera that hangs must not keep the program from its end.
            thread.join(timeout=2)
            with changed:
                self.dropped += len(slot)
                slot.clear()
        if ended and ended[0] is not None:
            raise ended[0]

    def due(self, number: int) -> float | None:
        """Wait until frame `number` is due at this source's rate: when that was, or None after a stop."""
        if self.started is None:
            self.started = time.perf_counter()
        due = self.started + number / self.fps
        while not self.stopped:
            if (left := due - time.perf_counter()) <= 0:
                return due
            time.sleep(min(left, SLICE))
        return None
