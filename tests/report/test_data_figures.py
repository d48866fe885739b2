"""The figures of the data show what is there, and come out the same each time."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemotion.datasets.cleaning import Finding
from edgemotion.datasets.splits import Split, whole_boxes
from edgemotion.report import data_figures

CLASSES = ["angry", "happy", "sad"]
GRAYS = [40, 120, 200]


def split_of(counts: list[int], channels: int = 1) -> Split:
    """Flat images of their class's gray level, in mixed order."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    images = np.array(GRAYS, np.uint8)[labels][:, None, None, None] * np.ones((1, 8, 8, channels), np.uint8)
    if channels == 3:
        images[..., 1:] = 0
    ids = [str(number) for number in range(len(labels))]
    leaked, streams = np.zeros(len(labels), bool), np.zeros(len(labels), np.int64)
    return Split(images, labels, ids, leaked, streams, whole_boxes(len(labels)), CLASSES)


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image


def tiles(picture: np.ndarray, colour: list[int]) -> tuple[int, int, float]:
    """How many tiles of one colour there are and in how many rows, and the height of their middle."""
    # A colour map may be off by one level.
    mask = (abs(picture - np.array(colour, np.float64)) <= 1).all(axis=2).astype(np.uint8)
    _, _, stats, centres = cv2.connectedComponentsWithStats(mask)
    found = [centre for centre, stat in zip(centres[1:], stats[1:], strict=True) if stat[cv2.CC_STAT_AREA] > 500]
    rows = {round(centre[1] / 10) for centre in found}
    return len(found), len(rows), float(np.mean([centre[1] for centre in found])) if found else 0.0


@pytest.mark.parametrize("channels", [1, 3])
def test_every_class_has_its_row_of_its_own_images(tmp_path: Path, channels: int) -> None:
    data_figures.samples(tmp_path / "samples.png", split_of([9, 4, 7], channels), columns=5)
    picture = read(tmp_path / "samples.png")
    shown = [tiles(picture, [gray] * 3 if channels == 1 else [gray, 0, 0]) for gray in GRAYS]
    assert [count for count, _, _ in shown] == [5, 4, 5]
    assert [rows for _, rows, _ in shown] == [1, 1, 1]
    assert shown[0][2] < shown[1][2] < shown[2][2]


def test_a_class_without_images_leaves_its_row_empty(tmp_path: Path) -> None:
    data_figures.samples(tmp_path / "samples.png", split_of([2, 0, 1]), columns=2)
    picture = read(tmp_path / "samples.png")
    assert [tiles(picture, [gray] * 3)[0] for gray in GRAYS] == [2, 0, 1]


