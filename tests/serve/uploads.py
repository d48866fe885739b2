"""Uploads for the tests of the API: even gray faces, and hostile files with the status that each must get."""

import struct
import zlib

import cv2
import numpy as np


def picture(brightness: int, kind: str = ".png", height: int = 20, width: int = 20) -> bytes:
    """An evenly gray image file."""
    return cv2.imencode(kind, np.full((height, width, 3), brightness, np.uint8))[1].tobytes()


def noise(kind: str = ".jpg", side: int = 96, seed: int = 0) -> bytes:
    """An image file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return cv2.imencode(kind, pixels)[1].tobytes()


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bomb(width: int, height: int) -> bytes:
    """A valid PNG of one bit a pixel, all black, that is tiny as a file."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def turned(content: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF orientation."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0\0\0\0\0"
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]


def disguised(width: int, height: int) -> bytes:
    """A JPEG whose real frame header lies where a parser lands that takes FF00 for a segment and skips it.

    A parser that does so finds a header of 8x8 pixels, which is a comment to others.
    """
    header = b"\xff\xc0\x00\x11\x08%s\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    real, false = (header % struct.pack(">HH", *size) for size in ((height, width), (8, 8)))
    hidden = real + b"\xff\xfe" + struct.pack(">H", len(false) + 2)
    jpeg = noise(side=8)
    frame = jpeg.index(b"\xff\xc0")
    tables = jpeg[2:frame] + jpeg[frame + len(real) :]
    return b"\xff\xd8\xff\x00" + struct.pack(">H", len(hidden) + 2) + hidden + false + tables


def with_thumbnail(content: bytes) -> bytes:
    """A JPEG with another, whole, in its EXIF segment."""
    exif = b"Exif\0\0" + noise(side=8)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]


def cmyk() -> bytes:
    """A JPEG of four components, made of a gray one by its headers: 8x8 pixels, all blocks empty."""
    quantization = b"\xff\xdb\x00\x43\x00" + bytes([1] * 64)
    frame = b"\xff\xc0\x00\x14\x08\x00\x08\x00\x08\x04" + b"".join(bytes([i, 0x11, 0]) for i in range(1, 5))
    tables = b"".join(b"\xff\xc4\x00\x14" + bytes([kind]) + b"\x01" + bytes(15) + b"\x00" for kind in (0x00, 0x10))
    scan = b"\xff\xda\x00\x0e\x04" + b"".join(bytes([i, 0]) for i in range(1, 5)) + b"\x00\x3f\x00"
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    return b"\xff\xd8" + adobe + quantization + frame + tables + scan + b"\x00" + b"\xff\xd9"


def corpus() -> dict[str, tuple[bytes, int]]:
    """Files by name, each with the status that /predict must answer."""
    jpeg, png = noise(), noise(".png", side=32)
    wide = np.full((7, 9, 3), 40_000, np.uint16)
    return {
        "empty": (b"", 400),
        "one byte": (b"\xff", 415),
        "text": (b"hello, world", 415),
        "html": (b"<html><script>alert(1)</script></html>", 415),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        "gif": (b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + bytes(30), 415),
        "zip named jpg": (b"PK\x03\x04" + bytes(200), 415),
        "bmp": (cv2.imencode(".bmp", np.zeros((4, 4, 3), np.uint8))[1].tobytes(), 415),
        "tiff": (cv2.imencode(".tiff", np.zeros((4, 4, 3), np.uint8))[1].tobytes(), 415),
        "jpeg start alone": (b"\xff\xd8\xff", 422),
        "jpeg start and end": (b"\xff\xd8\xff\xd9", 422),
        "cut jpeg": (jpeg[: len(jpeg) // 2], 422),
        "cut jpeg with a thumbnail": (with_thumbnail(jpeg)[: len(jpeg) // 2], 422),
        "jpeg without end": (jpeg[:-2], 422),
        "jpeg of ones": (b"\xff\xd8" + b"\xff" * 500, 422),
        "png header alone": (png[:33], 422),
        "cut png": (png[: len(png) // 2], 422),
        "png without data": (png[:33] + chunk(b"IEND", b""), 422),
        "png of no width": (png[:16] + bytes(4) + png[20:], 422),
        "webp start alone": (b"RIFF\x00\x00\x00\x00WEBP", 422),
        "cut webp": (noise(".webp")[:-40], 422),
        "bomb": (bomb(50_000, 50_000), 413),
        "long bomb": (bomb(8, 4_000_000), 413),
        "jpeg of a hidden size": (disguised(32_000, 32_000), 413),
        "smallest": (picture(9, height=1, width=1), 200),
        "one row": (picture(9, height=1, width=3_000), 200),
        "jpeg": (jpeg, 200),
        "cmyk jpeg": (cmyk(), 200),
        "turned jpeg": (turned(jpeg, 6), 200),
        "jpeg of unknown orientation": (turned(jpeg, 200), 200),
        "trailing bytes": (jpeg + b"\0" * 100, 200),
        "jpeg and film": (with_thumbnail(jpeg) + b"\0\0\0\x18ftypmp42\xff\xd9 or \xff\xda\0\0", 200),
        "gray png": (cv2.imencode(".png", np.zeros((5, 6), np.uint8))[1].tobytes(), 200),
        "16-bit png": (cv2.imencode(".png", wide)[1].tobytes(), 200),
        "png with alpha": (cv2.imencode(".png", np.zeros((5, 6, 4), np.uint8))[1].tobytes(), 200),
        "one-bit png": (bomb(64, 64), 200),
        "webp": (noise(".webp"), 200),
    }
