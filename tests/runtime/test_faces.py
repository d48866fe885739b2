"""Finding and cutting out faces, and where the face detector comes from."""

import hashlib
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemotion.datasets.rendering import render_stream
from edgemotion.errors import EdgemotionError
from edgemotion.runtime import faces

needs_yunet = pytest.mark.skipif("EDGEMOTION_FACES" not in os.environ, reason="EDGEMOTION_FACES names no face detector")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder without a face detector, and no variable that names one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEMOTION_FACES", raising=False)
    return tmp_path / "cache"


def eighths(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers whose sums and products below are exact, so that halves are rounded the same way whatever their order."""
    return st.integers(int(8 * low), int(8 * high)).map(lambda number: number / 8)


@given(eighths(-50, 150), eighths(-50, 150), eighths(1, 80), eighths(1, 80), eighths(0.5, 2), st.booleans())
@settings(max_examples=300)
def test_a_crop_is_a_square_of_box_heights_and_repeats_the_border(
    left: float, top: float, width: float, height: float, side: float, gray: bool
) -> None:
    scene = np.random.default_rng(0).integers(0, 256, (60, 90) if gray else (60, 90, 3), np.uint8)
    cut = faces.crop_face(scene, (left, top, left + width, top + height), side)
    length = max(1, round(height * side))
    assert cut.shape[:2] == (length, length) and cut.shape[2:] == scene.shape[2:] and cut.flags.c_contiguous
    begin = [round((start + start + size - length) / 2) for start, size in ((top, height), (left, width))]
    wanted = scene
    for axis, first in enumerate(begin):
        wanted = wanted.take(range(first, first + length), axis, mode="clip")
    assert np.array_equal(cut, wanted)


def test_what_lies_outside_repeats_the_border() -> None:
    scene = np.arange(16, dtype=np.uint8).reshape(4, 4)
    cut = faces.crop_face(scene, (-2, -2, 2, 2), 1.0)
    assert cut.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [4, 4, 4, 5]]


@needs_yunet
@pytest.mark.parametrize("size", [(480, 640), (240, 320), (900, 300)])
@pytest.mark.parametrize("gray", [True, False])
def test_rendered_faces_are_found_at_their_place(size: tuple[int, int], gray: bool) -> None:
    finder = faces.FaceFinder(os.environ["EDGEMOTION_FACES"])
    face = cv2.resize(render_stream(np.random.default_rng(3), 1)[0][0], (200, 200), interpolation=cv2.INTER_CUBIC)
    scene = np.full(size, 120, np.uint8)
    scene[30:230, 60:260] = face
    scene = scene if gray else np.repeat(scene[:, :, None], 3, axis=2)
    (found,) = finder.find(scene)
    x1, y1, x2, y2 = found.box
    assert abs((x1 + x2) / 2 - 160) < 25 and abs((y1 + y2) / 2 - 130) < 40 and 120 < y2 - y1 < 220
    assert finder.find(np.full(size, 120, np.uint8)) == []


class Detector:
    """What YuNet would find: two faces, the better one last, in pixels of what it is shown."""

    def __init__(self, *given_to_it: Any) -> None:
        self.least, self.seen = given_to_it[3], (0, 0)

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
        self.seen = size

    def detect(self, scene: np.ndarray) -> tuple[int, np.ndarray]:
        assert scene.shape == (self.seen[1], self.seen[0], 3)
        rows = np.zeros((2, 15), np.float32)
        rows[0, [0, 1, 2, 3, 14]], rows[1, [0, 1, 2, 3, 14]] = (10, 20, 30, 40, 0.7), (50, 60, 10, 20, 0.9)
        return 2, rows[rows[:, 14] >= self.least]


@pytest.mark.parametrize(("size", "factor"), [((480, 640), 2), ((640, 480, 1), 2), ((120, 90, 3), 1)])
def test_boxes_are_pixels_of_the_scene_and_the_best_comes_first(
    size: tuple[int, ...], factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", Detector)
    found = faces.FaceFinder("x.onnx", longest=320, score=0.6).find(np.zeros(size, np.uint8))
    assert [np.divide(face.box, factor).tolist() for face in found] == [[50, 60, 60, 80], [10, 20, 40, 60]]
    assert [face.score for face in found] == pytest.approx([0.9, 0.7])
    (best,) = faces.FaceFinder("x.onnx", longest=320, score=0.8).find(np.zeros(size, np.uint8))
    assert best == found[0]


def test_a_path_or_the_variable_names_the_detector(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "yunet.onnx"
    with pytest.raises(EdgemotionError, match=r"yunet\.onnx is missing; give the path"):
        faces.find_yunet(file)
    file.write_bytes(b"x")
    assert faces.find_yunet(file) == file
    monkeypatch.setenv("EDGEMOTION_FACES", str(file))
    assert faces.find_yunet() == file
    other = tmp_path / "other.onnx"
    other.write_bytes(b"y")
    assert faces.find_yunet(other) == other


def test_nothing_is_downloaded_unasked(empty_cache: Path) -> None:
    with pytest.raises(EdgemotionError, match="run `edgemotion faces` to download it"):
        faces.find_yunet()
    assert not empty_cache.exists()


def test_a_file_that_is_no_detector(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"x")
    with pytest.raises(EdgemotionError, match=r"x\.onnx does not load as a YuNet face detector"):
        faces.FaceFinder(tmp_path / "x.onnx")


def test_a_download_is_kept_only_with_the_right_content(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "served.onnx"
    served.write_bytes(b"the detector")
    monkeypatch.setattr(faces, "YUNET_URL", served.as_uri())
    with pytest.raises(EdgemotionError, match="has the SHA-256"):
        faces.download_yunet()
    assert [path for path in empty_cache.rglob("*") if path.is_file()] == []
    monkeypatch.setattr(faces, "YUNET_SHA256", hashlib.sha256(b"the detector").hexdigest())
    kept = faces.download_yunet()
    assert kept.read_bytes() == b"the detector" and faces.find_yunet() == kept
    kept.write_bytes(b"half of the")
    assert faces.download_yunet() == kept and kept.read_bytes() == b"the detector"
    served.unlink()
    assert faces.download_yunet() == kept
    kept.unlink()
    with pytest.raises(EdgemotionError, match="cannot be downloaded"):
        faces.download_yunet()


@needs_yunet
def test_the_pinned_sum_is_that_of_the_published_file() -> None:
    assert hashlib.sha256(Path(os.environ["EDGEMOTION_FACES"]).read_bytes()).hexdigest() == faces.YUNET_SHA256