def test_an_image_is_shown_once(tmp_path: Path) -> None:
    images = np.array([30, 90, 150], np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    labels = streams = np.zeros(3, np.int64)
    split = Split(images, labels, ["a", "b", "c"], np.zeros(3, bool), streams, whole_boxes(3), ["angry"])
    data_figures.samples(tmp_path / "samples.png", split, columns=3)
    assert [tiles(read(tmp_path / "samples.png"), [gray] * 3)[0] for gray in (30, 90, 150)] == [1, 1, 1]


def bars(picture: np.ndarray) -> list[int]:
    """Heights in pixels of the filled areas in matplotlib's first two colours, from left to right."""
    heights = []
    for colour in ([31, 119, 180], [255, 127, 14]):
        mask = (picture == np.array(colour, np.uint8)).all(axis=2).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        wide = [stat for stat in stats[1:] if stat[cv2.CC_STAT_WIDTH] > 40]
        heights += [
            int(stat[cv2.CC_STAT_HEIGHT]) for stat in sorted(wide, key=lambda stat: int(stat[cv2.CC_STAT_LEFT]))
        ]
    return heights


def test_bars_stand_for_the_counts_on_a_log_scale(tmp_path: Path) -> None:
    counts = {"train": {"angry": 10, "happy": 1000}, "test": {"angry": 100, "happy": 10}}
    data_figures.class_balance(tmp_path / "balance.png", counts)
    angry, happy, test_angry, test_happy = bars(read(tmp_path / "balance.png"))
    assert test_happy == pytest.approx(angry, abs=2)
    # Equal ratios are equal distances.
    assert happy - test_angry == pytest.approx(test_angry - angry, abs=2)
    assert happy - angry > 50


def test_a_class_that_a_split_lacks_has_no_bar(tmp_path: Path) -> None:
    data_figures.class_balance(tmp_path / "a.png", {"train": {"angry": 5, "sad": 9}, "val": {"angry": 2, "sad": 0}})
    assert len(bars(read(tmp_path / "a.png"))) == 3


def test_the_mean_face_is_the_mean_of_its_class(tmp_path: Path) -> None:
    split = split_of([4, 0, 2])
    # 0 and 40 by halves: a mean that no image has.
    split.images[np.flatnonzero(split.labels == 0)[:2]] = 0
    data_figures.mean_faces(tmp_path / "mean.png", split)
    picture = read(tmp_path / "mean.png")
    assert [tiles(picture, [gray] * 3)[0] for gray in (20, 40, 120, 200)] == [1, 0, 0, 1]


def findings(kind: str, copies: list[tuple[str, str, str]], group: str) -> list[Finding]:
    return [Finding(kind, split, id_, label, group) for split, id_, label in copies]


def two_splits() -> dict[str, Split]:
    """The flat images of split_of, in train and in val."""
    return {"train": split_of([3, 3, 3]), "val": split_of([3, 3, 3])}


def place(split: Split, label: int, number: int) -> str:
    return split.ids[np.flatnonzero(split.labels == label)[number]]


def test_identical_images_stand_side_by_side_with_conflicts_first(tmp_path: Path) -> None:
    splits = two_splits()
    train = splits["train"]
    pair = findings("duplicate", [("train", place(train, 0, n), "angry") for n in (0, 1)], "a")
    both = [
        ("train", place(train, 2, 0), "sad"),
        ("train", place(train, 2, 1), "happy"),
        ("val", place(train, 2, 0), "sad"),
    ]
    constant = Finding("constant", "train", place(train, 1, 0), "happy", "")
    data_figures.duplicates(tmp_path / "a.png", splits, [constant, *pair, *findings("conflict", both, "b")], columns=4)
    picture = read(tmp_path / "a.png")
    (pairs, pair_rows, pair_height), (triples, triple_rows, triple_height) = (
        tiles(picture, [g] * 3) for g in (40, 200)
    )
    assert (pairs, pair_rows, triples, triple_rows) == (2, 1, 3, 1)
    assert triple_height < pair_height
    assert tiles(picture, [120] * 3)[0] == 0
    # The colour of firebrick marks the captions of the conflict alone.
    red = (picture[..., 0] > 150) & (picture[..., 1] < 60)
    assert red[: int(triple_height)].any() and not red[int(triple_height) :].any()


def test_no_more_groups_and_copies_are_drawn_than_wanted(tmp_path: Path) -> None:
    splits = two_splits()
    found = [finding for label in range(3) for finding in findings(
        "duplicate", [("train", place(splits["train"], label, n), CLASSES[label]) for n in range(3)], f"{label}"
    )]  # fmt: skip
    data_figures.duplicates(tmp_path / "a.png", splits, found, groups=2, columns=2)
    assert [tiles(read(tmp_path / "a.png"), [gray] * 3)[0] for gray in GRAYS] == [2, 2, 0]


def test_a_note_stands_where_no_image_occurs_twice(tmp_path: Path) -> None:
    data_figures.duplicates(tmp_path / "a.png", two_splits(), [Finding("constant", "train", "0", "angry", "")])
    picture = read(tmp_path / "a.png")
    assert [tiles(picture, [gray] * 3)[0] for gray in GRAYS] == [0, 0, 0]
    assert (picture < 100).any()


@given(st.lists(st.integers(1, 5), max_size=20))
def test_blocks_never_overlap_nor_touch_nor_leave_their_rows(widths: list[int]) -> None:
    places = data_figures.flow(widths, columns=5)
    assert len(places) == len(widths)
    taken: set[tuple[int, int]] = set()
    for (row, start), width in zip(places, widths, strict=True):
        cells = {(row, column) for column in range(start, start + width)}
        assert max(column for _, column in cells) < 5
        assert not taken & cells
        taken |= cells | {(row, start + width)}


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        data_figures.samples(tmp_path / name / "samples.png", split_of([9, 4, 7]), columns=3)
        data_figures.mean_faces(tmp_path / name / "mean_faces.png", split_of([9, 4, 7]))
        copies = [("train", "0", "angry"), ("val", "1", "sad")]
        data_figures.duplicates(tmp_path / name / "duplicates.png", two_splits(), findings("conflict", copies, "a"))
        data_figures.class_balance(tmp_path / name / "balance.png", {"train": {"angry": 3}, "val": {"angry": 1}})
    names = ["balance.png", "duplicates.png", "mean_faces.png", "samples.png"]
    assert [path.name for path in sorted((tmp_path / "a").iterdir())] == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b/c" / name).read_bytes()
