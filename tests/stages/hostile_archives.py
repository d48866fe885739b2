"""Archives that the download stage must refuse: each writes one file, beside a part of the line that it is told."""

import zipfile
from collections.abc import Callable
from pathlib import Path

Write = Callable[[Path], object]


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Write:
    """A sound archive."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", compression) as target:
            for name, content in members.items():
                target.writestr(name, content)

    return write


def named(name: str, attributes: int = 0o100644) -> Write:
    """A member of this very name and mode beside a harmless one."""

    def write(path: Path) -> None:
        info = zipfile.ZipInfo("plain.png")
        # ZipInfo would turn separators; the name goes in as a hostile tool writes it.
        info.filename = name
        info.external_attr = attributes << 16
        with zipfile.ZipFile(path, "w") as target:
            target.writestr("train/angry/0.png", b"x")
            target.writestr(info, b"target")

    return write


def patched(offset: int, value: bytes, compression: int = zipfile.ZIP_STORED) -> Write:
    """Overwrite bytes in the local header (at `offset`) and in the directory (two bytes further) of a sound ZIP."""

    def write(path: Path) -> None:
        zipped({"train/angry/0.png": b"face" * 50}, compression)(path)
        content = bytearray(path.read_bytes())
        for start in (0, content.index(b"PK\x01\x02") + 2):
            content[start + offset : start + offset + len(value)] = value
        path.write_bytes(content)

    return write


def damaged(compression: int) -> Write:
    """Overwrite the first byte of a member's data."""

    def write(path: Path) -> None:
        zipped({"train/angry/0.png": b"face" * 50}, compression)(path)
        content = bytearray(path.read_bytes())
        content[30 + len("train/angry/0.png")] = 0xFF
        path.write_bytes(content)

    return write


def cut(share: float) -> Write:
    """The first bytes of a sound archive, as a broken download leaves them."""

    def write(path: Path) -> None:
        zipped({f"train/angry/{number}.png": b"face" * 50 for number in range(4)})(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return write


HOSTILE: dict[str, tuple[Write, str]] = {
    "parent": (named("../x.png"), "faces from archive has the unsafe member name '../x.png'"),
    "parent inside": (named("train/../../x.png"), "has the unsafe member name 'train/../../x.png'"),
    "windows parent": (named("..\\x.png"), "has the unsafe member name"),
    "absolute": (named("/etc/x.png"), "has the unsafe member name '/etc/x.png'"),
    "drive": (named("C:\\x.png"), "has the unsafe member name 'C:"),
    "drive without slash": (named("C:x.png"), "has the unsafe member name 'C:x.png'"),
    "share": (named("\\\\host\\share\\x.png"), "has the unsafe member name"),
    "link": (named("train/angry/1.png", 0o120777), "has the link 'train/angry/1.png'"),
    "encrypted": (patched(6, b"\x01"), "has the encrypted member 'train/angry/0.png'"),
    "bomb": (
        zipped({"train/angry/0.png": bytes(5_000_000)}, zipfile.ZIP_DEFLATED),
        "to 5000000 bytes, which looks like a decompression bomb",
    ),
    "bad crc": (damaged(zipfile.ZIP_STORED), "faces from archive is not a readable ZIP (Bad CRC-32"),
    "bad deflate": (damaged(zipfile.ZIP_DEFLATED), "is not a readable ZIP (Error -3"),
    "unknown compression": (patched(8, b"\x63"), "is not a readable ZIP (That compression method is not supported"),
    "cut in half": (cut(0.5), "faces from archive is not a readable ZIP (File is not a zip file); download it again"),
    "cut at the end": (cut(0.99), "is not a readable ZIP"),
    "empty": (lambda path: path.write_bytes(b""), "is not a readable ZIP"),
    "a page instead": (lambda path: path.write_text("<html>Sign in</html>"), "is not a readable ZIP"),
}
