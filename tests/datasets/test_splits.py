"""A split comes back from disk as it was, as whole images or as faces, or one line says what is wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgemotion.datasets.splits import FILES, Split, faces, read_split, split_sha256, whole_boxes, write_split
from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file

SPLIT = Split(
    images=np.random.default_rng(0).integers(0, 256, (3, 4, 8, 1), dtype=np.uint8),
    labels=np.array([2, 0, 1]),
    ids=["a,b.png", 'say "x".png', "ünï.png"],
    leaked=np.array([False, True, False]),
    streams=np.array([0, 4, 4]),
    boxes=np.array([[0, 0, 1, 1], [0, 0.25, 0.5, 1], [0.01, 0, 0.99, 1]], np.float32),
    classes=["ärgerlich", "happy", "sad"],
)
EMPTY = Split(
    images=np.empty((0, 4, 8, 1), np.uint8),
    labels=np.empty(0, np.int64),
    ids=[],
    leaked=np.empty(0, bool),
    streams=np.empty(0, np.int64),
    boxes=whole_boxes(0),
    classes=["happy"],
)


@pytest.mark.parametrize("split", [SPLIT, EMPTY])
def test_a_split_comes_back_as_it_was(tmp_path: Path, split: Split) -> None:
    write_split(tmp_path / "val", split)
    found = read_split(tmp_path / "val", whole=True)
    assert (found.ids, found.classes) == (split.ids, split.classes)
    assert len(found) == len(split)
    for name in ("images", "labels", "leaked", "streams", "boxes"):
        assert getattr(found, name).dtype == getattr(split, name).dtype
        assert getattr(found, name).shape == getattr(split, name).shape
        assert (getattr(found, name) == getattr(split, name)).all()


def test_faces_are_cut_to_their_boxes_and_brought_back_to_size(tmp_path: Path) -> None:
    quarters = np.kron(np.array([[10, 20], [30, 200]], np.uint8), np.ones((4, 4), np.uint8))[None, :, :, None]
    one = replace(EMPTY, images=quarters, labels=np.zeros(1, np.int64), ids=["q"], leaked=np.zeros(1, bool))
    one = replace(one, streams=np.zeros(1, np.int64), boxes=np.array([[0.5, 0.5, 1, 1]], np.float32))
    write_split(tmp_path / "val", one)
    assert (read_split(tmp_path / "val").images == 200).all()
    assert read_split(tmp_path / "val").images.shape == (1, 8, 8, 1)
    # Of the image 8 wide, x from 0.25 to 0.75 is half 10 and half 20; enlarging mixes the two in the middle alone.
    write_split(tmp_path / "val", replace(one, boxes=np.array([[0.25, 0, 0.75, 0.5]], np.float32)))
    row = read_split(tmp_path / "val").images[0, 0, :, 0].tolist()
    assert (row[:3], row[-3:], row) == ([10] * 3, [20] * 3, sorted(row)) and 10 < row[3] < row[4] < 20


def test_faces_are_cut_once() -> None:
    half = replace(SPLIT, boxes=np.array([[0.5, 0.5, 1, 1]] * 3, np.float32))
    cut = faces(half)
    assert (cut.images != half.images).any() and (faces(cut).images == cut.images).all()


def test_a_box_that_rounds_to_the_whole_image_leaves_its_bytes(tmp_path: Path) -> None:
    write_split(tmp_path / "val", SPLIT)
    faces = read_split(tmp_path / "val").images
    # 0.01 of eight pixels is none; half of them is another picture.
    assert (faces[[0, 2]] == SPLIT.images[[0, 2]]).all()
    assert (faces[1] != SPLIT.images[1]).any()


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.5, 0.5), (0, 0, 0.001, 0.001), (1, 1, 1, 1), (0.999, 0, 1, 0.001)])
def test_the_smallest_box_still_has_a_pixel(tmp_path: Path, box: tuple[float, ...]) -> None:
    write_split(tmp_path / "val", replace(SPLIT, boxes=np.array([box] * 3, np.float32)))
    faces = read_split(tmp_path / "val").images
    assert faces.shape == SPLIT.images.shape
    assert (faces == faces[:, :1, :1]).all()


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
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b/c" / name).read_bytes()
    digests = split_sha256(tmp_path / "a")
    assert digests == {name: sha256_file(tmp_path / "b/c" / name) for name in ("images.npy", "labels.npy", "boxes.npy")}


def test_a_split_that_cannot_be_written_keeps_the_old_one(tmp_path: Path) -> None:
    write_split(tmp_path / "val", EMPTY)
    with pytest.raises(ValueError):
        write_split(tmp_path / "val", replace(SPLIT, ids=SPLIT.ids[:2]))
    assert len(read_split(tmp_path / "val")) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["val"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_split(tmp_path / "val", SPLIT)
    (tmp_path / "val" / name).unlink()
    with pytest.raises(EdgemotionError, match=rf"val/{name} is missing; run `dvc repro prepare`"):
        read_split(tmp_path / "val")


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "boxes.npy"])
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
    with pytest.raises(EdgemotionError, match="val: 3 images, 2 labels, 3 boxes and 3 ids; run `dvc repro prepare`"):
        read_split(tmp_path / "val")


@pytest.mark.parametrize("classes", [None, [], ["ärgerlich", "happy", "sad"]])
def test_the_classes_of_the_split_are_taken_where_none_others_are_wanted(
    tmp_path: Path, classes: list[str] | None
) -> None:
    write_split(tmp_path / "val", SPLIT)
    assert read_split(tmp_path / "val", classes=classes).classes == ["ärgerlich", "happy", "sad"]


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["ärgerlich", "happy"], "val has the classes sad too many; prepare"),
        (["ärgerlich", "happy", "sad", "bored", "tired"], "val lacks the classes bored, tired; prepare"),
        (["happy", "sad", "bored"], "val has the classes ärgerlich too many and lacks the classes bored; prepare"),
        (["happy", "sad", "ärgerlich"], "val has the classes in the order ärgerlich, happy, sad, not happy, sad, ä"),
    ],
)
def test_other_classes_than_the_wanted_are_refused(tmp_path: Path, classes: list[str], told: str) -> None:
    write_split(tmp_path / "val", SPLIT)
    with pytest.raises(EdgemotionError, match=told):
        read_split(tmp_path / "val", classes=classes)
