"""A dataset archive: one ZIP, checked before anyone reads it and never unpacked on disk."""

import hashlib
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from edgemotion.errors import EdgemotionError
from edgemotion.files import replacing
from edgemotion.registry import register

# Far above any face dataset, far below what fills a disk or a memory.
MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 2 * 1024**3
MAX_BYTES = 32 * 1024**3
MAX_RATIO = 200
# What zipfile raises for damaged bytes, depending on where they lie.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    UnicodeDecodeError,
)


class SourceMissing(EdgemotionError):
    """This source cannot deliver here; the next one of the list may."""


@register("source")
def archive(target: Path, *, path: str) -> None:
    """Copy a local ZIP to `target`."""
    if not Path(path).is_file():
        raise SourceMissing(f"{path} is missing (put the archive there)")
    with replacing(target) as partial:
        shutil.copyfile(path, partial)


@contextmanager
def opened(path: Path | str, title: str | None = None) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP whose names, sizes and directory have been checked; errors call it `title`, or by its path.

    Raises EdgemotionError for a file that is no ZIP or is cut, for absolute or parent paths, links, encrypted
    members, and for sizes that only a decompression bomb has.
    """
    try:
        with zipfile.ZipFile(path) as zipped:
            check_members(title or path, zipped)
            yield zipped
    except UNREADABLE as error:
        raise EdgemotionError(f"{title or path} is not a readable ZIP ({error}); download it again") from None


def check_members(title: Path | str, zipped: zipfile.ZipFile) -> None:
    """Refuse a hostile archive by its directory alone, before any member is unpacked."""
    members = zipped.infolist()
    if len(members) > MAX_MEMBERS:
        raise EdgemotionError(f"{title} has {len(members)} members, more than {MAX_MEMBERS}; it is no face dataset")
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or PureWindowsPath(member.filename).drive or ".." in name.parts:
            raise EdgemotionError(f"{title} has the unsafe member name {member.filename!r}; do not use this archive")
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise EdgemotionError(f"{title} has the link {member.filename!r}; do not use this archive")
        if member.flag_bits & 0x1:
            raise EdgemotionError(f"{title} has the encrypted member {member.filename!r}; unpack and zip it again")
        large = member.file_size > 1_000_000 and member.file_size > MAX_RATIO * max(member.compress_size, 1)
        if large or member.file_size > MAX_MEMBER_BYTES:
            raise EdgemotionError(
                f"{title}: member {member.filename!r} unpacks from {member.compress_size} to {member.file_size} bytes, "
                "which looks like a decompression bomb; do not use this archive"
            )
    total = sum(member.file_size for member in members)
    if total > MAX_BYTES:
        raise EdgemotionError(f"{title} unpacks to {total} bytes, more than {MAX_BYTES}; do not use this archive")


def content_digest(path: Path | str, title: str | None = None) -> str:
    """SHA-256 over the sorted member names and their bytes; independent of order, dates and compression.

    Every byte is read, so a member that fails its CRC raises EdgemotionError too.
    """
    digest = hashlib.sha256()
    with opened(path, title) as zipped:
        for member in sorted(zipped.infolist(), key=lambda member: member.filename):
            # A damaged name may look like a folder's, or be empty; only an empty folder may pass unread.
            if member.file_size or not member.filename.endswith("/"):
                content = hashlib.sha256(zipped.read(member)).hexdigest()
                digest.update(f"{member.filename}\0{content}\n".encode())
    return digest.hexdigest()


def pack(folder: Path, target: Path) -> None:
    """Write a folder's files as one ZIP with sorted names and fixed dates."""
    with replacing(target) as partial, zipfile.ZipFile(partial, "w") as zipped:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                write_member(zipped, path.relative_to(folder).as_posix(), path.read_bytes())


def write_member(zipped: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add one stored member whose header depends on nothing but its name and bytes."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    info.create_system = 3
    zipped.writestr(info, content)
