"""Frames and their faces in; an mp4 film and a CSV table, each whole or not at all, and JSON lines at once out."""

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from edgemotion.camera.feed import Frame
from edgemotion.camera.tracks import Track
from edgemotion.errors import EdgemotionError
from edgemotion.files import replacing
from edgemotion.runtime.champion import Card
from edgemotion.runtime.table import score_columns

# Before and after those of the classes.
COLUMNS, LAST = ("frame", "time_s", "face", "x1", "y1", "x2", "y2", "raw", "smoothed"), ("latency_ms", "truth")


@contextmanager
def filming(path: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends an image uint8 [H,W,3] BGR to the film, one picture a call at `fps`.

    Raises EdgemotionError for another ending than .mp4 and for what OpenCV cannot write; no image makes no film.
    """
    if path.suffix != ".mp4":
        raise EdgemotionError(f"the film {path} must end in .mp4")
    writers: list[cv2.VideoWriter] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    # The container follows from the file's ending, which the temporary name of `replacing` has not.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        partial = Path(folder) / path.name

        def write(image: np.ndarray) -> None:
            if not writers:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writers.append(cv2.VideoWriter(str(partial), code, fps, (image.shape[1], image.shape[0])))
                if not writers[0].isOpened():
                    raise EdgemotionError(f"OpenCV cannot write the film {path} at {fps} frames a second")
            writers[0].write(image)

        try:
            yield write
        finally:
            for writer in writers:
                writer.release()
        if writers:
            with replacing(path) as whole:
                partial.replace(whole)


@contextmanager
def tabulating(path: Path, classes: Sequence[str]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that appends a row: COLUMNS, each class' smoothed score, and LAST."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((*COLUMNS, *score_columns(classes, (*COLUMNS, *LAST)).values(), *LAST))
        yield writer.writerow


def rows(frame: Frame, tracks: list[Track], classes: list[str], result: float) -> Iterator[list[Any]]:
    """A row of the table for each face, or one with empty cells for a frame without any."""
    start = [frame.number, f"{frame.time_s:.4f}"]
    end = [f"{1000 * (result - frame.captured):.3f}", frame.truth or ""]
    for track in tracks:
        if track.raw is None or track.smoothed is None:
            continue
        labels = [classes[int(np.argmax(scores))] for scores in (track.raw, track.smoothed)]
        scores = [f"{score:.6f}" for score in track.smoothed.tolist()]
        yield [*start, track.number, *(f"{value:.1f}" for value in track.box), *labels, *scores, *end]
    if not tracks:
        yield [*start, *[""] * (7 + len(classes)), *end]


def write_line(
    stream: TextIO, frame: Frame, tracks: list[Track], classes: list[str], card: Card, result: float
) -> bool:
    """Write the faces of a frame as one JSON line, at once: False where nobody reads the stream any more."""
    faces = [
        {
            "face": track.number,
            "box": [round(value, 1) for value in track.box],
            **card.answer(classes, track.smoothed),
        }
        for track in tracks
        if track.smoothed is not None
    ]
    line = {
        "frame": frame.number,
        "time_s": round(frame.time_s, 4),
        "latency_ms": round(1000 * (result - frame.captured), 3),
        "faces": faces,
    }
    try:
        stream.write(json.dumps(line) + "\n")
        stream.flush()
    except BrokenPipeError:
        # Or Python complains at its end that it cannot write what is left.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return False
    return True
