"""Records of an archive in; splits that share no image, and everything found on the way, out."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from edgemotion.datasets.images import Record, resize
from edgemotion.datasets.splits import Split
from edgemotion.errors import EdgemotionError

SPLITS = ("train", "val", "test", "streams")
# Below this standard deviation of every channel an image shows no face (FER2013 has blank ones).
CONSTANT_STD = 2.0


class Finding(NamedTuple):
    """One remarkable image; `group` is shared by images of identical pixels."""

    kind: str
    split: str
    id: str
    label: str
    group: str


def collect(
    records: Iterable[Record], classes: Sequence[str], height: int, width: int, channels: int
) -> tuple[dict[str, Split], list[Finding]]:
    """Gather records into one Split a name, resized; unreadable images and layout errors are returned as findings.

    Empty `classes` take those of the images, sorted. Raises EdgemotionError for a label that is not in `classes`, for
    an empty train, val or test split and for a class without a training image.
    """
    kept: dict[str, list[tuple[Record, np.ndarray]]] = {name: [] for name in SPLITS}
    told = []
    for record in records:
        if classes and record.label and record.label not in classes:
            raise EdgemotionError(f"{record.id} has the class {record.label!r}, data.classes has {', '.join(classes)}")
        if record.problem or record.image is None:
            told.append(Finding(record.problem or "unreadable", record.split, record.id, record.label, ""))
        if record.image is not None:
            kept[record.split].append((replace(record, image=None), resize(record.image, height, width)))
    for name in ("train", "val", "test"):
        if not kept[name]:
            raise EdgemotionError(f"the archive has no readable image of the split {name!r}; check data.layout")
    classes = classes or sorted({record.label for entries in kept.values() for record, _ in entries})
    learnable = {record.label for record, _ in kept["train"]}
    for name in classes:
        if name not in learnable:
            raise EdgemotionError(f"the training split has no readable image of the class {name!r}; check data.classes")
    return {name: stack(entries, classes, (height, width, channels)) for name, entries in kept.items()}, told


def stack(entries: list[tuple[Record, np.ndarray]], classes: Sequence[str], shape: tuple[int, int, int]) -> Split:
    """Join records and their images uint8 of one shape [H,W,C] to a split."""
    images = [image for _, image in entries]
    return Split(
        images=np.stack(images) if images else np.empty((0, *shape), np.uint8),
        labels=np.array([classes.index(record.label) for record, _ in entries], np.int64),
        ids=[record.id for record, _ in entries],
        leaked=np.zeros(len(entries), bool),
        streams=np.array([record.stream for record, _ in entries], np.int64),
        boxes=np.array([record.box for record, _ in entries], np.float32).reshape(-1, 4),
        classes=list(classes),
    )


def clean(splits: dict[str, Split], drop_leaks: bool) -> tuple[dict[str, Split], list[Finding], dict[str, Any]]:
    """Mark and drop images that stand in several splits; return cleaned splits, findings and their counts.

    Identity is that of the decoded pixels. The test split stays whole. With `drop_leaks` the training copies of val and
    test images go; without it the training split stays as given, and the val copies of training images go instead. Val
    copies of test images go in any case, so choices are made on images that are neither trained nor tested on.
    `leaked` marks val and test images with a copy in the training split as given, so that the leak-free part of the
    test split is the same with and without.
    """
    pixels = {
        name: [fingerprint(image) for image in split.images] for name, split in splits.items() if name != "streams"
    }
    train, val, test = (set(pixels[name]) for name in ("train", "val", "test"))
    marked = {
        name: replace(splits[name], leaked=np.array([pixel in train for pixel in pixels[name]], bool))
        for name in ("val", "test")
    }
    dropped = {
        "train": np.array([drop_leaks and (pixel in val or pixel in test) for pixel in pixels["train"]], bool),
        "val": np.array([pixel in test or (not drop_leaks and pixel in train) for pixel in pixels["val"]], bool),
    }
    cleaned = {
        "train": take(splits["train"], ~dropped["train"]),
        "val": take(marked["val"], ~dropped["val"]),
        "test": marked["test"],
        "streams": splits["streams"],
    }
    findings, groups = duplicates(splits, pixels)
    constants = find_constants(splits)
    counts = {
        "images": {name: len(split) for name, split in cleaned.items()},
        "images_given": {name: len(split) for name, split in splits.items()},
        "classes": {name: count_classes(split) for name, split in cleaned.items()},
        "constant": len(constants),
        "duplicates": groups,
        "leaks": {
            "test_in_train": int(marked["test"].leaked.sum()),
            "val_in_train": int(marked["val"].leaked.sum()),
            "val_in_test": sum(pixel in test for pixel in pixels["val"]),
            "dropped": {name: int(mask.sum()) for name, mask in dropped.items()},
        },
    }
    return cleaned, [*constants, *findings], counts


def check_left(cleaned: dict[str, Split]) -> None:
    """EdgemotionError for a train or val split, or a class of train, of which cleaning left nothing."""
    for name in ("train", "val"):
        if not len(cleaned[name]):
            raise EdgemotionError(
                f"every image of the split {name!r} also stands in another; give it images of its own"
            )
    for name, count in count_classes(cleaned["train"]).items():
        if not count:
            raise EdgemotionError(
                f"every training image of the class {name!r} also stands in another split; give it images of its own"
            )


def duplicates(splits: dict[str, Split], pixels: dict[str, list[str]]) -> tuple[list[Finding], dict[str, int]]:
    """List groups of identical images over all splits, and those among them whose labels contradict each other."""
    members: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for name, digests in pixels.items():
        for digest, id_, label in zip(digests, splits[name].ids, splits[name].labels, strict=True):
            members[digest].append((name, id_, splits[name].classes[label]))
    groups = {digest: found for digest, found in members.items() if len(found) > 1}
    findings = []
    conflicts = 0
    for digest, found in groups.items():
        conflict = len({label for _, _, label in found}) > 1
        conflicts += conflict
        findings += [Finding("conflict" if conflict else "duplicate", *member, digest) for member in found]
    return findings, {
        "groups": len(groups),
        "surplus_images": sum(len(found) - 1 for found in groups.values()),
        "groups_across_splits": sum(len({name for name, _, _ in found}) > 1 for found in groups.values()),
        "groups_with_label_conflict": conflicts,
    }


def find_constants(splits: dict[str, Split]) -> list[Finding]:
    """List images without contrast; they are told and kept."""
    return [
        Finding("constant", name, split.ids[index], split.classes[split.labels[index]], "")
        for name, split in splits.items()
        for index in range(len(split))
        if split.images[index].std(axis=(0, 1)).max() < CONSTANT_STD
    ]


def take(split: Split, keep: np.ndarray) -> Split:
    """The rows of a split where `keep` bool [N] is true."""
    ids = [id_ for id_, kept in zip(split.ids, keep, strict=True) if kept]
    arrays = (split.images[keep], split.labels[keep], ids, split.leaked[keep], split.streams[keep], split.boxes[keep])
    return Split(*arrays, split.classes)


def count_classes(split: Split) -> dict[str, int]:
    """Images a class name."""
    counts = Counter(split.labels.tolist())
    return {name: counts[index] for index, name in enumerate(split.classes)}


def fingerprint(image: np.ndarray) -> str:
    """A 128-bit digest of an image's pixels."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest()
