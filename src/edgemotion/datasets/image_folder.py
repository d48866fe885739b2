"""Any archive of class folders of images, with or without splits, and optional recorded sequences in streams/."""

import hashlib
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from edgemotion.datasets.images import SPLIT_FOLDERS, Record, decode, members
from edgemotion.errors import EdgemotionError
from edgemotion.registry import register

FOLDERS = {**SPLIT_FOLDERS, "streams": "streams"}
# A stream's number is kept in 64 bits.
STREAM, FRAME = re.compile("[0-9]{1,18}"), re.compile("[0-9]{1,18}_.+")


@register("layout")
def image_folder(
    zipped: zipfile.ZipFile, *, channels: int, val: float = 0.15, test: float = 0.15, seed: int = 42
) -> Iterator[Record]:
    """Yield <split>/<class>/<id>.png and streams/<number>/<frame>_<class>.png, below any common folder.

    Without split folders, <class>/<id>.png is drawn into splits by the shares `val` and `test`; with train and test
    alone, the share `val` of train becomes val. Either is told. Raises EdgemotionError for an image outside of the
    layout, shares that leave nothing to train, and a class with too few different images to draw from.
    """
    if not (val > 0 and test > 0 and val + test < 1):
        raise EdgemotionError(
            f"layout image_folder: val={val}, test={test} must be above 0 and leave a share for train"
        )
    images = members(zipped)
    splits = place(images, str(zipped.filename))
    found = set(splits.values()) - {"streams"}
    if found == {""}:
        single = {path: name for path, name in images.items() if not splits[path]}
        splits |= draw(zipped, single, {"test": test, "val": val}, channels, seed)
        yield Record(f"seed {seed}", "", "", None, problem="no split folders: drawn by seed")
    elif found == {"train", "test"}:
        train = {path: name for path, name in images.items() if splits[path] == "train"}
        splits |= draw(zipped, train, {"val": val}, channels, seed)
        yield Record(f"seed {seed}", "val", "", None, problem="no val folder: drawn from train by seed")
    frames = [path for path in images if splits[path] == "streams"]
    for path in frames:
        if not (STREAM.fullmatch(path.parent.name) and FRAME.fullmatch(path.stem)):
            raise EdgemotionError(f"{zipped.filename}: {images[path]} is not streams/<number>/<frame>_<class>")
    for path, name in images.items():
        if splits[path] != "streams":
            yield Record(name, splits[path], path.parent.name, decode(zipped.read(name), channels))
    # In the order of time: the names alone would put frame 10 before frame 2.
    for path in sorted(frames, key=lambda path: (int(path.parent.name), int(path.stem.split("_")[0]))):
        label, name = path.stem.split("_", 1)[1], images[path]
        yield Record(name, "streams", label, decode(zipped.read(name), channels), stream=int(path.parent.name))


def place(images: Mapping[PurePosixPath, str], title: str) -> dict[PurePosixPath, str]:
    """The split folder that each image lies in; "" where all lie in class folders of one folder."""
    splits = {path: FOLDERS.get(path.parts[-3].lower(), "") if len(path.parts) > 2 else "" for path in images}
    loose = [path for path, split in splits.items() if not split]
    sorted_out = any(split not in ("", "streams") for split in splits.values())
    for path in loose:
        one = path.parent.parent == loose[0].parent.parent and len(path.parts) > 1
        if sorted_out or not one or any(part.lower() in FOLDERS for part in path.parts[:-1]):
            raise EdgemotionError(
                f"{title}: {images[path]} does not lie in <split>/<class>/ with a split of {', '.join(FOLDERS)}, "
                "nor do all images lie in the class folders of one folder"
            )
    return splits


def draw(
    zipped: zipfile.ZipFile,
    images: Mapping[PurePosixPath, str],
    shares: Mapping[str, float],
    channels: int,
    seed: int,
) -> dict[PurePosixPath, str]:
    """Draw the readable ones of `images` into the splits of `shares`, the rest into train, class by class.

    Images of identical pixels stay together (in the quota of their first class), and the draw follows a hash of the
    seed and the pixels, so that names and their order make no difference.
    """
    copies: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path, name in images.items():
        image = decode(zipped.read(name), channels)
        if image is not None:
            content = f"{seed} {image.shape}".encode() + image.tobytes()
            copies[hashlib.blake2b(content, digest_size=16).hexdigest()].append(path)
    classes: dict[str, list[str]] = {path.parent.name: [] for path in images}
    for digest in sorted(copies):
        classes[min(path.parent.name for path in copies[digest])].append(digest)
    drawn: dict[PurePosixPath, str] = {}
    for label, left in classes.items():
        if len(left) <= len(shares):
            raise EdgemotionError(
                f"{zipped.filename}: the class {label!r} has {len(left)} different readable images of its own, "
                f"too few to draw {', '.join(shares)} and train; it needs {len(shares) + 1}"
            )
        sizes = {digest: len(copies[digest]) for digest in left}
        taken = share_out(sizes, {split: share * sum(sizes.values()) for split, share in shares.items()})
        drawn |= {path: split for digest, split in taken.items() for path in copies[digest]}
    return drawn


def share_out(sizes: Mapping[str, int], quotas: Mapping[str, float]) -> dict[str, str]:
    """Give groups of the given sizes, in their order, to splits up to their quotas and the rest to train.

    Every split gets at least one group; a group that would overfill a split goes to train.
    """
    taken = dict.fromkeys(sizes, "train")
    left = list(sizes)
    for waiting, (split, quota) in zip(range(len(quotas), 0, -1), quotas.items(), strict=True):
        room = max(1, round(quota))
        for group in list(left):
            if room <= 0 or len(left) <= waiting:
                break
            if sizes[group] <= room or split not in taken.values():
                taken[group] = split
                left.remove(group)
                room -= sizes[group]
    return taken
