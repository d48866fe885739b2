"""A local folder in; the archive of its files out, the same bytes for the same files."""

from pathlib import Path

from edgemotion.datasets.archive import SourceMissing, pack
from edgemotion.errors import EdgemotionError
from edgemotion.registry import register


@register("source")
def folder(target: Path, *, path: str) -> None:
    """Pack the folder `path`; it may be a link itself, but a link inside it raises EdgemotionError."""
    root = Path(path)
    if not root.is_dir():
        raise SourceMissing(f"{path} is missing (put the folder of images there)")
    entries = sorted(root.rglob("*"))
    for entry in entries:
        if entry.is_symlink():
            raise EdgemotionError(f"{entry} is a link; put the file itself there, so that the archive holds it")
    if not any(entry.is_file() for entry in entries):
        raise SourceMissing(f"{path} holds no file")
    try:
        pack(root, target)
    except (OSError, UnicodeEncodeError) as error:
        raise EdgemotionError(
            f"{path} could not be packed ({error}); every file must be readable and named in UTF-8"
        ) from None
