"""A split on disk: images.npy, labels.npy and ids.csv in one folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_csv, replacing, sha256_file, write_csv

FILES = ("images.npy", "labels.npy", "ids.csv")


@dataclass(frozen=True)
class Split:
    """Images uint8 [N,H,W,C] with their labels int64 [N] and where they came from.

    `leaked` bool [N] marks images of val or test that also stand in the official training split.
    `streams` int64 [N] numbers the recorded sequence of a frame; it is 0 everywhere outside the streams split.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: list[str]
    leaked: np.ndarray
    streams: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def write_split(folder: Path | str, split: Split) -> None:
    """Write the three files; the folder appears whole."""
    with replacing(folder) as partial:
        partial.mkdir()
        np.save(partial / "images.npy", split.images)
        np.save(partial / "labels.npy", split.labels.astype(np.int64))
        rows = zip(split.ids, split.labels.tolist(), split.leaked.astype(int), split.streams.tolist(), strict=True)
        write_csv(partial / "ids.csv", ("id", "label", "leaked", "stream"), rows)


def read_split(folder: Path | str) -> Split:
    """Read a split; EdgemotionError names a missing file or arrays that do not belong together."""
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise EdgemotionError(f"{folder / name} is missing; run `dvc repro prepare`")
    images, labels = read_array(folder / "images.npy"), read_array(folder / "labels.npy")
    rows = read_csv(folder / "ids.csv")
    if not len(images) == len(labels) == len(rows):
        raise EdgemotionError(
            f"{folder}: {len(images)} images, {len(labels)} labels and {len(rows)} ids; run `dvc repro prepare` again"
        )
    return Split(
        images=images,
        labels=labels,
        ids=[row["id"] for row in rows],
        leaked=np.array([row["leaked"] == "1" for row in rows], dtype=bool),
        streams=np.array([int(row["stream"]) for row in rows], dtype=np.int64),
    )


def read_array(path: Path) -> np.ndarray:
    """Read a .npy file; EdgemotionError names a damaged one."""
    try:
        return np.load(path)
    except (ValueError, EOFError) as error:
        raise EdgemotionError(f"{path} is no readable array ({error}); run `dvc repro prepare` again") from None


def split_sha256(folder: Path | str) -> dict[str, str]:
    """SHA-256 of the image and label arrays, for the records of what a model has seen."""
    return {name: sha256_file(Path(folder) / name) for name in ("images.npy", "labels.npy")}
