"""Who may call, how long, and what is logged of it."""

import contextlib
import gzip
import io
import json
import logging
import runpy
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import anyio
import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from edgemotion.runtime import Classifier
from edgemotion.serve.app import create_app
from edgemotion.serve.guard import Guard, JsonFormatter
from edgemotion.serve.metrics import Metrics
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


def test_a_path_that_only_begins_like_healths_needs_the_key(champion_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>built</h1>")
    with TestClient(create_app(Options(champion=champion_folder, page=tmp_path, api_key="s3cret"))) as client:
        # httpx would resolve the dots itself.
        for path in ("/health/%2e%2e/index.html", "/v2/health/%2e%2e/%2e%2e/index.html", "/health/other"):
            assert client.get(path).status_code == 401
        assert client.get("/health/live").status_code == 200


async def call(application: ASGIApp, path: str, receive: Receive, *headers: tuple[bytes, bytes]) -> list[Message]:
    """What the application answers to a POST, message by message."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [*headers]}
    await application(scope, receive, send)
    return sent


def test_more_requests_than_the_limit_are_sent_away(champion_folder: Path) -> None:
    async def check() -> None:
        application = create_app(Options(champion=champion_folder, max_requests=2))
        arrived, finish = anyio.Semaphore(0), anyio.Event()

        async def slow() -> Message:
            arrived.release()
            await finish.wait()
            return {"type": "http.request", "body": b"no image"}

        async def none() -> Message:
            return {"type": "http.request"}

        async with application.router.lifespan_context(application), anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(call, application, "/predict", slow)
            for _ in range(2):
                await arrived.acquire()
            start, body = await call(application, "/predict", none)
            assert start["status"] == 503 and "2 requests" in json.loads(body["body"])["detail"]
            assert {(b"retry-after", b"1"), (b"connection", b"close")} <= set(start["headers"])
            # A GET only; that the router says so shows that the guard let it pass.
            assert (await call(application, "/health/live", none))[0]["status"] == 405
            finish.set()
        assert (await call(application, "/predict", none))[0]["status"] == 400

    anyio.run(check)


def test_a_client_that_goes_away_is_no_error_of_the_server(
    champion_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    application = create_app(Options(champion=champion_folder))

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    assert anyio.run(call, application, "/predict", gone) == []
    assert not caplog.records
    page = application.state.metrics.page().decode()
    assert 'edgemotion_requests_total{route="/predict",status="499"} 1.0' in page


@pytest.mark.parametrize(("path", "status"), [("/predict", 413), ("/predict/batch", 415), ("/nowhere", 404)])
def test_a_body_that_nobody_reads_to_its_end_closes_the_connection(
    champion_folder: Path, path: str, status: int
) -> None:
    application = create_app(Options(champion=champion_folder, max_bytes=100_000))
    chunked = (b"transfer-encoding", b"chunked")

    async def endless() -> Message:
        return {"type": "http.request", "body": bytes(10_000), "more_body": True}

    async def whole() -> Message:
        return {"type": "http.request", "body": picture(1)}

    start = anyio.run(call, application, path, endless, chunked)[0]
    assert start["status"] == status and (b"connection", b"close") in start["headers"]
    start = anyio.run(call, application, "/predict", whole, chunked)[0]
    assert start["status"] == 200 and b"connection" not in dict(start["headers"])


def test_a_body_that_is_announced_too_large_is_not_waited_for(champion_folder: Path) -> None:
    async def never() -> Message:
        raise AssertionError("it was read")

    application = create_app(Options(champion=champion_folder, max_bytes=10))
    start = anyio.run(call, application, "/predict", never, (b"content-length", b"11"))[0]
    assert start["status"] == 413


def test_a_compressed_body_is_told_so(client: TestClient) -> None:
    image = gzip.compress(b"an image")
    for path, key in (("/predict", "detail"), ("/v2/models/fp32/infer", "error")):
        answer = client.post(path, content=image, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 415 and "without a Content-Encoding" in answer.json()[key]
        assert answer.headers["accept-encoding"] == "identity"
        assert client.post(path, content=b"", headers={"Content-Encoding": "Identity"}).status_code == 400


def test_what_takes_too_long_is_answered_with_408(champion_folder: Path) -> None:
    async def endless() -> Message:
        await anyio.sleep(5)
        return {"type": "http.request"}

    application = create_app(Options(champion=champion_folder, timeout_s=0.1))
    start, body = anyio.run(call, application, "/predict", endless)
    assert start["status"] == 408 and "0.1 seconds" in json.loads(body["body"])["detail"]


def test_health_is_told_while_a_slow_model_works(champion_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked, told = Classifier.run, threading.Event(), threading.Event()
    # Too slow for the event loop, as the warm-up finds out.
    patience = [0.005]

    def slow(classifier: Classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.set()
        told.wait(patience[0])
        return run(classifier, images)

    monkeypatch.setattr(Classifier, "run", slow)

    async def check() -> None:
        application = create_app(Options(champion=champion_folder))
        asked.clear()
        patience[0] = 2
        answers: list[str] = []

        async def post(path: str) -> None:
            await call(application, path, whole)
            answers.append(path)

        async def whole() -> Message:
            return {"type": "http.request", "body": picture(1)}

        async with application.router.lifespan_context(application), anyio.create_task_group() as tasks:
            tasks.start_soon(post, "/predict")
            while not asked.is_set():
                await anyio.sleep(0.001)
            await post("/health/live")
            told.set()
        assert answers == ["/health/live", "/predict"]

    anyio.run(check)


@pytest.mark.parametrize(("size", "parts"), [(64_000, 6), (10, 2)])
def test_an_answer_has_more_time_the_more_of_it_was_taken(size: int, parts: int) -> None:
    sent: list[Message] = []

    async def download(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(6):
            await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
            # As long as a slow client takes for it.
            await anyio.sleep(0.2)
        await send({"type": "http.response.body"})

    async def send(message: Message) -> None:
        sent.append(message)

    async def nothing() -> Message:
        return {"type": "http.request"}

    guard = Guard(download, Options(timeout_s=0.3), Metrics())
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    if parts == 6:
        anyio.run(guard, scope, nothing, send)
        assert not sent[-1].get("more_body")
    else:
        with pytest.raises(TimeoutError):
            anyio.run(guard, scope, nothing, send)
    assert sum(len(message.get("body", b"")) for message in sent) == parts * size


def test_no_origin_may_call_unless_it_is_named(champion_folder: Path) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    with TestClient(create_app(Options(champion=champion_folder))) as client:
        assert "access-control-allow-origin" not in client.options("/predict", headers=asked).headers
    with TestClient(create_app(Options(champion=champion_folder, cors=["https://a.example"]))) as client:
        allowed = client.options("/predict", headers=asked).headers
        assert allowed["access-control-allow-origin"] == "https://a.example"
        refused = client.options("/predict", headers=asked | {"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in refused.headers


def test_a_named_origin_may_send_the_key_and_reads_what_is_refused(champion_folder: Path) -> None:
    options = Options(champion=champion_folder, api_key="s3cret", cors=["https://a.example"])
    origin = {"Origin": "https://a.example"}
    asked = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    with TestClient(create_app(options)) as client:
        assert client.options("/predict", headers=asked).status_code == 200
        refused = client.post("/predict", content=picture(1), headers=origin)
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == origin["Origin"]


@pytest.mark.parametrize(
    ("cors", "origin", "opens"),
    [
        ([], None, True),
        ([], "http://testserver", True),
        # As behind a proxy that ends TLS.
        ([], "https://testserver", True),
        ([], "http://testserver:81", False),
        ([], "http://a.testserver", False),
        ([], "https://a.example", False),
        ([], "null", False),
        (["https://a.example"], "https://a.example", True),
        (["https://a.example"], "https://b.example", False),
        (["*"], "https://b.example", True),
    ],
)
def test_a_stream_is_open_to_the_origins_that_may_call(
    champion_folder: Path, cors: list[str], origin: str | None, opens: bool
) -> None:
    headers = {"Origin": origin} if origin else {}
    with TestClient(create_app(Options(champion=champion_folder, cors=cors))) as client:
        refused = contextlib.nullcontext() if opens else pytest.raises(WebSocketDisconnect)
        with refused, client.websocket_connect("/stream", headers=headers) as socket:
            socket.send_text("reset")
            assert socket.receive_json()["status"] == 200


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


def test_an_error_is_in_its_log_line() -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "broken", None, sys.exc_info())
    assert "ZeroDivisionError" in json.loads(JsonFormatter().format(record))["error"]
