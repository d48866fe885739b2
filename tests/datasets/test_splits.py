"""A split comes back from disk as it was, or one line says which file is wrong."""

from pathlib import Path

import numpy as np
import pytest

from edgemotion.datasets.splits import Split, read_split, split_sha256, write_split
from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file

SPLIT = Split(
    images=np.random.default_rng(0).integers(0, 256, (3, 4, 5, 1), dtype=np.uint8),
    labels=np.array([2, 0, 1]),
    ids=["a,b.png", 'say "x".png', "ünï.png"],
    leaked=np.array([False, True, False]),
    streams=np.array([0, 4, 4]),
)
EMPTY = Split(np.empty((0, 4, 5, 1), np.uint8), np.empty(0, np.int64), [], np.empty(0, bool), np.empty(0, np.int64))


@pytest.mark.parametrize("split", [SPLIT, EMPTY])
def test_a_split_comes_back_as_it_was(tmp_path: Path, split: Split) -> None:
    write_split(tmp_path / "val", split)
    found = read_split(tmp_path / "val")
    assert found.ids == split.ids
    assert len(found) == len(split)
    for name in ("images", "labels", "leaked", "streams"):
        assert getattr(found, name).dtype == getattr(split, name).dtype
        assert getattr(found, name).shape == getattr(split, name).shape
        assert (getattr(found, name) == getattr(split, name)).all()


def test_the_table_shows_a_reader_every_mark(tmp_path: Path) -> None:
    write_split(tmp_path / "val", SPLIT)
    assert (tmp_path / "val/ids.csv").read_text(encoding="utf-8").splitlines() == [
        "id,label,leaked,stream",
        '"a,b.png",2,0,0',
        '"say ""x"".png",0,1,4',
        "ünï.png,1,0,4",
    ]


def test_the_same_split_is_the_same_bytes(tmp_path: Path) -> None:
    for place in ("a", "b/c"):
        write_split(tmp_path / place, SPLIT)
    for name in ("images.npy", "labels.npy", "ids.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b/c" / name).read_bytes()
    digests = split_sha256(tmp_path / "a")
    assert digests == {name: sha256_file(tmp_path / "b/c" / name) for name in ("images.npy", "labels.npy")}


def test_a_split_that_cannot_be_written_keeps_the_old_one(tmp_path: Path) -> None:
    write_split(tmp_path / "val", EMPTY)
    uneven = Split(SPLIT.images, SPLIT.labels, SPLIT.ids[:2], SPLIT.leaked, SPLIT.streams)
    with pytest.raises(ValueError):
        write_split(tmp_path / "val", uneven)
    assert len(read_split(tmp_path / "val")) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["val"]


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "ids.csv"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_split(tmp_path / "val", SPLIT)
    (tmp_path / "val" / name).unlink()
    with pytest.raises(EdgemotionError, match=rf"val/{name} is missing; run `dvc repro prepare`"):
        read_split(tmp_path / "val")


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
@pytest.mark.parametrize("kept", [0, 50, -1])
def test_a_damaged_array_is_named(tmp_path: Path, name: str, kept: int) -> None:
    write_split(tmp_path / "val", SPLIT)
    content = (tmp_path / "val" / name).read_bytes()
    (tmp_path / "val" / name).write_bytes(content[:kept])
    with pytest.raises(EdgemotionError, match=rf"val/{name} is no readable array"):
        read_split(tmp_path / "val")


def test_files_of_two_different_runs_are_refused(tmp_path: Path) -> None:
    write_split(tmp_path / "val", SPLIT)
    np.save(tmp_path / "val/labels.npy", np.zeros(2, np.int64))
    with pytest.raises(EdgemotionError, match="val: 3 images, 2 labels and 3 ids; run `dvc repro prepare` again"):
        read_split(tmp_path / "val")
