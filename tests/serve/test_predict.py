"""The API over a champion that answers by brightness: what it says, what it refuses, what it counts."""

import json
import os
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from edgemotion.datasets.images import decode
from edgemotion.errors import EdgemotionError
from edgemotion.runtime import Classifier
from edgemotion.runtime.detector import Detection
from edgemotion.runtime.faces import Face
from edgemotion.runtime.smoothing import smooth
from edgemotion.serve.app import create_app
from edgemotion.serve.images import decode_image
from edgemotion.serve.options import Options

uploads = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("uploads.py"))))
picture = uploads.picture
# Before a fixture takes it away.
YUNET = os.environ.get("EDGEMOTION_FACES")


def upload(client: TestClient, path: str, content: bytes, **extra: Any) -> Any:
    return client.post(path, files={"file": ("face.png", content)}, **extra)


@pytest.mark.parametrize("path", ["/predict", "/infer_form"])
@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp"])
def test_a_form_and_a_body_get_the_classifiers_answer(
    client: TestClient, champion_folder: Path, path: str, kind: str
) -> None:
    content = picture(250, kind)
    answers = [upload(client, path, content).json(), client.post(path, content=content).json()]
    expected = Classifier(champion_folder).predict(decode_image(content, 10**6))
    for answer in answers:
        assert answer["label"] == expected.label == "bright"
        assert answer["scores"] == pytest.approx(expected.probabilities, abs=1e-6)
        assert answer["uncertain"] is False
        assert len(answer["model_version"]) == 64
        assert answer["timings"]["decode_ms"] > 0 and answer["timings"]["inference_ms"] > 0


def test_a_label_below_the_cards_probability_is_uncertain(client: TestClient) -> None:
    # Half way between two classes.
    answer = upload(client, "/predict", picture(64)).json()
    assert max(answer["scores"].values()) < 0.6 and answer["uncertain"] is True


