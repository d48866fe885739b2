"""Who may call, how long, and what is logged of it."""

import io
import json
import logging
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from edgemotion.serve.app import create_app
from edgemotion.serve.guard import JsonFormatter
from edgemotion.serve.options import Options

uploads = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("uploads.py"))))
picture = uploads.picture


def test_a_key_is_wanted_everywhere_but_for_health(champion_folder: Path) -> None:
    with TestClient(create_app(Options(champion=champion_folder, api_key="s3cret"))) as client:
        for path in ("/model", "/metrics", "/v2/models/fp32", "/infer_form", "/docs"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"X-API-Key": "s3creT"}).status_code == 401
            assert client.get(path, headers={"X-API-Key": "s3cret"}).status_code == 200
        assert client.post("/predict", content=picture(1)).status_code == 401
        assert client.get("/health/ready").status_code == client.get("/v2/health/live").status_code == 200
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/stream"):
            pass
        with client.websocket_connect("/stream", headers={"X-API-Key": "s3cret"}) as socket:
            socket.send_text("reset")
            assert socket.receive_json()["status"] == 200


def test_no_origin_may_call_unless_it_is_named(champion_folder: Path) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    with TestClient(create_app(Options(champion=champion_folder))) as client:
        assert "access-control-allow-origin" not in client.options("/predict", headers=asked).headers
    with TestClient(create_app(Options(champion=champion_folder, cors=["https://a.example"]))) as client:
        allowed = client.options("/predict", headers=asked).headers
        assert allowed["access-control-allow-origin"] == "https://a.example"
        refused = client.options("/predict", headers=asked | {"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in refused.headers


def test_a_request_is_one_json_line_without_its_content(client: TestClient) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("edgemotion.requests")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        client.post("/predict?q=1", content=picture(9), headers={"X-Request-ID": "abc"})
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["request"] == "abc" and entry["route"] == "/predict" and entry["status"] == 200
    assert entry["bytes"] == len(picture(9)) and entry["ms"] > 0
    assert set(entry) == {"time", "level", "logger", "event", "request", "method", "route", "status", "bytes", "ms"}
