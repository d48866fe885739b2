"""Decoding uploads: kinds, sizes before decoding, damage."""

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemotion.serve.images import UploadError, decode_image, image_kind, image_size

SIDES = st.integers(1, 300)
KINDS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WebP"}


def encode(ending: str, image: np.ndarray, *parameters: int) -> bytes:
    return cv2.imencode(ending, image, list(parameters))[1].tobytes()


def refusal(content: bytes, max_pixels: int = 10**6) -> int:
    with pytest.raises(UploadError) as caught:
        decode_image(content, max_pixels)
    return caught.value.status


@given(st.sampled_from(sorted(KINDS)), SIDES, SIDES, st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_header_tells_the_size_that_opencv_decodes(ending: str, height: int, width: int, colour: bool) -> None:
    shape = (height, width, 3) if colour else (height, width)
    content = encode(ending, np.random.default_rng(height).integers(0, 256, shape, np.uint8))
    assert image_kind(content) == KINDS[ending]
    assert image_size(content, KINDS[ending]) == (width, height)
    assert decode_image(content, height * width).shape == (height, width, 3)


@pytest.mark.parametrize(
    "parameters",
    [
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    ],
)
def test_every_sort_of_jpeg_is_complete(parameters: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    assert decode_image(encode(".jpg", image, *parameters), 2000).shape == image.shape


# Fill bytes, a restart, a temporary marker, a stuffed zero, and bytes that belong to nothing.
@pytest.mark.parametrize(
    "between", [b"\xff\xff", b"\xff\xd3", b"\xff\x01", b"\xff\x00", b"\xff\x00\xff\xff\xd0\x00\x09\xc0"]
)
def test_what_stands_between_segments_is_passed_over_as_opencv_does(between: bytes) -> None:
    content = encode(".jpg", np.zeros((40, 50, 3), np.uint8))
    frame = content.index(b"\xff\xc0")
    padded = content[:frame] + between + content[frame:]
    assert image_size(padded, "JPEG") == (50, 40)
    assert decode_image(padded, 2000).shape == (40, 50, 3)


def test_a_jpeg_of_segments_alone_costs_little() -> None:
    content = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 2_500_000
    started = time.perf_counter()
    assert refusal(content) == 422
    assert time.perf_counter() - started < 0.5


def test_a_jpeg_of_many_scans_is_not_decoded() -> None:
    whole = encode(".jpg", np.zeros((3000, 3000), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    # An empty scan of one band of coefficients, which costs a pass over all nine million pixels.
    start = whole.index(b"\xff\xda", whole.index(b"\xff\xda") + 1)
    end = whole.index(b"\xff", start + 14)
    content = whole[:-2] + whole[start:end] * 2000 + whole[-2:]
    started = time.perf_counter()
    assert refusal(content, 10**7) == 413
    assert time.perf_counter() - started < 0.5
    assert decode_image(whole, 10**7).shape == (3000, 3000, 3)


def test_lossless_and_extended_webp() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 4), np.uint8)
    content = encode(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101)
    assert image_size(content, "WebP") == (50, 40)
    extended = b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x4f\xc3\x00\x2b\x01\x00"
    assert image_size(extended, "WebP") == (50_000, 300)


def test_the_limit_counts_before_decoding() -> None:
    # A PNG of 50,000 x 50,000 pixels: its header alone.
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (50_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    assert refusal(header) == 413
    content = encode(".png", np.zeros((100, 100), np.uint8))
    assert refusal(content, max_pixels=9_999) == 413
    assert decode_image(content, max_pixels=10_000).shape == (100, 100, 3)


@given(st.sampled_from(sorted(KINDS)), st.data())
@settings(max_examples=100, deadline=None)
def test_a_cut_file_is_refused(ending: str, data: st.DataObject) -> None:
    content = encode(ending, np.random.default_rng(1).integers(0, 256, (30, 30, 3), np.uint8))
    kept = data.draw(st.integers(0, len(content) - 20))
    assert refusal(content[:kept]) in ((400,) if not kept else (415, 422))


@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"]))
@settings(max_examples=300, deadline=None)
def test_garbage_is_refused_and_never_an_error_of_ours(content: bytes, start: bytes) -> None:
    assert refusal(start + content, max_pixels=10_000) in (400, 413, 415, 422)


@pytest.mark.parametrize(
    "content", [b"GIF89a" + bytes(20), b"PK\x03\x04" + bytes(20), b"%PDF-1.7", b"<svg/>", b"BM" + bytes(60)]
)
def test_other_kinds_are_refused(content: bytes) -> None:
    assert refusal(content) == 415


def test_an_image_is_turned_upright_by_its_orientation() -> None:
    image = np.zeros((40, 20, 3), np.uint8)
    image[:20] = 255
    plain = encode(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, 100)
    # EXIF with one entry: orientation 6, turn by 90 degrees clockwise.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = decode_image(plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:], 1000)
    assert turned.shape == (20, 40, 3)
    assert turned[:, 25:].mean() > 250 and turned[:, :15].mean() < 5


def test_sixteen_bits_gray_and_alpha_become_three_channels_of_eight() -> None:
    for image in (
        np.full((9, 9), 40_000, np.uint16),
        np.full((9, 9, 3), 40_000, np.uint16),
        np.full((9, 9, 4), 156, np.uint8),
    ):
        decoded = decode_image(encode(".png", image), 1000)
        assert decoded.shape == (9, 9, 3) and decoded.dtype == np.uint8 and int(decoded[0, 0, 0]) == 156