def test_a_colour_jpeg_is_read_as_the_datasets_are(client: TestClient, champion_folder: Path) -> None:
    # Its luma is 28; as a colour image turned gray it has 29.
    blue = np.full((96, 96, 3), (255, 0, 0), np.uint8)
    content = cv2.imencode(".jpg", blue, [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes()
    expected = Classifier(champion_folder).predict(decode(content, 1)).probabilities
    assert client.post("/predict", content=content).json()["scores"] == pytest.approx(expected, abs=1e-6)


def test_a_batch_keeps_its_order(client: TestClient) -> None:
    files = [("files", picture(brightness)) for brightness in (0, 255, 128)]
    answer = client.post("/predict/batch", files=files).json()
    assert [entry["label"] for entry in answer["predictions"]] == ["dark", "bright", "middle"]


def test_a_sequence_is_smoothed_as_the_filter_does(client: TestClient, champion_folder: Path) -> None:
    frames = [picture(brightness) for brightness in (0, 0, 255, 0)]
    answer = client.post("/predict/sequence", files=[("files", frame) for frame in frames]).json()
    raw = [entry["raw"]["label"] for entry in answer["frames"]]
    assert raw == ["dark", "dark", "bright", "dark"]
    images = np.stack([decode_image(frame, 10**6)[:8, :8, :1] for frame in frames])
    expected = smooth(Classifier(champion_folder).run(images)[1], 0.005, 0.05)
    found = [list(entry["smoothed"]["scores"].values()) for entry in answer["frames"]]
    assert np.allclose(found, expected, atol=2e-6)


CORPUS = uploads.corpus()


@pytest.mark.parametrize("path", ["/predict", "/infer_form"])
@pytest.mark.parametrize("name", CORPUS)
def test_hostile_files_get_their_status(client: TestClient, path: str, name: str) -> None:
    content, status = CORPUS[name]
    for answer in (client.post(path, content=content), upload(client, path, content)):
        assert answer.status_code == status
        assert ("label" if status == 200 else "detail") in answer.json()


def test_the_name_of_a_damaged_file_of_a_batch_is_its_number(client: TestClient) -> None:
    answer = client.post("/predict/batch", files=[("files", picture(1)), ("files", b"oh")])
    assert answer.status_code == 415 and answer.json()["detail"].startswith("file 1: ")


def test_the_pixels_of_a_request_are_counted_together(champion_folder: Path) -> None:
    with TestClient(create_app(Options(champion=champion_folder, max_pixels=1000))) as client:
        assert client.post("/predict/batch", files=[("files", picture(1))] * 2).status_code == 200
        answer = client.post("/predict/sequence", files=[("files", picture(1))] * 3)
        assert answer.status_code == 413 and "1200 pixels together" in answer.json()["detail"]


@pytest.mark.parametrize("ending", [b"\r\n\r\n", b"y"])
def test_a_form_of_many_parts_is_refused_before_it_is_parsed(client: TestClient, ending: bytes) -> None:
    # With `y` no boundary is one, but the parser must look at each.
    headers = {"content-type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + picture(1)
    for many, status in ((10, 200), (30, 413)):
        answer = client.post("/predict", content=part + (b"\r\n--x" + ending) * many + b"\r\n--x--", headers=headers)
        assert answer.status_code == status, answer.text


def test_forms_that_are_none(client: TestClient) -> None:
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/predict", content=b"zz", headers=broken).status_code == 400
    assert client.post("/predict", content=b"zz", headers={"content-type": "multipart/form-data"}).status_code == 400
    assert client.post("/predict", files={"image": picture(1)}).status_code == 422
    assert client.post("/predict", files=[("file", picture(1)), ("file", picture(2))]).status_code == 422
    begin = b'--x\r\nContent-Disposition: form-data; name="file"'
    text, file = (begin + more + b"\r\n\r\n" + picture(1) for more in (b"", b'; filename="f"'))
    for form, status in ((file + b"\r\n--x--", 200), (text + b"\r\n--x--", 422), (file + b"\r\n--x\r\nCont", 400)):
        assert client.post("/predict", content=form, headers=broken).status_code == status
    assert client.post("/predict/batch", content=picture(1)).status_code == 415
    assert client.post("/predict/batch", files=[("files", picture(1))] * 5).status_code == 413
    assert client.post("/predict/batch", files=[("files", picture(1))] * 6).status_code == 413


def test_a_body_without_an_announced_length_is_counted(client: TestClient) -> None:
    parts = (bytes(1000) for _ in range(200))
    assert client.post("/predict", content=parts).status_code == 413


def test_without_a_face_detector_detect_says_how_to_get_it(client: TestClient) -> None:
    answer = upload(client, "/detect", picture(1))
    assert answer.status_code == 503 and "edgemotion faces" in answer.json()["detail"]
    assert client.get("/model").json()["finds_faces"] is False


def test_a_face_detectors_path_must_lead_to_one(champion_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"nothing\.onnx is missing"):
        create_app(Options(champion=champion_folder, faces=tmp_path / "nothing.onnx"))


@pytest.mark.skipif(YUNET is None, reason="EDGEMOTION_FACES names no face detector")
def test_the_faces_of_a_scene_get_their_emotions(champion_folder: Path) -> None:
    from edgemotion.datasets.rendering import render_stream

    face = render_stream(np.random.default_rng(3), 1)[0][0]
    scene = np.full((240, 320), 120, np.uint8)
    scene[40:200, 100:260] = cv2.resize(face, (160, 160), interpolation=cv2.INTER_CUBIC)
    options = Options(champion=champion_folder, faces=Path(str(YUNET)))
    with TestClient(create_app(options)) as client:
        content = cv2.imencode(".png", scene)[1].tobytes()
        (found,) = upload(client, "/detect", content).json()["faces"]
        x1, y1, x2, y2 = found["box"]
        assert 100 < x1 < 160 < 200 < x2 < 260 and 30 < y1 < 90 < 150 < y2 < 215
        assert found["score"] > 0.6 and sum(found["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert upload(client, "/detect", picture(120)).json()["faces"] == []
        assert client.get("/model").json()["finds_faces"] is True


def test_the_faces_of_a_scene_are_framed_as_the_card_says_and_limited(champion_folder: Path) -> None:
    card = json.loads((champion_folder / "card.json").read_text()) | {"face_side": 0.5}
    (champion_folder / "card.json").write_text(json.dumps(card))
    # Only the middle of the first two boxes is lit, as the card frames faces.
    scene = np.zeros((60, 200, 3), np.uint8)
    scene[25:35, 25:35], scene[25:35, 85:95] = 255, 128
    boxes = [(20.0, 20.0, 40.0, 40.0), (80.0, 20.0, 100.0, 40.0), *[(120.0, 20.0, 140.0, 40.0)] * 4]
    seen = []

    def find(image: np.ndarray) -> list[Face]:
        seen.append(image.shape)
        return [Face(box, 0.9) for box in boxes]

    with TestClient(create_app(Options(champion=champion_folder, max_batch=4))) as client:
        client.app.state.engine.finder = SimpleNamespace(find=find)
        found = upload(client, "/detect", cv2.imencode(".png", scene)[1].tobytes()).json()["faces"]
    assert [face["label"] for face in found] == ["bright", "middle", "dark", "dark"]
    assert [tuple(face["box"]) for face in found] == boxes[:4]
    # In colours, though the champion takes gray.
    assert seen == [(60, 200, 3)]


def test_a_champion_that_detects_answers_with_its_own_boxes(client: TestClient) -> None:
    found = [Detection("calm", 0.9, (1.0, 2.0, 3.0, 4.04))]
    client.app.state.engine.detector = SimpleNamespace(detect=lambda scene: found)
    (face,) = upload(client, "/detect", picture(1)).json()["faces"]
    assert face == {"box": [1.0, 2.0, 3.0, 4.0], "score": 0.9, "label": "calm"}


def test_the_model_tells_what_it_is(client: TestClient, champion_folder: Path) -> None:
    model = client.get("/model").json()
    assert model["classes"] == ["dark", "middle", "bright"] and model["dataset"] == "gray"
    assert model["version"] == Classifier(champion_folder).variant.info["sha256"]
    assert model["metrics"]["top1"] == 0.9 and model["certain"]["probability"] == 0.6


def test_metrics_count_requests_and_labels(client: TestClient) -> None:
    upload(client, "/predict", picture(255))
    client.post("/predict", content=b"oh")
    client.get("/invented/path")
    text = client.get("/metrics").text
    assert 'edgemotion_requests_total{route="/predict",status="200"} 1.0' in text
    assert 'edgemotion_requests_total{route="/predict",status="415"} 1.0' in text
    assert 'edgemotion_requests_total{route="other",status="404"} 1.0' in text
    assert 'edgemotion_predictions_total{label="bright",uncertain="false"} 1.0' in text
    assert 'edgemotion_request_seconds_count{route="/predict"} 2.0' in text


def test_the_faces_of_films_are_counted(client: TestClient) -> None:
    client.post("/predict/sequence", files=[("files", picture(255))] * 3)
    with client.websocket_connect("/stream") as socket:
        socket.send_bytes(picture(255))
        socket.receive_json()
    assert 'edgemotion_predictions_total{label="bright",uncertain="false"} 4.0' in client.get("/metrics").text


def test_health_and_form(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    form = client.get("/infer_form")
    assert "multipart/form-data" in form.text and "EU AI Act" in form.text
    assert client.get("/", follow_redirects=False).headers["location"] == "infer_form"


def test_the_answers_are_those_that_the_schema_promises(client: TestClient) -> None:
    from edgemotion.serve.schemas import Answer, Batch, Frames

    Answer.model_validate(upload(client, "/predict", picture(1)).json())
    Batch.model_validate(client.post("/predict/batch", files=[("files", picture(1))]).json())
    Frames.model_validate(client.post("/predict/sequence", files=[("files", picture(1))]).json())


def test_a_built_page_is_served_isolated(champion_folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<h1>built</h1>")
    with TestClient(create_app(Options(champion=champion_folder, page=page))) as client:
        answer = client.get("/")
        assert answer.text == "<h1>built</h1>"
        assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-cache"
        assert client.get("/health/live").status_code == 200
    with pytest.raises(EdgemotionError, match=r"index\.html is missing; build the page"):
        create_app(Options(champion=champion_folder, page=tmp_path))
