"""A source of frames, a champion and a face finder in; emotions of each frame, drawn, recorded and measured, out."""

import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

import cv2

from edgemotion.camera.feed import Source
from edgemotion.camera.overlay import Shown, draw
from edgemotion.camera.recording import filming, rows, tabulating, write_line
from edgemotion.camera.report import Notes, Report
from edgemotion.camera.sources import Camera, Video, is_address
from edgemotion.camera.synthetic import Synthetic
from edgemotion.camera.tracks import Track
from edgemotion.camera.watcher import Finder, Watcher
from edgemotion.camera.window import window
from edgemotion.errors import EdgemotionError
from edgemotion.files import write_json
from edgemotion.runtime.champion import SHIPPED, Card, load_card
from edgemotion.runtime.faces import FaceFinder, find_yunet


def main(
    source: str = "0",
    *,
    champion: Path = SHIPPED,
    faces: Path | None = None,
    film: Path | None = None,
    table: Path | None = None,
    report: Path | None = None,
    lines: TextIO | None = None,
    show: bool = False,
    limit: int | None = None,
    real_time: bool = False,
    detect_size: int = 320,
    width: int = 640,
    height: int = 480,
    fps: float = 30.0,
    streams: int = 2,
    frames: int = 300,
    seed: int = 0,
    **watching: Any,
) -> Report:
    """Watch a camera ("0", "/dev/video2", "rtsp://..."), "synthetic" or a film until it ends, `limit` frames or Ctrl-C.

    Writes the drawn frames to `film` (.mp4), a row a face to `table` (CSV) and the report to `report` (JSON), if given,
    and a line of JSON a frame to `lines`, while it runs.
    `width` and `height` are asked of a camera and hold for the synthetic scene; `fps`, `streams`, `frames` of each and
    `seed` are the synthetic source's; `real_time` plays a video as a camera. `watching` goes to `Watcher`: threads,
    detect_every, max_faces, process_noise, measurement_noise. EdgemotionError says what is wrong.
    """
    # What is missing is told before a camera is opened or faces are rendered.
    load_card(champion)
    if detect_size < 32:
        raise EdgemotionError(f"detect_size must be 32 or more, not {detect_size}")
    finder = FaceFinder(find_yunet(faces), detect_size)
    opened: Source
    if source == "synthetic":
        opened = Synthetic(streams, frames, seed, fps, (width, height))
    elif source.isdecimal():
        opened = Camera(int(source), width, height)
    elif is_address(source):
        opened = Camera(source, width, height)
    else:
        opened = Video(source, real_time)
    made = run(opened, champion, finder, film=film, table=table, lines=lines, show=show, limit=limit, **watching)
    if report is not None:
        write_json(report, made.as_json())
    return made


def run(
    source: Source,
    champion: Path,
    finder: Finder,
    *,
    film: Path | None = None,
    table: Path | None = None,
    lines: TextIO | None = None,
    show: bool = False,
    limit: int | None = None,
    **watching: Any,
) -> Report:
    """Find, classify, smooth and draw the faces of each frame; `watching` goes to `Watcher`.

    SIGINT, SIGTERM and a key in the window end the loop with complete files and a report that tells why it ended.
    """
    if limit is not None and limit < 1:
        raise EdgemotionError(f"limit must be 1 or more, not {limit}")
    watcher = Watcher(champion, finder, **watching)
    classes, notes = watcher.variant.classes, Notes(watcher.variant.classes)
    finished: deque[float] = deque(maxlen=30)
    with ExitStack() as stack:
        stack.enter_context(opencv_threads(watcher.threads))
        write_film = stack.enter_context(filming(film, source.fps)) if film else None
        write_row = stack.enter_context(tabulating(table, classes)) if table else None
        show_image = stack.enter_context(window()) if show else None
        watcher.warm_up()
        reasons = stack.enter_context(stopped_by_signals(source))
        for frame in stack.enter_context(closing(source.frames())):
            taken = time.perf_counter()
            notes.add("wait", taken - frame.captured)
            if (searched := watcher.search(frame.image)) is not None:
                notes.add("find", searched)
            started = time.perf_counter()
            tracks = watcher.recognise(frame.image)
            result = time.perf_counter()
            if tracks:
                notes.add("classify", result - started)
            if write_film or show_image:
                draw(frame.image, shown(tracks, watcher.card), classes, status(finished, result - taken))
                drawn = time.perf_counter()
                notes.add("draw", drawn - result)
                result = drawn
            notes.frame(frame, result, tracks)
            finished.append(result)
            if write_film:
                write_film(frame.image)
            if write_row:
                for row in rows(frame, tracks, classes, result):
                    write_row(row)
            if lines and not write_line(lines, frame, tracks, classes, watcher.card, result):
                reasons.append("as nobody reads its lines")
            if write_film or write_row or lines:
                notes.add("write", time.perf_counter() - result)
            if show_image and show_image(frame.image):
                reasons.append("closed by a key")
            if limit is not None and notes.processed >= limit:
                reasons.append(f"after the limit of {limit} frames")
            if reasons:
                source.stop()
    ended = reasons[0] if reasons else source.failure or "at its end"
    return notes.report(source, watcher, ended)


@contextmanager
def opencv_threads(threads: int) -> Iterator[None]:
    """Give OpenCV that many threads for a while; more would take turns with those of ONNX Runtime."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def stopped_by_signals(source: Source) -> Iterator[list[str]]:
    """Let the first SIGINT or SIGTERM stop the source, and a second one do what it did before: yield the reasons."""
    reasons: list[str] = []
    before: dict[int, Any] = {}

    def stop(number: int, _: Any) -> None:
        reasons.append(f"stopped by {signal.Signals(number).name}")
        source.stop()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    # Python gives signals to its main thread only.
    if threading.current_thread() is threading.main_thread():
        before |= {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield reasons
    finally:
        restore()


def shown(tracks: list[Track], card: Card) -> list[Shown]:
    """What is drawn of each person: the box and the smoothed emotion."""
    return [
        Shown(track.box, track.smoothed, card.uncertain(track.smoothed))
        for track in tracks
        if track.smoothed is not None
    ]


def status(finished: deque[float], spent: float) -> str:
    """Frames a second over the last results, and the milliseconds of this frame."""
    span = finished[-1] - finished[0] if len(finished) > 1 else 0.0
    rate = f"{(len(finished) - 1) / span:.0f} FPS  " if span > 0 else ""
    return f"{rate}{1000 * spent:.0f} ms"
