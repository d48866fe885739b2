from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgemotion.camera.recording import filming
from edgemotion.camera.sources import Camera, Video
from edgemotion.errors import EdgemotionError


@pytest.fixture
def film(tmp_path: Path, make_square: Callable[..., np.ndarray]) -> Path:
    """Twelve frames whose square grows brighter, at 50 FPS."""
    with filming(tmp_path / "film.mp4", 50) as write:
        for number in range(12):
            write(make_square(50 + 15 * number))
    return tmp_path / "film.mp4"


def test_a_written_film_is_read_frame_by_frame(film: Path) -> None:
    video = Video(film)
    frames = list(video.frames())
    levels = [float(frame.image[55:85, 65:95].mean()) for frame in frames]
    np.testing.assert_allclose(levels, [50 + 15 * number for number in range(12)], atol=6)
    assert [frame.number for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx(np.arange(12) / 50)
    assert video.fps == 50 and (video.captured, video.dropped) == (12, 0)
    assert {frame.truth for frame in frames} == {None}


def test_in_real_time_a_film_takes_its_time(film: Path) -> None:
    video = Video(film, real_time=True)
    captured = [frame.captured for frame in video.frames()]
    assert 0.1 < captured[-1] - captured[0] <= 11 / 50 + 1e-6
    # A frame's time is when it was due, however late it was read.
    steps = np.diff(captured) * 50
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert len(captured) + video.dropped == video.captured == 12


def test_what_is_no_film_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"nothing\.mp4 is missing"):
        Video(tmp_path / "nothing.mp4")
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(EdgemotionError, match=r"text\.mp4 is not a video"):
        Video(tmp_path / "text.mp4")


@pytest.mark.parametrize("index", [97, 10**20])
def test_a_missing_camera_is_one_line(index: int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        EdgemotionError, match=rf"camera {index} cannot be opened.*give another index, synthetic or a video file"
    ):
        Camera(index)
    assert capfd.readouterr().err == ""


def test_a_camera_is_asked_for_its_size_and_tells_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, float] = {}

    class Capture:
        """A camera of four frames that tells no rate."""

        left = 4

        def __init__(self, index: int) -> None:
            self.open = True

        def isOpened(self) -> bool:  # noqa: N802
            return self.open

        def set(self, key: int, value: float) -> None:
            asked[key] = value

        def get(self, key: int) -> float:
            return 0.0

        def read(self) -> tuple[bool, np.ndarray | None]:
            self.left -= 1
            return (True, np.zeros((2, 2, 3), np.uint8)) if self.left >= 0 else (False, None)

        def release(self) -> None:
            self.open = False

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    camera = Camera(1, width=320, height=240)
    assert (asked[cv2.CAP_PROP_FRAME_WIDTH], asked[cv2.CAP_PROP_FRAME_HEIGHT], camera.fps) == (320, 240, 30)
    seen = len(list(camera.frames()))
    # One was read to see that the camera shows something.
    assert camera.captured == 3 == seen + camera.dropped
    assert camera.failure == "camera 1 gave no more frames" and not camera.capture.isOpened()
