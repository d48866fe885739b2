"""Archives of class folders, with splits or drawn into them, with and without recorded sequences."""

import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemotion import registry
from edgemotion.datasets.archive import opened
from edgemotion.datasets.cleaning import collect
from edgemotion.datasets.image_folder import share_out
from edgemotion.datasets.images import Record
from edgemotion.errors import EdgemotionError


def png(value: int, height: int = 6, width: int = 4) -> bytes:
    return cv2.imencode(".png", np.full((height, width), value, np.uint8))[1].tobytes()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


def records(path: Path, channels: int = 1, **args: Any) -> list[Record]:
    with opened(path) as zipped:
        return list(registry.call("layout", "image_folder", zipped, channels=channels, args=args))


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


def test_frames_stand_in_the_order_of_time_whatever_their_names_sort_like(tmp_path: Path) -> None:
    names = [f"streams/{stream}/{frame}_sad.png" for stream in (10, 9) for frame in (10, 9, 100)]
    found = records(write_zip(tmp_path / "a.zip", dict.fromkeys(names, png(0))))
    assert [record.id for record in found] == [
        f"streams/{stream}/{frame}_sad.png" for stream in (9, 10) for frame in (9, 10, 100)
    ]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("1.png", []),
        ("train/1.png", []),
        ("train/happy/deeper/1.png", []),
        ("holdout/happy/1.png", ["train/happy/1.png"]),
        ("happy/1.png", ["train/happy/1.png"]),
        ("b/happy/1.png", ["a/happy/1.png"]),
        ("happy/deeper/1.png", ["happy/1.png"]),
    ],
)
def test_an_image_outside_the_layout_is_named(tmp_path: Path, name: str, others: list[str]) -> None:
    with pytest.raises(EdgemotionError, match=rf"a\.zip: {name} does not lie in <split>/<class>/"):
        records(write_zip(tmp_path / "a.zip", dict.fromkeys([*others, name], png(0))))


@pytest.mark.parametrize(
    "name",
    [
        "streams/one/0001_sad.png", "streams/001/0001.png", "streams/001/first_sad.png",
        f"streams/{10**19}/0001_sad.png", f"streams/001/{10**19}_sad.png",
    ],
)  # fmt: skip
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
    large = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    members = {
        "train/sad/1.png": cv2.imencode(".png", large)[1].tobytes(),
        "val/sad/1.png": png(77, 3, 2),
        "test/sad/1.png": png(99, 4, 4),
    }
    splits, _ = collect(records(write_zip(tmp_path / "a.zip", members), channels), ["sad"], 4, 4, channels)
    assert all(split.images.shape[1:] == (4, 4, channels) for split in splits.values())
    # A smaller image holds the mean of each area.
    wanted = large.reshape(4, 4, 4, 4).mean((1, 3))
    np.testing.assert_allclose(splits["train"].images[0, :, :, 0], wanted, rtol=0, atol=0.5)
    assert (splits["val"].images == 77).all()
    assert (splits["test"].images == 99).all()


def noise(count: int, seed: int = 0) -> list[bytes]:
    images = np.random.default_rng(seed).integers(0, 256, (count, 6, 4), dtype=np.uint8)
    return [cv2.imencode(".png", image)[1].tobytes() for image in images]


def one_folder(counts: dict[str, int], root: str = "any/faces/") -> dict[str, bytes]:
    """Different images in class folders without splits."""
    images = iter(noise(sum(counts.values())))
    return {f"{root}{label}/{number}.png": next(images) for label, count in counts.items() for number in range(count)}


def drawn(found: list[Record]) -> dict[str, str]:
    """The split of each readable image."""
    return {record.id: record.split for record in found if record.image is not None}


def test_one_folder_of_classes_is_drawn_into_splits_class_by_class(tmp_path: Path) -> None:
    counts = {"Bored": 40, "Confused": 20, "Focused": 7, "Tired": 3}
    found = records(write_zip(tmp_path / "a.zip", one_folder(counts)))
    assert [(record.problem, record.image) for record in found if record.problem] == [
        ("no split folders: drawn by seed", None)
    ]
    assert Counter((record.label, record.split) for record in found if record.image is not None) == {
        ("Bored", "train"): 28, ("Bored", "val"): 6, ("Bored", "test"): 6,
        ("Confused", "train"): 14, ("Confused", "val"): 3, ("Confused", "test"): 3,
        ("Focused", "train"): 5, ("Focused", "val"): 1, ("Focused", "test"): 1,
        ("Tired", "train"): 1, ("Tired", "val"): 1, ("Tired", "test"): 1,
    }  # fmt: skip


