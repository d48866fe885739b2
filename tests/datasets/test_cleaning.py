"""Splits share no image after cleaning, and everything found is told."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemotion.datasets.cleaning import Finding, clean, collect, fingerprint
from edgemotion.datasets.images import Record
from edgemotion.datasets.splits import Split
from edgemotion.errors import EdgemotionError

CLASSES = ["angry", "happy"]
# Distinct 2x2 gray images, far from constant.
POOL = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 1), dtype=np.uint8)


def split_of(name: str, pictures: list[int], labels: list[int] | None = None) -> Split:
    """Images of the pool by their numbers, each with a box of its own; ids are <split><place>."""
    return Split(
        images=POOL[pictures].reshape(-1, 2, 2, 1),
        labels=np.array(labels if labels is not None else [0] * len(pictures), np.int64),
        ids=[f"{name}{place}" for place in range(len(pictures))],
        leaked=np.zeros(len(pictures), bool),
        streams=np.zeros(len(pictures), np.int64),
        boxes=np.array([(0, 0, 1, (1 + number) / len(POOL)) for number in pictures], np.float32).reshape(-1, 4),
        classes=CLASSES,
    )


def published() -> dict[str, Split]:
    """A pair within train; one image in train and val, one in train and test (another label), one in val and test."""
    return {
        "train": split_of("train", [0, 0, 1, 2], labels=[0, 0, 1, 0]),
        "val": split_of("val", [1, 3], labels=[1, 1]),
        "test": split_of("test", [2, 3, 4], labels=[1, 1, 0]),
        # A frame of a recording may also stand in a split; recordings are another question.
        "streams": split_of("stream", [0], labels=[0]),
    }


def fingerprints(split: Split) -> set[str]:
    return {fingerprint(image) for image in split.images}


def test_leaking_copies_are_dropped_and_the_test_split_stays_whole() -> None:
    splits, _, counts = clean(published(), drop_leaks=True)
    assert splits["train"].ids == ["train0", "train1"]
    assert splits["val"].ids == ["val0"]
    assert splits["test"].ids == ["test0", "test1", "test2"]
    assert splits["streams"].ids == ["stream0"]
    assert (splits["train"].images == POOL[[0, 0]]).all()
    assert splits["val"].labels.tolist() == [1]
    assert counts["images"] == {"train": 2, "val": 1, "test": 3, "streams": 1}
    assert counts["leaks"]["dropped"] == {"train": 2, "val": 1}
    assert counts["classes"]["test"] == {"angry": 1, "happy": 2}


def test_the_training_split_stays_whole_on_request_and_val_yields() -> None:
    splits, findings, counts = clean(published() | {"val": split_of("val", [1, 3, 4, 5])}, drop_leaks=False)
    assert {name: splits[name].ids for name in ("train", "test", "streams")} == {
        name: published()[name].ids for name in ("train", "test", "streams")
    }
    # One stands in train, two in test.
    assert splits["val"].ids == ["val3"] and not splits["val"].leaked.any()
    assert (splits["val"].boxes == split_of("val", [5]).boxes).all()
    assert counts["images"] == {"train": 4, "val": 1, "test": 3, "streams": 1}
    assert counts["leaks"]["dropped"] == {"train": 0, "val": 3}
    findings = clean(published(), drop_leaks=False)[1]
    assert findings == clean(published(), drop_leaks=True)[1]


@pytest.mark.parametrize("drop_leaks", [True, False])
def test_marks_and_counts_tell_of_the_splits_as_published(drop_leaks: bool) -> None:
    splits, _, counts = clean(published(), drop_leaks)
    assert dict(zip(splits["test"].ids, splits["test"].leaked.tolist(), strict=True)) == {
        "test0": True,
        "test1": False,
        "test2": False,
    }
    assert splits["val"].leaked.tolist() == ([True] if drop_leaks else [])
    assert not splits["train"].leaked.any()
    leaks = {name: counts["leaks"][name] for name in ("test_in_train", "val_in_train", "val_in_test")}
    assert leaks == {"test_in_train": 1, "val_in_train": 1, "val_in_test": 1}
    assert counts["duplicates"] == {
        "groups": 4,
        "surplus_images": 4,
        "groups_across_splits": 3,
        "groups_with_label_conflict": 1,
    }


def test_findings_name_every_member_of_a_group() -> None:
    _, findings, _ = clean(published(), drop_leaks=True)
    assert findings == [
        Finding("duplicate", "train", "train0", "angry", fingerprint(POOL[0])),
        Finding("duplicate", "train", "train1", "angry", fingerprint(POOL[0])),
        Finding("duplicate", "train", "train2", "happy", fingerprint(POOL[1])),
        Finding("duplicate", "val", "val0", "happy", fingerprint(POOL[1])),
        Finding("conflict", "train", "train3", "angry", fingerprint(POOL[2])),
        Finding("conflict", "test", "test0", "happy", fingerprint(POOL[2])),
        Finding("duplicate", "val", "val1", "happy", fingerprint(POOL[3])),
        Finding("duplicate", "test", "test1", "happy", fingerprint(POOL[3])),
    ]


@pytest.mark.parametrize(
    ("image", "constant"),
    [
        (np.full((4, 4, 1), 128), True),
        # A checkerboard of a and a + d has the standard deviation d / 2: 1.5 and 2.5 here.
        (100 + 3 * (np.indices((4, 4)).sum(axis=0) % 2)[:, :, None], True),
        (100 + 5 * (np.indices((4, 4)).sum(axis=0) % 2)[:, :, None], False),
        (np.broadcast_to(np.array([200, 0, 0]), (4, 4, 3)), True),
        (np.eye(4)[:, :, None] * np.array([0, 0, 90]), False),
    ],
)
def test_an_image_without_contrast_is_told_and_kept(image: np.ndarray, constant: bool) -> None:
    one = replace(split_of("flat", [0], labels=[1]), images=image[None].astype(np.uint8), ids=["flat"])
    empty = replace(split_of("none", []), images=np.empty((0, *image.shape), np.uint8))
    splits, findings, counts = clean({"train": one, "val": empty, "test": empty, "streams": empty}, drop_leaks=True)
    assert findings == ([Finding("constant", "train", "flat", "happy", "")] if constant else [])
    assert counts["constant"] == len(findings)
    assert splits["train"].ids == ["flat"]


def test_identity_is_that_of_the_pixels_not_of_their_memory() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 6, 1)
    assert fingerprint(image) == fingerprint(image.copy())
    assert fingerprint(image) == fingerprint(np.repeat(image, 2, axis=1)[:, ::2])
    assert fingerprint(image) != fingerprint(image[:, ::-1])


PICTURES = st.lists(st.integers(0, len(POOL) - 1), max_size=10)


@given(PICTURES, PICTURES, PICTURES)
def test_cleaned_splits_share_no_image_and_lose_no_other(train: list[int], val: list[int], test: list[int]) -> None:
    given_splits = {
        "train": split_of("train", train),
        "val": split_of("val", val),
        "test": split_of("test", test),
        "streams": split_of("stream", []),
    }
    dropped, _, counts = clean(given_splits, drop_leaks=True)
    for one, other in itertools.combinations(("train", "val", "test"), 2):
        assert not fingerprints(dropped[one]) & fingerprints(dropped[other])
    # The rule, said over the numbers of the pictures.
    assert dropped["train"].ids == [f"train{i}" for i, picture in enumerate(train) if picture not in {*val, *test}]
    assert dropped["val"].ids == [f"val{i}" for i, picture in enumerate(val) if picture not in test]
    assert dropped["test"].ids == given_splits["test"].ids
    assert counts["leaks"]["test_in_train"] == sum(picture in train for picture in test)
    whole, _, _ = clean(given_splits, drop_leaks=False)
    assert (whole["train"].ids, whole["test"].ids) == (given_splits["train"].ids, given_splits["test"].ids)
    assert whole["val"].ids == [f"val{i}" for i, picture in enumerate(val) if picture not in {*train, *test}]
    assert whole["test"].leaked.tolist() == dropped["test"].leaked.tolist() == [picture in train for picture in test]
    assert dropped["val"].leaked.tolist() == [picture in train for picture in val if picture not in test]


def record(split: str, label: str = "happy", image: np.ndarray | None = POOL[0], stream: int = 0) -> Record:
    return Record(f"{split}/{label}.png", split, label, image, stream)


# One of each class to train, which every gathering needs.
TRAIN = [record("train"), record("train", "angry")]


def test_records_are_gathered_in_order_with_their_streams() -> None:
    frames = [record("streams", "angry", POOL[1], stream=2), record("streams", "happy", POOL[2], stream=2)]
    splits, unreadable = collect(
        [record("test"), *frames, record("val"), *TRAIN, record("train", "angry", None)], CLASSES, 2, 2, 1
    )
    assert {name: len(split) for name, split in splits.items()} == {"train": 2, "val": 1, "test": 1, "streams": 2}
    assert splits["streams"].streams.tolist() == [2, 2]
    assert splits["streams"].labels.tolist() == [0, 1]
    assert (splits["streams"].images == POOL[[1, 2]]).all()
    assert unreadable == [Finding("unreadable", "train", "train/angry.png", "angry", "")]


def test_boxes_and_classes_come_with_the_images() -> None:
    boxed = replace(record("val", "angry"), box=(0.0, 0.25, 0.5, 1.0))
    splits, _ = collect([*TRAIN, record("val"), boxed, record("test")], CLASSES, 2, 2, 1)
    assert splits["val"].boxes.dtype == np.float32
    assert splits["val"].boxes.tolist() == [[0, 0, 1, 1], [0, 0.25, 0.5, 1]]
    assert splits["streams"].boxes.shape == (0, 4)
    assert all(split.classes == CLASSES for split in splits.values())
    # What cleaning drops, it drops with its box: val's two images are test's one.
    cleaned, _, _ = clean(splits, drop_leaks=True)
    assert (len(cleaned["val"]), len(cleaned["val"].boxes), cleaned["val"].classes) == (0, 0, CLASSES)


def test_a_layout_error_is_told_and_its_image_kept_where_there_is_one() -> None:
    wrong = [
        replace(record("val"), problem="several boxes"),
        Record("x.txt", "test", "", None, problem="label without image"),
        Record("y.png", "", "", None, problem="image outside of the splits"),
    ]
    splits, told = collect([*TRAIN, *wrong, record("test")], CLASSES, 2, 2, 1)
    assert told == [
        Finding("several boxes", "val", "val/happy.png", "happy", ""),
        Finding("label without image", "test", "x.txt", "", ""),
        Finding("image outside of the splits", "", "y.png", "", ""),
    ]
    assert splits["val"].ids == ["val/happy.png"]


def test_a_dataset_without_recordings_has_an_empty_streams_split() -> None:
    splits, _ = collect([*TRAIN, record("val"), record("test")], CLASSES, 5, 6, 1)
    assert splits["streams"].images.shape == (0, 5, 6, 1)
    assert splits["train"].images.shape == (2, 5, 6, 1)


def test_the_classes_are_those_found_where_none_are_given() -> None:
    splits, _ = collect(
        [record("train", "b"), record("train", "C"), record("val", "b"), record("test", "C")], [], 2, 2, 1
    )
    assert splits["train"].classes == splits["streams"].classes == ["C", "b"]
    assert splits["train"].labels.tolist() == [1, 0]


def test_a_class_that_the_settings_do_not_have_is_named() -> None:
    with pytest.raises(
        EdgemotionError, match=r"train/bored\.png has the class 'bored', data\.classes has angry, happy"
    ):
        collect([record("train", "bored")], CLASSES, 2, 2, 1)


@pytest.mark.parametrize("classes", [CLASSES, []])
def test_a_class_without_an_image_to_learn_from_is_named(classes: list[str]) -> None:
    records = [record("train"), record("val", "angry"), record("test"), record("train", "angry", None)]
    with pytest.raises(
        EdgemotionError, match=r"training split has no readable image of the class 'angry'; check data\."
    ):
        collect(records, classes, 2, 2, 1)


def test_a_split_without_a_readable_image_is_named() -> None:
    with pytest.raises(EdgemotionError, match=r"no readable image of the split 'val'; check data\.layout"):
        collect([*TRAIN, record("val", image=None), record("test")], CLASSES, 2, 2, 1)
