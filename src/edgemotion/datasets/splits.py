"""A split on disk: images.npy, labels.npy, boxes.npy, classes.json and ids.csv in one folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgemotion.datasets.images import WHOLE, crop, resize
from edgemotion.errors import EdgemotionError
from edgemotion.files import read_csv, read_json, replacing, sha256_file, write_csv, write_json

ARRAYS = ("images.npy", "labels.npy", "boxes.npy")
FILES = (*ARRAYS, "classes.json", "ids.csv")


@dataclass(frozen=True)
class Split:
    """Images uint8 [N,H,W,C] with their labels int64 [N] and where they came from.

    `leaked` bool [N] marks images of val or test that also stand in the official training split.
    `streams` int64 [N] numbers the recorded sequence of a frame; it is 0 everywhere outside the streams split.
    `boxes` float32 [N,4] are the faces as x1, y1, x2, y2 in shares of the image; `classes` names the labels.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: list[str]
    leaked: np.ndarray
    streams: np.ndarray
    boxes: np.ndarray
    classes: list[str]

    def __len__(self) -> int:
        return len(self.labels)


def whole_boxes(count: int) -> np.ndarray:
    """Boxes float32 [count,4] of images that are all face."""
    return np.tile(np.array(WHOLE, np.float32), (count, 1))


def write_split(folder: Path | str, split: Split) -> None:
    """Write the five files; the folder appears whole."""
    with replacing(folder) as partial:
        partial.mkdir()
        np.save(partial / "images.npy", split.images)
        np.save(partial / "labels.npy", split.labels.astype(np.int64))
        np.save(partial / "boxes.npy", split.boxes.astype(np.float32))
        write_json(partial / "classes.json", split.classes)
        rows = zip(split.ids, split.labels.tolist(), split.leaked.astype(int), split.streams.tolist(), strict=True)
        write_csv(partial / "ids.csv", ("id", "label", "leaked", "stream"), rows)


def read_split(folder: Path | str, whole: bool = False, classes: Sequence[str] | None = None) -> Split:
    """Read a split: by default its faces, each image cut to its box and resized back; with `whole` the whole images.

    Raises EdgemotionError that names a missing file, arrays that do not belong together, or what differs between the
    split's classes and the wanted `classes` (none, or an empty list, takes them as they are).
    """
    folder = Path(folder)
    require(folder, FILES)
    images, labels, boxes = (read_array(folder / name) for name in ARRAYS)
    rows, found = read_csv(folder / "ids.csv"), read_json(folder / "classes.json")
    if not len(images) == len(labels) == len(rows) == len(boxes):
        raise EdgemotionError(
            f"{folder}: {len(images)} images, {len(labels)} labels, {len(boxes)} boxes and {len(rows)} ids; "
            "run `dvc repro prepare` again"
        )
    if classes and list(classes) != found:
        raise EdgemotionError(
            f"{folder} {difference(found, classes)}; prepare the dataset that these classes belong to"
        )
    split = Split(
        images=images,
        labels=labels,
        ids=[row["id"] for row in rows],
        leaked=np.array([row["leaked"] == "1" for row in rows], dtype=bool),
        streams=np.array([int(row["stream"]) for row in rows], dtype=np.int64),
        boxes=boxes,
        classes=found,
    )
    return split if whole else faces(split)


def difference(found: Sequence[str], wanted: Sequence[str]) -> str:
    """Say how the classes of a split differ from the wanted ones."""
    extra = [name for name in found if name not in wanted]
    missing = [name for name in wanted if name not in found]
    if not extra and not missing:
        return f"has the classes in the order {', '.join(found)}, not {', '.join(wanted)}"
    parts = [f"has the classes {', '.join(extra)} too many"] * bool(extra)
    parts += [f"lacks the classes {', '.join(missing)}"] * bool(missing)
    return " and ".join(parts)


def faces(split: Split) -> Split:
    """Cut whole images to their boxes and resize them back; an image whose box rounds to all of it keeps its bytes.

    The boxes of what was cut are the whole of it.
    """
    _, height, width, _ = split.images.shape
    cut = [crop(image, box) for image, box in zip(split.images, split.boxes, strict=True)]
    smaller = [number for number, face in enumerate(cut) if face.shape[:2] != (height, width)]
    if not smaller:
        return split
    images = split.images.copy()
    for number in smaller:
        images[number] = resize(cut[number], height, width)
    return replace(split, images=images, boxes=whole_boxes(len(split)))


def read_array(path: Path) -> np.ndarray:
    """Read a .npy file; EdgemotionError names a damaged one."""
    try:
        return np.load(path)
    except (ValueError, EOFError) as error:
        raise EdgemotionError(f"{path} is no readable array ({error}); run `dvc repro prepare` again") from None


def split_sha256(folder: Path | str) -> dict[str, str]:
    """SHA-256 of the image, label and box arrays, for the records of what a model has seen.

    EdgemotionError names a missing file.
    """
    folder = Path(folder)
    require(folder, ARRAYS)
    return {name: sha256_file(folder / name) for name in ARRAYS}


def require(folder: Path, names: Sequence[str]) -> None:
    """EdgemotionError that names a missing file."""
    for name in names:
        if not (folder / name).is_file():
            raise EdgemotionError(f"{folder / name} is missing; run `dvc repro prepare`")
