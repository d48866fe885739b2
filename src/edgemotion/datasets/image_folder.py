"""Any archive of <split>/<class>/<image> folders, with optional recorded sequences in streams/."""

import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from edgemotion.datasets.images import SUFFIXES, Record, decode
from edgemotion.errors import EdgemotionError
from edgemotion.registry import register

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "streams": "streams"}


@register("layout")
def image_folder(zipped: zipfile.ZipFile, *, channels: int) -> Iterator[Record]:
    """Yield <split>/<class>/<id>.png and streams/<number>/<frame>_<class>.png, below any common folder."""
    for name in sorted(zipped.namelist()):
        path = PurePosixPath(name)
        if path.suffix.lower() not in SUFFIXES:
            continue
        if len(path.parts) < 3 or path.parts[-3] not in SPLITS:
            raise EdgemotionError(
                f"{zipped.filename}: {name} does not lie in <split>/<class>/ with a split of {', '.join(SPLITS)}"
            )
        split, group = SPLITS[path.parts[-3]], path.parts[-2]
        image = decode(zipped.read(name), channels)
        if split != "streams":
            yield Record(name, split, group, image)
        elif group.isdigit() and "_" in path.stem:
            yield Record(name, split, path.stem.split("_", 1)[1], image, stream=int(group))
        else:
            raise EdgemotionError(f"{zipped.filename}: {name} is not streams/<number>/<frame>_<class>")
