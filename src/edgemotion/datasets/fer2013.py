"""FER2013 in both of its layouts: Kaggle's image folders, and the original fer2013.csv / icml_face_data.csv.

Goodfellow et al. 2013, Challenges in Representation Learning. The official split stands in the file name or
in the Usage column: Training, PublicTest (val) and PrivateTest (test).
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from edgemotion.datasets.cleaning import fingerprint
from edgemotion.datasets.images import Record, decode, members
from edgemotion.errors import EdgemotionError
from edgemotion.registry import register

USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
CSV_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CSV_SIZE = 48


@register("layout")
def fer2013(zipped: zipfile.ZipFile, *, channels: int, val_kept: float = 1.0) -> Iterator[Record]:
    """Yield every image, in the order of the member names or of the rows.

    About a share `val_kept` of val stays val; the rest joins train, image by image told, for a last training once all
    choices are made. Images of identical pixels stay together. Raises EdgemotionError for a share outside (0, 1].
    """
    if not 0 < val_kept <= 1:
        raise EdgemotionError(f"layout fer2013: val_kept={val_kept} must be above 0 and at most 1")
    tables = [name for name in sorted(zipped.namelist()) if PurePosixPath(name).name in CSV_NAMES]
    for record in csv_records(zipped, tables[0], channels) if tables else folder_records(zipped, channels):
        joins = record.split == "val" and record.image is not None and share_of(record.image) >= val_kept
        yield replace(record, split="train", problem="val image joined train") if joins else record


def share_of(image: np.ndarray) -> float:
    """A number of 0 to 1 that follows from the pixels alone, evenly spread."""
    return int(fingerprint(image), 16) / 2**128


def folder_records(zipped: zipfile.ZipFile, channels: int) -> Iterator[Record]:
    """Read <any>/<class>/<Usage>_<number>.jpg."""
    for path, name in members(zipped).items():
        usage = path.stem.split("_")[0]
        if usage not in USAGES:
            raise EdgemotionError(
                f"{zipped.filename}: {name} does not begin with {', '.join(USAGES)}; it is not FER2013's folder layout"
            )
        yield Record(name, USAGES[usage], path.parent.name, decode(zipped.read(name), channels))


def csv_records(zipped: zipfile.ZipFile, name: str, channels: int) -> Iterator[Record]:
    """Read rows of emotion (0 to 6), pixels (48x48 gray values) and Usage; icml_face_data pads its column names."""
    # A stray quote swallows the rest of the table; the row is then refused by its contents, not by its length.
    csv.field_size_limit(2**31 - 1)
    with zipped.open(name) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace")
        rows = csv.DictReader(text, restval="", skipinitialspace=True)
        rows.fieldnames = [field.strip() for field in rows.fieldnames or []]
        missing = {"emotion", "pixels", "Usage"} - set(rows.fieldnames)
        if missing:
            raise EdgemotionError(
                f"{zipped.filename}: {name} has no column {sorted(missing)[0]!r}; it is not FER2013's table"
            )
        for number, row in enumerate(rows):
            usage, emotion = row["Usage"].strip(), row["emotion"].strip()
            place = f"{name}:{number}"
            if usage not in USAGES:
                raise EdgemotionError(
                    f"{zipped.filename}: row {place} has the Usage {usage!r}, not one of {', '.join(USAGES)}"
                )
            if emotion not in map(str, range(len(CSV_CLASSES))):
                raise EdgemotionError(f"{zipped.filename}: row {place} has the emotion {emotion!r}, not 0 to 6")
            yield Record(place, USAGES[usage], CSV_CLASSES[int(emotion)], parse_pixels(row["pixels"], channels))


def parse_pixels(text: str, channels: int) -> np.ndarray | None:
    """Parse 2,304 space-separated values of 0 to 255 to uint8 [48,48,channels]; None for anything else."""
    try:
        values = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        return None
    if values.size != CSV_SIZE**2 or values.min() < 0 or values.max() > 255:
        return None
    image = values.astype(np.uint8).reshape(CSV_SIZE, CSV_SIZE, 1)
    return np.repeat(image, channels, axis=2)
