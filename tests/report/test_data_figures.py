"""The figures of the data show what is there, and come out the same each time."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgemotion.datasets.splits import Split
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
    return Split(images, labels, ids, np.zeros(len(labels), bool), np.zeros(len(labels), np.int64))


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
    data_figures.samples(tmp_path / "samples.png", split_of([9, 4, 7], channels), CLASSES, columns=5)
    picture = read(tmp_path / "samples.png")
    shown = [tiles(picture, [gray] * 3 if channels == 1 else [gray, 0, 0]) for gray in GRAYS]
    assert [count for count, _, _ in shown] == [5, 4, 5]
    assert [rows for _, rows, _ in shown] == [1, 1, 1]
    assert shown[0][2] < shown[1][2] < shown[2][2]


def test_a_class_without_images_leaves_its_row_empty(tmp_path: Path) -> None:
    data_figures.samples(tmp_path / "samples.png", split_of([2, 0, 1]), CLASSES, columns=2)
    picture = read(tmp_path / "samples.png")
    assert [tiles(picture, [gray] * 3)[0] for gray in GRAYS] == [2, 0, 1]


def test_an_image_is_shown_once(tmp_path: Path) -> None:
    images = np.array([30, 90, 150], np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    split = Split(images, np.zeros(3, np.int64), ["a", "b", "c"], np.zeros(3, bool), np.zeros(3, np.int64))
    data_figures.samples(tmp_path / "samples.png", split, ["angry"], columns=3)
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


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        data_figures.samples(tmp_path / name / "samples.png", split_of([9, 4, 7]), CLASSES, columns=3)
        data_figures.class_balance(tmp_path / name / "balance.png", {"train": {"angry": 3}, "val": {"angry": 1}})
    for name in ("samples.png", "balance.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b/c" / name).read_bytes()
        assert [path.name for path in sorted((tmp_path / "a").iterdir())] == ["balance.png", "samples.png"]
