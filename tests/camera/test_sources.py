import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgemotion.camera.recording import filming
from edgemotion.camera.sources import Camera, Video, is_address
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


@pytest.fixture
def network_camera(make_square: Callable[..., np.ndarray]) -> Iterator[str]:
    """Where a camera sends twelve JPEGs, ever brighter, to each that asks for /live (MJPEG over HTTP)."""
    shots = [cv2.imencode(".jpg", make_square(50 + 15 * number))[1].tobytes() for number in range(12)]

    class Sender(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.startswith("/live") else 404)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            # It sends on to one that has gone.
            with suppress(OSError):
                for shot in shots if self.path.startswith("/live") else []:
                    head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(shot)}\r\n\r\n"
                    self.wfile.write(head.encode() + shot + b"\r\n")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Sender) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_stream_is_a_camera_whose_name_holds_no_secret(network_camera: str) -> None:
    camera = Camera(f"http://user:p@ss@{network_camera}/live?key=secret")
    frames = list(camera.frames())
    assert camera.name == f"camera http://{network_camera}/live"
    assert camera.failure == f"{camera.name} gave no more frames"
    # One was read to see that the camera shows something.
    assert camera.captured == 11 == len(frames) + camera.dropped
    for frame in frames:
        assert abs(float(frame.image[55:85, 65:95].mean()) - (65 + 15 * frame.number)) < 6
    assert frames[-1].number == 10


@pytest.mark.parametrize("place", ["http://user:secret@{}/other?key=secret", "/dev/null"])
def test_an_address_without_a_camera_is_one_line(network_camera: str, place: str) -> None:
    place = place.format(network_camera)
    with pytest.raises(EdgemotionError, match="cannot be opened; give the address of one that is on") as raised:
        Camera(place)
    assert "secret" not in str(raised.value) and is_address(place)


def test_a_film_is_no_address(film: Path) -> None:
    assert not is_address(str(film)) and not is_address("synthetic")


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
