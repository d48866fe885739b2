"""Any archive in the YOLO detection layout: data.yaml, images/ and labels/ of each split; one record an image.

data.yaml holds `names` (a list, or a mapping of numbers) and may hold their number `nc`. A label file has the name of
its image and one line a face, `class cx cy w h`, in shares of the image. Images lie in <split>/images/ or
images/<split>/, below any common folder.
"""

import math
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml

from edgemotion.datasets.images import SPLIT_FOLDERS, WHOLE, Record, decode, members
from edgemotion.errors import EdgemotionError
from edgemotion.registry import register

# Rounded labels stick out of the image by less; a box that does so by more was not meant for it.
TOLERANCE = 0.01
# Thousands of classes fit; a larger file is no list of them.
MAX_YAML_BYTES = 200_000


class Face(NamedTuple):
    """What a label file says: the class and box of its largest usable line, None without one; "" or what is wrong."""

    label: int | None
    box: tuple[float, float, float, float]
    problem: str


@register("layout")
def yolo(zipped: zipfile.ZipFile, *, channels: int) -> Iterator[Record]:
    """Yield every image in the order of the names, then every label file without one.

    An image without a usable line in its label file has no pixels here, so that it is left out and told; one that has
    a usable line beside a wrong one, or several faces, is kept with the largest and told. Raises EdgemotionError for an
    archive without a data.yaml that names its classes.
    """
    classes = read_classes(zipped)
    labels = {path: name for path, name in members(zipped, (".txt",)).items() if place(path, "labels")}
    images = members(zipped)
    for path, name in images.items():
        split, label = place(path, "images"), label_path(path)
        if not split:
            yield Record(name, "", "", None, problem="image outside of the splits")
        elif label not in labels:
            yield Record(name, split, "", None, problem="image without label")
        elif (face := parse_label(zipped.read(labels[label]), len(classes))).label is None:
            yield Record(name, split, "", None, problem=face.problem)
        else:
            image = decode(zipped.read(name), channels)
            problem = "" if image is None else face.problem
            yield Record(name, split, classes[face.label], image, box=face.box, problem=problem)
    labelled = {label_path(path) for path in images}
    for path, name in labels.items():
        if path not in labelled:
            yield Record(name, place(path, "labels"), "", None, problem="label without image")


def place(path: PurePosixPath, folder: str) -> str:
    """The split whose `folder` (images or labels) holds a file; "" outside of one."""
    parts = path.parts[:-1]
    if folder not in parts:
        return ""
    at = len(parts) - 1 - parts[::-1].index(folder)
    around = [*parts[max(at - 1, 0) : at], *parts[at + 1 : at + 2]]
    return next((SPLIT_FOLDERS[name.lower()] for name in around if name.lower() in SPLIT_FOLDERS), "")


def label_path(path: PurePosixPath) -> PurePosixPath:
    """Where the label of an image lies: its last folder `images` becomes `labels`, its suffix .txt."""
    folders = list(path.parent.parts)
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    return PurePosixPath(*folders, path.stem + ".txt")


def parse_label(content: bytes, classes: int) -> Face:
    """Parse the bytes of a label file; any bytes give a Face, wrong lines are told by the first one's problem."""
    lines = [line for line in content.decode("utf-8-sig", errors="replace").splitlines() if line.strip()]
    found = [parse_line(line, classes) for line in lines]
    usable = [face for face in found if face.label is not None]
    problem = next((face.problem for face in found if face.problem), "several boxes" if len(usable) > 1 else "")
    if not usable:
        return Face(None, WHOLE, problem or "empty label")
    largest = max(usable, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))
    return largest._replace(problem=problem)


def parse_line(line: str, classes: int) -> Face:
    """Parse `class cx cy w h`; the box comes back as x1, y1, x2, y2 cut to the image."""
    try:
        label, x, y, width, height = (float(word) for word in line.split())
    except ValueError:
        return Face(None, WHOLE, "not five numbers")
    if not all(map(math.isfinite, (label, x, y, width, height))):
        return Face(None, WHOLE, "not five numbers")
    if label not in range(classes):
        return Face(None, WHOLE, "class out of range")
    sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in sides)
    if width <= 0 or height <= 0 or left >= right or top >= bottom:
        return Face(None, WHOLE, "box without area")
    outside = min(sides) < -TOLERANCE or max(sides) > 1 + TOLERANCE
    return Face(int(label), (left, top, right, bottom), "box outside of the image" if outside else "")


def read_classes(zipped: zipfile.ZipFile) -> list[str]:
    """The class names of the archive's one data.yaml, in the order of their numbers."""
    found = [name for path, name in members(zipped, (".yaml", ".yml")).items() if path.stem == "data"]
    if len(found) != 1:
        raise EdgemotionError(
            f"{zipped.filename} has {len(found)} files data.yaml; the layout yolo needs one that names the classes"
        )
    (name,) = found
    title = f"{zipped.filename}: {name}"
    if zipped.getinfo(name).file_size > MAX_YAML_BYTES:
        raise EdgemotionError(f"{title} is larger than {MAX_YAML_BYTES} bytes; it is no list of classes")
    try:
        # The base loader knows words, lists and mappings alone: no tags, no merged keys, and a class No stays a word.
        content = yaml.load(zipped.read(name), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise EdgemotionError(f"{title} is not valid YAML: {' '.join(str(error).split())}") from None
    names = class_names(content)
    if not names:
        raise EdgemotionError(f"{title} has no `names`: a list of different classes, or a mapping of 0, 1, ... to them")
    if content.get("nc", str(len(names))) != str(len(names)):
        raise EdgemotionError(f"{title} has {len(names)} names and another number in `nc`; correct one of them")
    return names


def class_names(content: Any) -> list[str]:
    """The entry `names` of a data.yaml as a list of different words; empty where it is anything else."""
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names) == sorted(map(str, range(len(names)))):
        names = [names[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        return []
    return names if len(set(names)) == len(names) else []
