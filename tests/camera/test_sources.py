from collections.abc import Callable
from pathlib import Path

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
    assert captured[-1] - captured[0] <= 11 / 50 + 1e-6
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
