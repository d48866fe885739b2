"""What the loop noted of each frame in; rates, latencies and, with the truth, accuracy, flips and lag out."""

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgemotion.camera.feed import Frame, Source
from edgemotion.camera.lag import measure_lag
from edgemotion.camera.tracks import Track
from edgemotion.camera.watcher import Watcher
from edgemotion.measure.streams import score_stream

PARTS = ("wait", "find", "classify", "draw", "write")


@dataclass(frozen=True)
class Report:
    """A run of the loop. Latencies are of the processed frames, from capture to result, the drawing included.

    `busy_fps` is the rate that the loop would reach with frames always waiting. `faces_found` is the share of processed
    frames with a face. `parts_ms` gives each part's percentiles over the frames in which it ran: `wait` from capture
    until the loop took the frame, `find` (in `searches` frames), `classify` with crop and smoothing, `draw`, and after
    the result `write` of film and table. `truth` is None without true labels, and otherwise tells of the largest face
    top-1 and flips a frame, raw and smoothed, over the `scored` frames with a face, and the lags.
    """

    source: str
    champion: str
    ended: str
    captured: int
    dropped: int
    processed: int
    seconds: float
    fps: float | None
    busy_fps: float | None
    detect_every: int
    searches: int
    faces_found: float | None
    latency_ms: dict[str, float] | None
    parts_ms: dict[str, dict[str, float] | None]
    truth: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Notes:
    """What the loop writes down while it runs: seconds, and of frames with a truth what was predicted."""

    def __init__(self, classes: list[str]) -> None:
        self.classes = classes
        # Arrays, for a camera may run for days.
        self.latencies, self.parts = array("d"), {part: array("d") for part in PARTS}
        self.processed = self.with_face = 0
        self.captured = self.first = self.last = 0.0
        self.truths: list[tuple[int, int, int, float]] = []
        self.raw: list[np.ndarray | None] = []
        self.smoothed: list[np.ndarray | None] = []

    def add(self, part: str, seconds: float) -> None:
        self.parts[part].append(seconds)

    def frame(self, frame: Frame, result: float, tracks: list[Track]) -> None:
        """Note a frame's latency, and with a truth what the largest face was taken for."""
        if not self.processed:
            self.captured, self.first = frame.captured, result
        self.last = result
        self.processed += 1
        self.with_face += bool(tracks)
        self.latencies.append(result - frame.captured)
        if frame.truth is not None and tracks:
            # A label that the champion does not know is never hit.
            label = self.classes.index(frame.truth) if frame.truth in self.classes else -1
            self.truths.append((label, frame.stream, frame.number, frame.time_s))
            self.raw.append(tracks[0].raw)
            self.smoothed.append(tracks[0].smoothed)

    def report(self, source: Source, watcher: Watcher, ended: str) -> Report:
        seconds, busy = self.last - self.captured, sum(sum(self.parts[part]) for part in PARTS if part != "wait")
        span = self.last - self.first
        return Report(
            source=source.name,
            champion=watcher.variant.name,
            ended=ended,
            captured=source.captured,
            dropped=source.dropped,
            processed=self.processed,
            seconds=round(seconds, 3),
            fps=round((self.processed - 1) / span, 2) if span > 0 else None,
            busy_fps=round(self.processed / busy, 2) if busy > 0 else None,
            detect_every=watcher.detect_every,
            searches=watcher.searches,
            faces_found=round(self.with_face / self.processed, 6) if self.processed else None,
            latency_ms=percentiles(self.latencies),
            parts_ms={part: percentiles(self.parts[part]) for part in PARTS},
            truth=self.score(),
        )

    def score(self) -> dict[str, Any] | None:
        """Accuracy, flips and lag over the frames with a truth and a face; None where there are none."""
        if not self.truths:
            return None
        labels, streams, numbers, times = (np.array(column) for column in zip(*self.truths, strict=True))
        scores: dict[str, Any] = {"scored": len(labels)}
        for name, rows in (("raw", self.raw), ("smoothed", self.smoothed)):
            probabilities = np.array(rows)
            lag = measure_lag(probabilities.argmax(axis=1), labels, streams, numbers, times)
            scores[name] = score_stream(probabilities, labels, streams) | {"lag": asdict(lag)}
        return scores


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """Median, 95th and 99th percentile in milliseconds; None for no values."""
    if not len(seconds):
        return None
    values = np.percentile(np.asarray(seconds) * 1000, (50, 95, 99))
    return {name: round(float(value), 3) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}


def describe(report: Report) -> str:
    """The report as a few lines of text."""
    counts = f"{report.captured} frames captured, {report.dropped} dropped, {report.processed} processed"
    lines = [f"{report.source}: {counts} in {report.seconds:.1f} s; {report.ended}"]
    if report.latency_ms and report.fps and report.busy_fps:
        lines.append(f"{report.fps:.1f} FPS, {report.busy_fps:.0f} FPS possible; faces in {report.faces_found:.1%}")
        rows = {"end to end": report.latency_ms, **report.parts_ms}
        lines += [
            f"{name}: p50 {row['p50']:.1f}, p95 {row['p95']:.1f}, p99 {row['p99']:.1f} ms"
            for name, row in rows.items()
            if row
        ]
    if report.detect_every > 1:
        lines.append(f"faces were searched in {report.searches} of {report.processed} frames")
    for name in ("raw", "smoothed") if report.truth else ():
        row = report.truth[name] if report.truth else {}
        lag = row["lag"]
        behind = "none" if lag["median_frames"] is None else f"{lag['median_frames']:g} frames"
        lines.append(
            f"{name}: top-1 {row['top1']:.1%}, {row['flips_per_frame']:.4f} flips a frame, median lag {behind} "
            f"({lag['never_followed']} of {lag['changes']} changes never followed)"
        )
    return "\n".join(lines)
