"""Archives of <split>/<class>/ folders, with and without recorded sequences."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgemotion import registry
from edgemotion.datasets.archive import opened
from edgemotion.datasets.cleaning import collect
from edgemotion.datasets.images import Record
from edgemotion.errors import EdgemotionError


def png(value: int, height: int = 6, width: int = 4) -> bytes:
    return cv2.imencode(".png", np.full((height, width), value, np.uint8))[1].tobytes()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


def records(path: Path, channels: int = 1) -> list[Record]:
    with opened(path) as zipped:
        return list(registry.call("layout", "image_folder", zipped, channels=channels, args={}))


def test_splits_and_classes_come_from_the_folders(tmp_path: Path) -> None:
    members = {
        "faces/valid/sad/2.PNG": png(20),
        "faces/train/happy/1.png": png(10),
        "faces/validation/sad/3.bmp": cv2.imencode(".bmp", np.full((6, 4), 30, np.uint8))[1].tobytes(),
        "faces/test/sad/4.png": png(40),
        "faces/README.txt": b"not an image",
        "faces/train/happy/": b"",
    }
    found = records(write_zip(tmp_path / "a.zip", members))
    assert [(record.split, record.label, int(record.image.mean())) for record in found if record.image is not None] == [
        ("test", "sad", 40),
        ("train", "happy", 10),
        ("val", "sad", 20),
        ("val", "sad", 30),
    ]
    assert found[0].id == "faces/test/sad/4.png"


def test_streams_are_numbered_and_their_frames_ordered(tmp_path: Path) -> None:
    members = {
        f"streams/{stream:03d}/{frame:04d}_{label}.png": png(stream * 10 + frame)
        for stream, frame, label in [(1, 1, "sad"), (0, 1, "happy"), (0, 0, "very_happy"), (1, 0, "sad")]
    }
    found = records(write_zip(tmp_path / "a.zip", members))
    assert [
        (record.stream, record.label, int(record.image.mean())) for record in found if record.image is not None
    ] == [
        (0, "very_happy", 0),
        (0, "happy", 1),
        (1, "sad", 10),
        (1, "sad", 11),
    ]
    assert {record.split for record in found} == {"streams"}


@pytest.mark.parametrize("name", ["1.png", "happy/1.png", "holdout/happy/1.png", "train/happy/deeper/1.png"])
def test_an_image_outside_the_layout_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(EdgemotionError, match=rf"a\.zip: {name} does not lie in <split>/<class>/"):
        records(write_zip(tmp_path / "a.zip", {name: png(0)}))


@pytest.mark.parametrize("name", ["streams/one/0001_sad.png", "streams/001/0001.png"])
def test_a_frame_outside_the_layout_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(EdgemotionError, match=rf"{name} is not streams/<number>/<frame>_<class>"):
        records(write_zip(tmp_path / "a.zip", {name: png(0)}))


def test_an_unreadable_image_has_no_pixels(tmp_path: Path) -> None:
    cut = png(50)[:40]
    found = records(write_zip(tmp_path / "a.zip", {"train/sad/1.png": cut, "train/sad/2.png": b""}))
    assert [record.image for record in found] == [None, None]


def test_colour_is_rgb_and_gray_is_luma(tmp_path: Path) -> None:
    bgr = np.zeros((6, 4, 3), np.uint8)
    bgr[:, :, 2] = 200
    path = write_zip(tmp_path / "a.zip", {"train/sad/1.png": cv2.imencode(".png", bgr)[1].tobytes()})
    (colour,), (gray,) = records(path, channels=3), records(path, channels=1)
    assert colour.image is not None
    assert gray.image is not None
    assert colour.image[0, 0].tolist() == [200, 0, 0]
    # ITU-R BT.601: 0.299 of red is 59.8; decoders round or cut.
    assert gray.image[0, 0].tolist() in ([59], [60])


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size_are_brought_to_one(tmp_path: Path, channels: int) -> None:
    checks = np.kron(np.array([[0, 255], [255, 0]], np.uint8), np.ones((4, 4), np.uint8))
    members = {
        "train/sad/1.png": cv2.imencode(".png", checks)[1].tobytes(),
        "val/sad/1.png": png(77, 3, 2),
        "test/sad/1.png": png(99, 4, 4),
    }
    splits, _ = collect(records(write_zip(tmp_path / "a.zip", members), channels), ["sad"], 4, 4, channels)
    assert all(split.images.shape[1:] == (4, 4, channels) for split in splits.values())
    # Halving by area keeps each flat quarter.
    assert splits["train"].images[0, :, :, 0].tolist() == [[0, 0, 255, 255]] * 2 + [[255, 255, 0, 0]] * 2
    assert (splits["val"].images == 77).all()
    assert (splits["test"].images == 99).all()