def test_the_seed_and_the_pixels_draw_not_the_names(tmp_path: Path) -> None:
    members = one_folder({"a": 30, "b": 30})
    splits = drawn(records(write_zip(tmp_path / "a.zip", members)))
    assert drawn(records(write_zip(tmp_path / "b.zip", dict(reversed(members.items()))))) == splits
    assert drawn(records(write_zip(tmp_path / "a.zip", members), seed=43)) != splits
    # Renamed, and stored as another format of the same pixels.
    renamed = {name: f"new/{PurePosixPath(name).parent.name}/{99 - at}.bmp" for at, name in enumerate(members)}
    images = {
        renamed[name]: cv2.imencode(".bmp", cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE))[1]
        for name, content in members.items()
    }
    again = drawn(records(write_zip(tmp_path / "c.zip", {name: image.tobytes() for name, image in images.items()})))
    assert {name: again[renamed[name]] for name in members} == splits


def test_identical_pixels_stay_together_even_across_classes(tmp_path: Path) -> None:
    members = one_folder({"a": 24, "b": 12})
    for number in range(24):
        same = members[f"any/faces/a/{number}.png"]
        members |= {f"any/faces/a/copy{number}.png": same, f"any/faces/b/copy{number}.png": same}
    splits = drawn(records(write_zip(tmp_path / "a.zip", members)))
    for number in range(24):
        assert len({splits[f"any/faces/{name}{number}.png"] for name in ("a/", "a/copy", "b/copy")}) == 1
    # Of 72 images 0.15 are eleven, and three groups of three the most that fit.
    chosen = Counter(splits[f"any/faces/a/{number}.png"] for number in range(24))
    assert chosen == {"train": 18, "val": 3, "test": 3}


@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=40),
    shares=st.tuples(st.floats(0.01, 0.49), st.floats(0.01, 0.49)),
)
def test_quotas_are_kept_and_no_split_is_empty(sizes: list[int], shares: tuple[float, float]) -> None:
    groups = {str(number): size for number, size in enumerate(sizes)}
    quotas = dict(zip(("test", "val"), (share * sum(sizes) for share in shares), strict=True))
    taken = share_out(groups, quotas)
    assert set(taken) == set(groups)
    assert set(taken.values()) == {"train", "val", "test"}
    for split, quota in quotas.items():
        chosen = [groups[name] for name in groups if taken[name] == split]
        assert sum(chosen) <= max(1, round(quota)) or len(chosen) == 1


def test_without_a_val_folder_it_is_cut_from_train_alone(tmp_path: Path) -> None:
    images = iter(noise(60))
    folders = (("train", 40), ("test", 20))
    members = {
        f"{split}/{label}/{n}.png": next(images) for split, all_ in folders for label in "ab" for n in range(all_ // 2)
    }
    found = records(write_zip(tmp_path / "a.zip", members), val=0.25)
    assert [record.problem for record in found if record.problem] == ["no val folder: drawn from train by seed"]
    assert Counter((record.label, record.split) for record in found if record.image is not None) == {
        (label, split): count for label in "ab" for split, count in (("train", 15), ("val", 5), ("test", 10))
    }
    assert all(record.id.startswith(record.split) for record in found if record.split == "test")


def test_whole_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    members = {f"{split}/a/1.png": png(0) for split in ("Training", "VALID", "test")}
    found = records(write_zip(tmp_path / "a.zip", members), val=0.4, test=0.4, seed=1)
    assert [(record.split, record.problem) for record in found] == [("train", ""), ("val", ""), ("test", "")]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (
            {"a": 9, "b": 2},
            "the class 'b' has 2 different readable images of its own, too few to draw test, val and tr",
        ),
        ({"a": 2, "b": 9}, "the class 'a' has 2 different"),
    ],
)
def test_a_class_with_too_few_images_for_three_splits_is_named(
    tmp_path: Path, counts: dict[str, int], told: str
) -> None:
    members = one_folder(counts)
    few = min(counts, key=lambda label: counts[label])
    # Neither copies nor broken files are more images.
    members |= {f"any/faces/{few}/copy.png": members[f"any/faces/{few}/0.png"], f"any/faces/{few}/x.png": b"cut"}
    with pytest.raises(EdgemotionError) as caught:
        records(write_zip(tmp_path / "a.zip", members))
    assert told in str(caught.value) and "it needs 3" in str(caught.value)


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (0.0, 0.2), (0.2, -0.1), (float("nan"), 0.1), (2.0, 0.1)])
def test_shares_must_leave_something_to_train(tmp_path: Path, val: float, test: float) -> None:
    with pytest.raises(EdgemotionError, match="must be above 0 and leave a share for train"):
        records(write_zip(tmp_path / "a.zip", one_folder({"a": 9})), val=val, test=test)


def test_an_unreadable_image_of_one_folder_is_in_no_split(tmp_path: Path) -> None:
    found = records(write_zip(tmp_path / "a.zip", one_folder({"a": 5}) | {"any/faces/a/x.png": b"cut"}))
    assert [(record.split, record.label) for record in found if record.image is None and not record.problem] == [
        ("", "a")
    ]
