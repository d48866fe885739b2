"""A real server process: slow senders, SIGTERM under load, and thousands of hostile requests."""

import http.client
import itertools
import math
import random
import re
import runpy
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from edgemotion.serve.options import Options

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
uploads = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("uploads.py"))))


def post(connection: http.client.HTTPConnection, content: bytes, headers: dict[str, str] | None = None) -> int:
    connection.request("POST", "/predict", content, headers or {})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_a_body_that_does_not_come_in_time_is_given_up(start_server: Callable[..., Any]) -> None:
    server = start_server("--timeout", "0.5")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sender:
        sender.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 10)
        assert sender.recv(1000).startswith(b"HTTP/1.1 408")
    assert post(http.client.HTTPConnection("127.0.0.1", server.port), uploads.picture(1)) == 200


def test_no_accepted_request_is_lost_by_sigterm(start_server: Callable[..., Any]) -> None:
    server = start_server()
    statuses: Counter[Any] = Counter()
    content, stop = uploads.noise(side=512), threading.Event()

    def load() -> None:
        """Requests on connections of their own; one that is refused was not accepted."""
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            try:
                statuses[post(connection, content)] += 1
            except (ConnectionError, http.client.HTTPException, TimeoutError) as error:
                statuses[type(error).__name__] += 1
            finally:
                connection.close()

    senders = [threading.Thread(target=load) for _ in range(8)]
    for sender in senders:
        sender.start()
    while statuses[200] < 50:
        time.sleep(0.05)
    server.process.send_signal(signal.SIGTERM)
    # uvicorn ends its work and then dies of the signal, as whoever sent it expects.
    assert server.process.wait(30) == -signal.SIGTERM
    stop.set()
    for sender in senders:
        sender.join()
    # A connection may lie in the kernel's queue, unaccepted by the server, when it closes its door; an answer may not.
    lost = set(statuses) - {200, "ConnectionResetError"}
    answered = [line for line in server.lines if line.get("event") == "request"]
    assert not lost
    assert len(answered) == statuses[200]


@pytest.mark.parametrize("deployment", ["compose", "raspberry_pi"])
def test_the_largest_uploads_fit_into_the_memory_of_a_deployment(
    deployment: str, start_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if deployment == "compose":
        service = yaml.safe_load((ROOT / "dockerfiles/compose.yaml").read_text())["services"]["api"]
        options, environment = service["command"], (ROOT / "dockerfiles/api.Dockerfile").read_text()
    else:
        settings = (ROOT / "deploy/raspberry_pi/install.sh").read_text()
        options = re.findall("^OPTIONS=.*( --workers .*)$", settings, re.MULTILINE)[0].split()
        environment = (ROOT / "deploy/raspberry_pi/edgemotion.service").read_text()
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", re.findall(r"MALLOC_MMAP_THRESHOLD_=(\d+)", environment)[0])
    limits = dict(zip(options[::2], options[1::2], strict=True))
    side = math.isqrt(int(limits["--max-pixels"]))
    scene = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    progressive = [
        cv2.IMWRITE_JPEG_PROGRESSIVE,
        1,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    content = cv2.imencode(".jpg", cv2.resize(scene, (side, side)), [cv2.IMWRITE_JPEG_QUALITY, 50, *progressive])[1]
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + content.tobytes()
    form += bytes(Options.max_bytes - 100 - len(form)) + b"\r\n--x--\r\n"
    server = start_server(*options)
    statuses: list[int] = []

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/detect", form, {"Content-Type": "multipart/form-data; boundary=x"})
        statuses.append(connection.getresponse().status)

    for _ in range(2):
        senders = [threading.Thread(target=send) for _ in range(int(limits["--max-requests"]))]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    # Decoded, and then there is no detector.
    assert set(statuses) == {503} and len(statuses) == 2 * int(limits["--max-requests"])
    peak = re.findall(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert int(peak[0]) < 512 * 1024


def test_ten_thousand_hostile_requests(start_server: Callable[..., Any], champion_folder: Path) -> None:
    server = start_server()
    files = list(uploads.corpus().values())
    valid = [content for content, status in files if status == 200]
    drawn = random.Random(0)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    statuses: Counter[int] = Counter()

    def shoot(count: int) -> None:
        for _ in range(count):
            content, expected = drawn.choice(files)
            if drawn.random() < 0.7:
                content, expected = damaged(drawn.choice(valid), drawn), 0
            status = post(connection, content)
            assert status == expected or (not expected and status in (200, 400, 413, 415, 422)), (status, content[:60])
            statuses[status] += 1

    # The allocator keeps the most it was ever asked for, which the first thousands raise.
    shoot(2000)
    statuses.clear()
    shoot(2000)
    resident = [server.resident()]
    for _ in range(8):
        shoot(1000)
        resident.append(server.resident())
    assert sum(statuses.values()) == 10_000 and set(statuses) <= {200, 400, 413, 415, 422}
    assert min(statuses[status] for status in (200, 400, 413, 415, 422)) > 50
    # What leaks grows with every thousand.
    growth = sorted(later - earlier for earlier, later in itertools.pairwise(resident))
    assert growth[4] < 100_000, growth
    assert resident[-1] < resident[0] * 1.05 + 2e6
    too_large = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    too_large.putrequest("POST", "/predict")
    too_large.putheader("Content-Length", str(100_000_000))
    too_large.endheaders()
    assert too_large.getresponse().status == 413


def damaged(content: bytes, drawn: random.Random) -> bytes:
    """Cut the file, flip some of its bytes, or repeat a part of it."""
    changed = bytearray(content)
    match drawn.randrange(3):
        case 0:
            del changed[drawn.randrange(len(changed)) :]
        case 1:
            for _ in range(drawn.randint(1, 8)):
                changed[drawn.randrange(len(changed))] = drawn.randrange(256)
        case _:
            place = drawn.randrange(len(changed))
            changed[place:place] = changed[: drawn.randrange(200)]
    return bytes(changed)
