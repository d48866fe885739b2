"""An image, a folder or a film in; one row for each face, and a CSV or parquet file of them, out."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from edgemotion.errors import EdgemotionError
from edgemotion.files import replacing
from edgemotion.runtime.champion import load_card
from edgemotion.runtime.classifier import Classifier
from edgemotion.runtime.faces import FaceFinder, crop_face, find_yunet
from edgemotion.runtime.smoothing import MEASUREMENT_NOISE, PROCESS_NOISE, KalmanSmoother

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
FILMS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
# The columns beside those of the classes.
OTHERS = ("file", "frame", "x1", "y1", "x2", "y2", "label", "smoothed_label", "uncertain")
Row = dict[str, Any]


def score_columns(classes: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """A table's column of each class' score: the class' name, with `_score` where any class is among the `others`."""
    ending = "_score" if set(classes) & set(others) else ""
    return {name: f"{name}{ending}" for name in classes}


class Reader:
    """A champion that fills rows: file, frame, the face's box, labels, and the probability of every class."""

    def __init__(self, champion: Path, faces: Path | None, scene: bool, threads: int) -> None:
        """With `scene` or `faces` YuNet finds the faces of an image; otherwise the whole image is one face crop."""
        self.card = load_card(champion)
        self.classifier = Classifier(champion, threads)
        self.finder = FaceFinder(find_yunet(faces)) if scene or faces else None
        self.classes = self.classifier.variant.classes
        # As datasets are read: of a JPEG the gray image is its luma, which no conversion from colour rounds.
        gray = self.classifier.variant.channels == 1 and self.finder is None
        self.flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
        self.score_columns = score_columns(self.classes, OTHERS)
        self.columns = [*OTHERS, *self.score_columns.values()]

    def read(self, path: Path) -> np.ndarray | None:
        """Decode a file to uint8 [H,W,3] BGR, or [H,W] for a crop of a gray champion; None for one that is no image."""
        try:
            return cv2.imdecode(np.fromfile(path, np.uint8), self.flag)
        except (OSError, cv2.error):
            return None

    def rows(self, image: np.ndarray, smoother: KalmanSmoother | None = None, **where: Any) -> list[Row]:
        """One row a face of an image uint8 [H,W,3] BGR or [H,W], the best first; none where YuNet finds no face."""
        height, width = image.shape[:2]
        boxes: list[tuple[float, float, float, float]] = [(0.0, 0.0, float(width), float(height))]
        crops = [image]
        if self.finder:
            boxes = [face.box for face in self.finder.find(image)]
            crops = [crop_face(image, box, self.card.face_side) for box in boxes]
        return [where | self.row(box, crop, smoother) for box, crop in zip(boxes, crops, strict=True)]

    def row(self, box: tuple[float, float, float, float], crop: np.ndarray, smoother: KalmanSmoother | None) -> Row:
        probabilities = np.array(list(self.classifier.predict(crop).probabilities.values()))
        answer = self.card.answer(self.classes, probabilities)
        smoothed = smoother.update(probabilities) if smoother else None
        return {
            **dict(zip(("x1", "y1", "x2", "y2"), (round(value, 1) for value in box), strict=True)),
            "label": answer["label"],
            "smoothed_label": "" if smoothed is None else self.classes[int(smoothed.argmax())],
            "uncertain": answer["uncertain"],
            **{self.score_columns[name]: score for name, score in answer["scores"].items()},
        }


def read_source(source: Path, reader: Reader) -> tuple[Iterator[Row], bool]:
    """The rows of a source, and whether it has several images (a folder, a film).

    Files that hold no image are told on stderr and left out of a folder; alone they raise EdgemotionError, and so does
    a source that is missing, empty or of another kind.
    """
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMAGES)
        if not files:
            raise EdgemotionError(f"{source} holds no image ({', '.join(IMAGES)})")
        return folder_rows(source, files, reader), True
    if not source.is_file():
        raise EdgemotionError(f"{source} is missing; give an image, a folder of images or a film")
    if source.suffix.lower() in FILMS:
        return film_rows(source, reader), True
    if (image := reader.read(source)) is None:
        raise EdgemotionError(f"{source} is no image that OpenCV reads, nor a film ({', '.join(FILMS)})")
    return iter(reader.rows(image, file=source.name)), False


def folder_rows(folder: Path, files: Sequence[Path], reader: Reader) -> Iterator[Row]:
    for path in tqdm(files, unit="image"):
        name = path.relative_to(folder).as_posix()
        if (image := reader.read(path)) is None:
            tqdm.write(f"left out: {name} is no image that OpenCV reads", sys.stderr)
            continue
        yield from reader.rows(image, file=name)


def film_rows(path: Path, reader: Reader) -> Iterator[Row]:
    """Every frame of a film; of face crops the emotion is also smoothed over time."""
    film = cv2.VideoCapture(str(path))
    smoother = None
    if reader.finder is None:
        smoother = KalmanSmoother(len(reader.classes), PROCESS_NOISE, MEASUREMENT_NOISE)
    read, image = film.read()
    if not read:
        raise EdgemotionError(f"{path} is no film that OpenCV reads")
    total, frame = max(0, int(film.get(cv2.CAP_PROP_FRAME_COUNT))) or None, 0
    with tqdm(total=total, unit="frame") as progress:
        while read:
            yield from reader.rows(image, smoother, file=path.name, frame=frame)
            progress.update()
            frame += 1
            read, image = film.read()
    film.release()


def show(row: Row, reader: Reader) -> str:
    """A row as one line: the label, how sure it is, and the other classes in order."""
    scores = sorted(((row[column], name) for name, column in reader.score_columns.items()), reverse=True)
    mark = " (uncertain)" if row["uncertain"] else ""
    place = f"  at {row['x1']:.0f},{row['y1']:.0f}-{row['x2']:.0f},{row['y2']:.0f}" if reader.finder else ""
    rest = ", ".join(f"{name} {score:.1%}" for score, name in scores[1:])
    return f"{row['label']} {scores[0][0]:.1%}{mark}{place}  [{rest}]"


def write_table(target: Path, rows: Iterable[Row], columns: Sequence[str]) -> int:
    """Write rows to a .csv or .parquet file, whole or not at all; return their number.

    Raises EdgemotionError for another ending, and for parquet without pyarrow.
    """
    match target.suffix.lower():
        case ".csv":
            with replacing(target) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, columns, lineterminator="\n")
                writer.writeheader()
                count = 0
                for row in rows:
                    writer.writerow(row)
                    count += 1
            return count
        case ".parquet":
            try:
                import pyarrow
                import pyarrow.parquet
            except ModuleNotFoundError:
                raise EdgemotionError(f"{target} needs pyarrow, which is not installed; write .csv") from None
            whole = [{name: row.get(name) for name in columns} for row in rows]
            with replacing(target) as partial:
                pyarrow.parquet.write_table(pyarrow.Table.from_pylist(whole), partial)
            return len(whole)
    raise EdgemotionError(f"{target} must end in .csv or .parquet")
