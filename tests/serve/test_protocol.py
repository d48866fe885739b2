"""The Open Inference Protocol v2: the classifier's own numbers, as JSON and as bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from edgemotion.runtime import Classifier
from edgemotion.serve.app import create_app
from edgemotion.serve.options import Options

INFER = "/v2/models/fp32/infer"


def call(images: np.ndarray, **extra: Any) -> dict[str, Any]:
    given = {"name": "images", "shape": list(images.shape), "datatype": "UINT8", "data": images.ravel().tolist()}
    return {"inputs": [given], **extra}


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (3, 8, 8, 1), np.uint8)


def test_metadata(client: TestClient) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    model = client.get("/v2/models/fp32").json()
    assert model["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]
    assert model["outputs"][1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}
    assert client.get("/v2/models/fp32/ready").json() == {"name": "fp32", "ready": True}
    assert client.get("/v2/models/other").status_code == 404


def test_a_version_is_served_under_its_own_address(client: TestClient, images: np.ndarray) -> None:
    plain = client.get("/v2/models/fp32").json()
    place = f"/v2/models/fp32/versions/{plain['versions'][0]}"
    assert client.get(place).json() == plain
    assert client.get(f"{place}/ready").json() == {"name": "fp32", "ready": True}
    assert client.post(f"{place}/infer", json=call(images)).json() == client.post(INFER, json=call(images)).json()
    for wrong in ("/v2/models/fp32/versions/1", place.replace("fp32", "other")):
        for answer in (client.get(wrong), client.get(f"{wrong}/ready"), client.post(f"{wrong}/infer", content=b"{}")):
            assert answer.status_code == 404 and "there is no" in answer.json()["error"]


def test_refusals_have_the_protocols_name(champion_folder: Path) -> None:
    with TestClient(create_app(Options(champion=champion_folder, max_bytes=10, api_key="key"))) as client:
        assert client.get("/v2").status_code == 401 and "X-API-Key" in client.get("/v2").json()["error"]
        client.headers["X-API-Key"] = "key"
        assert "larger than 10 bytes" in client.post(INFER, content=b"x" * 20).json()["error"]
        assert client.get("/v2/no/such").json() == {"error": "Not Found"}
        assert client.get(INFER).status_code == 405 and client.get(INFER).json() == {"error": "Method Not Allowed"}
        assert client.get("/v20").json() == {"detail": "Not Found"}


def test_it_is_ready_while_it_runs(champion_folder: Path) -> None:
    client = TestClient(create_app(Options(champion=champion_folder)))

    def told() -> list[tuple[int, Any]]:
        answers = [client.get(path) for path in ("/health/ready", "/v2/health/ready")]
        return [(answer.status_code, answer.json()) for answer in answers]

    not_yet = told()
    assert not_yet == [(503, {"detail": "not ready"}), (503, {"ready": False})]
    with client:
        assert told() == [(200, {"status": "ready"}), (200, {"ready": True})]
    assert told() == not_yet


def test_json_tensors(client: TestClient, champion_folder: Path, images: np.ndarray) -> None:
    logits, probabilities = Classifier(champion_folder).run(images)
    answer = client.post(INFER, json=call(images, id="7")).json()
    assert answer["id"] == "7" and answer["model_name"] == "fp32"
    assert [output["name"] for output in answer["outputs"]] == ["logits", "probabilities"]
    for output, expected in zip(answer["outputs"], (logits, probabilities), strict=True):
        assert output["shape"] == [3, 3]
        assert np.array_equal(np.array(output["data"], np.float32).reshape(3, 3), expected)


def test_nested_data_and_one_output(client: TestClient, images: np.ndarray) -> None:
    nested = call(images, outputs=[{"name": "probabilities"}])
    nested["inputs"][0]["data"] = images.tolist()
    answer = client.post(INFER, json=nested).json()
    assert [output["name"] for output in answer["outputs"]] == ["probabilities"]


def test_tensors_as_bytes_as_triton_sends_them(client: TestClient, champion_folder: Path, images: np.ndarray) -> None:
    content = images.tobytes()
    given = {"name": "images", "shape": [3, 8, 8, 1], "datatype": "UINT8"}
    given["parameters"] = {"binary_data_size": len(content)}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    answer = client.post(INFER, content=head + content, headers={"Inference-Header-Content-Length": str(len(head))})
    length = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.content[:length])["outputs"]
    tail, found = answer.content[length:], []
    for output in outputs:
        size = output["parameters"]["binary_data_size"]
        found.append(np.frombuffer(tail[:size], "<f4").reshape(output["shape"]))
        tail = tail[size:]
    assert not tail
    for got, expected in zip(found, Classifier(champion_folder).run(images), strict=True):
        assert np.array_equal(got, expected)


def test_one_output_as_bytes_and_the_other_as_numbers(client: TestClient, images: np.ndarray) -> None:
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "logits"}]
    answer = client.post(INFER, json=call(images, outputs=outputs))
    length = int(answer.headers["inference-header-content-length"])
    first, second = json.loads(answer.content[:length])["outputs"]
    assert (first["name"], first["parameters"], "data" in first) == ("probabilities", {"binary_data_size": 36}, False)
    assert second["name"] == "logits" and len(second["data"]) == 9 and len(answer.content) == length + 36


def changed(**change: Any) -> dict[str, Any]:
    body = call(np.zeros((1, 8, 8, 1), np.uint8))
    body["inputs"][0].update(change)
    return body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"inputs": 3}, 400),
        ({"inputs": [1]}, 400),
        (changed(name="pixels"), 400),
        (changed(datatype="FP32"), 400),
        (changed(shape="all"), 400),
        (changed(shape=[1, 8, 8, 3]), 400),
        (changed(shape=[-1, 8, 8, 1]), 400),
        (changed(shape=[True, 8, 8, 1]), 400),
        (changed(shape=[2, 8, 8, 1]), 400),
        (changed(shape=[9, 8, 8, 1]), 413),
        (changed(data=[0.5] * 64), 400),
        (changed(data=[256] * 64), 400),
        (changed(data=[-1] * 64), 400),
        (changed(data=[True] * 64), 400),
        (changed(data=[10**40] * 64), 400),
        (changed(data=[[1], [1, 2]]), 400),
        (changed(data="x" * 64), 400),
        (changed(data=None), 400),
        (changed(data=[[[1, True] * 32]]), 400),
        (changed(data=["x" * 50_000] + [""] * 10_000), 400),
        (changed(parameters={"binary_data_size": 64}), 400),
        (changed(parameters={"binary_data_size": "\ud800"}), 400),
        (changed(parameters=[]), 400),
        (changed() | {"outputs": [{"name": "labels"}]}, 400),
        (changed() | {"outputs": "logits"}, 400),
        (changed() | {"outputs": [{"name": "logits"}] * 2}, 400),
        (changed() | {"parameters": 1}, 400),
    ],
)
def test_what_does_not_follow_the_protocol_is_refused(client: TestClient, body: Any, status: int) -> None:
    answer = client.post(INFER, content=json.dumps(body))
    assert answer.status_code == status and isinstance(answer.json()["error"], str)


def test_an_id_may_be_any_string(client: TestClient, images: np.ndarray) -> None:
    # Half of a surrogate pair, which JSON can write and UTF-8 cannot.
    content = json.dumps(call(images, id="\ud800")).encode()
    answer = client.post(INFER, content=content)
    assert answer.status_code == 200 and answer.json()["id"] == "\ud800"


@pytest.mark.parametrize("length", ["x", "-1", "9999", "\u0661", "1" * 5000])
def test_a_wrong_length_of_the_json_part(client: TestClient, length: str) -> None:
    headers = {b"Inference-Header-Content-Length": length.encode()}
    assert client.post(INFER, content=b"{}", headers=headers).status_code == 400


def test_json_that_is_none_or_too_deep(client: TestClient) -> None:
    assert client.post(INFER, content=b"{").status_code == 400
    assert client.post(INFER, content=b"[" * 50_000).status_code == 400
    assert client.post("/v2/models/other/infer", content=b"{}").status_code == 404
