"""What a connection may send before there is a request, and on a WebSocket; a real server, because only it has one."""

import runpy
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from websockets.sync.client import connect

uploads = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("uploads.py"))))

HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


def test_a_connection_is_limited_before_its_request(start_server: Callable[..., Any]) -> None:
    server = start_server("--timeout", "1")

    def answer(*sent: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as opened:
            for part in sent:
                opened.sendall(part)
                # So that the server reads them one by one.
                time.sleep(0.1)
            received = b""
            while part := opened.recv(10_000):
                received += part
            return received

    started = time.monotonic()
    assert answer() == b""
    assert answer(HEAD) == b""
    # The first request is answered, the second never ends.
    assert answer(HEAD + b"\r\n", HEAD).count(b"200 OK") == 1
    assert 3 <= time.monotonic() - started < 9
    # What comes between requests is none: without an end of it the connection would stay open.
    assert answer(HEAD + b"\r\n", b"\r\n", b"\r\n").count(b"200 OK") == 1
    chunked = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"HTTP/1.1 400" in answer(chunked, b"0\r\nA: ", b"a" * 65_537)
    assert answer(HEAD + b"A: ", b"a" * 65_537).startswith(b"HTTP/1.1 400")
    assert answer(HEAD + b"Connection: close\r\nA: " + b"a" * 30_000, b"a" * 30_000, b"\r\n\r\n").count(b"200 OK") == 1

    # A body is no head, however large.
    scene = uploads.noise(".png", side=300)
    sent = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(scene)
    assert len(scene) > 2 * 65_536 and answer(sent, scene).startswith(b"HTTP/1.1 200")

    with connect(f"ws://127.0.0.1:{server.port}/stream", compression="deflate") as stream:
        assert stream.protocol.extensions == []
        # The time that a head may take is no limit of a stream.
        for _ in range(20):
            stream.send("reset")
            assert '"status":200' in str(stream.recv()).replace(" ", "")
            time.sleep(0.1)
