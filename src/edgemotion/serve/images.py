"""The bytes of an upload in, a decoded image out; what it claims to be is checked before anything is decoded."""

import re
import struct
from collections.abc import Iterator

import cv2
import numpy as np

KINDS = ("JPEG", "PNG", "WebP")
# The start of a JPEG's segment: marker and length. The search passes, as libjpeg does, over FF00, fill bytes and the
# markers that stand alone.
SEGMENT = re.compile(rb"\xff[\x02-\xcf\xda-\xfe]..", re.DOTALL)
# C4, C8 and CC lie in the range of frame headers and are none.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SCAN = 0xDA
# Before the first scan; a few hundred carry the largest colour profiles and depth maps.
MAX_SEGMENTS = 2000
# Cameras write one and programs about ten, and a few hundred lie by chance in a film that a phone appends. Each goes
# over the whole image again, however few bytes it has.
MAX_SCANS = 500


class UploadError(Exception):
    """An upload that cannot be used: the HTTP status and one sentence that says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def decode_image(content: bytes, max_pixels: int, channels: int = 3) -> np.ndarray:
    """Decode JPEG, PNG or WebP to uint8 [H,W,3] BGR or [H,W] gray, upright by its EXIF orientation.

    Raises UploadError: 400 for no bytes, 415 for another kind of file, 413 for more than `max_pixels` or too many
    scans, 422 for a damaged one. Kind and size are read from the file's own bytes, so a false name or a bomb costs
    nothing.
    """
    if not content:
        raise UploadError(400, "the image is empty")
    kind = image_kind(content)
    if kind is None:
        raise UploadError(415, f"this is no image of a kind that is taken; send {', '.join(KINDS)}")
    width, height = image_size(content, kind)
    if width * height > max_pixels:
        raise UploadError(413, f"the image has {width}x{height} pixels; at most {max_pixels} in all are taken")
    if kind == "JPEG" and content.count(b"\xff\xda") > MAX_SCANS:
        raise UploadError(413, f"the JPEG has more than {MAX_SCANS} scans")
    if width * height == 0 or not complete(content, kind):
        raise UploadError(422, f"the {kind} is damaged or cut off")
    try:
        # As datasets are read: of a JPEG the gray image is its luma, which no conversion from colour rounds.
        flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error:
        image = None
    if image is None:
        raise UploadError(422, f"the {kind} is damaged or cut off")
    return image


def pixels(content: bytes) -> int:
    """How many pixels decoding would make; 0 for what is no image."""
    kind = image_kind(content)
    width, height = image_size(content, kind) if kind else (0, 0)
    return width * height


def image_kind(content: bytes) -> str | None:
    """One of KINDS by the first bytes, or None."""
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WebP"
    return None


def image_size(content: bytes, kind: str) -> tuple[int, int]:
    """Width and height as the header states them; 0, 0 where it ends before."""
    try:
        match kind:
            case "PNG":
                width, height = struct.unpack_from(">II", content, 16)
            case "WebP":
                width, height = webp_size(content)
            case _:
                width, height = jpeg_size(content)
    except (struct.error, IndexError):
        return 0, 0
    return width, height


def jpeg_size(content: bytes) -> tuple[int, int]:
    """The frame header of a JPEG; a file without one before its first scan is none that libjpeg decodes."""
    for marker, place in jpeg_segments(content):
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", content, place + 3)
            return width, height
    return 0, 0


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment of a JPEG (ITU-T T.81, B.1.1), to that of the first scan."""
    place = 2
    for _ in range(MAX_SEGMENTS):
        found = SEGMENT.search(content, place)
        if found is None:
            return
        place = found.end() - 2
        marker = content[place - 1]
        yield marker, place
        if marker == SCAN:
            return
        place += content[place] << 8 | content[place + 1]


def jpeg_scan(content: bytes) -> int:
    """Where the first scan of a JPEG begins; the end of the file where none does."""
    return next((place for marker, place in jpeg_segments(content) if marker == SCAN), len(content))


def webp_size(content: bytes) -> tuple[int, int]:
    """The first chunk of a WebP file (RFC 9649): lossy, lossless or extended."""
    match content[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", content, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", content, 24)
            return (low_width | high_width << 16) + 1, (low_height | high_height << 16) + 1
    return 0, 0


def complete(content: bytes, kind: str) -> bool:
    """Whether the file's end is there: OpenCV decodes a cut JPEG to an image that is gray from the cut on."""
    match kind:
        case "JPEG":
            # The end of an embedded thumbnail lies before the scan. A film that a phone appends may hold any two bytes;
            # the segments are walked only where these deceive the quick look.
            end = content.rfind(b"\xff\xd9")
            return end > content.rfind(b"\xff\xda") > 0 or end > jpeg_scan(content)
        case "PNG":
            return b"IEND" in content[-4096:]
    return len(content) >= struct.unpack_from("<I", content, 4)[0] + 8
