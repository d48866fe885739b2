"""The WebSocket: frames in order, smoothed; bad frames leave it open."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from fastapi.testclient import TestClient

from edgemotion.runtime import Classifier
from edgemotion.runtime.smoothing import smooth
from edgemotion.serve.images import decode_image

uploads = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("uploads.py"))))
picture = uploads.picture


def test_frames_are_answered_in_order_and_smoothed(client: TestClient, champion_folder: Path) -> None:
    frames = [picture(brightness) for brightness in (255, 255, 0, 255)]
    with client.websocket_connect("/stream") as socket:
        answers = []
        for frame in frames:
            socket.send_bytes(frame)
            answers.append(socket.receive_json())
    assert [answer["frame"] for answer in answers] == [0, 1, 2, 3]
    assert [answer["raw"]["label"] for answer in answers] == ["bright", "bright", "dark", "bright"]
    images = np.stack([decode_image(frame, 10**6)[:8, :8, :1] for frame in frames])
    expected = smooth(Classifier(champion_folder).run(images)[1], 0.005, 0.05)
    found = [list(answer["smoothed"]["scores"].values()) for answer in answers]
    assert np.allclose(found, expected, atol=2e-6)


def test_a_bad_frame_is_told_and_changes_nothing(client: TestClient) -> None:
    with client.websocket_connect("/stream") as socket:
        socket.send_bytes(picture(255))
        first = socket.receive_json()
        for content, status in ((b"no image", 415), (b"", 400), (bytes(100_001), 413), (picture(3)[:-20], 422)):
            socket.send_bytes(content)
            assert socket.receive_json()["status"] == status
        socket.send_text("hello")
        assert socket.receive_json()["status"] == 400
        socket.send_bytes(picture(255))
        second = socket.receive_json()
        assert second["frame"] == 1 and second["smoothed"] == first["smoothed"]


def test_reset_starts_another_film(client: TestClient) -> None:
    with client.websocket_connect("/stream") as socket:
        socket.send_bytes(picture(255))
        socket.receive_json()
        socket.send_text("reset")
        socket.receive_json()
        socket.send_bytes(picture(0))
        answer = socket.receive_json()
    assert answer["frame"] == 0 and answer["smoothed"]["scores"] == answer["raw"]["scores"]
