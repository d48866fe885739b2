"""A running application over a champion whose answers are known by hand."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fastapi.testclient import TestClient

from edgemotion.serve.app import create_app
from edgemotion.serve.options import Options


@pytest.fixture(autouse=True)
def no_face_detector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a user has downloaded or set must not decide a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEMOTION_FACES", raising=False)


@pytest.fixture
def client(champion_folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Options(champion=champion_folder, max_bytes=100_000, max_batch=4))) as opened:
        yield opened


class Server:
    """`edgemotion serve` as a process of its own, on a free port."""

    def __init__(self, champion: Path, *options: str) -> None:
        command = [
            sys.executable,
            "-m",
            "edgemotion.cli",
            "serve",
            "--port",
            "0",
            "--champion",
            str(champion),
            *options,
        ]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.lines: list[dict[str, object]] = []
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", str(self.lines[-1]["event"])):
                self.port = int(found[1])
                break
        else:
            raise AssertionError(f"the server did not start: {self.lines}")
        # An unread pipe fills and blocks the server.
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        assert self.process.stderr is not None
        # The decoders of OpenCV print their own complaints, which are no JSON.
        self.lines += [json.loads(line) for line in self.process.stderr if line.startswith("{")]

    def resident(self) -> int:
        """Bytes of resident memory."""
        return psutil.Process(self.process.pid).memory_info().rss


@pytest.fixture
def start_server(champion_folder: Path) -> Iterator[Callable[..., Server]]:
    """Start servers with more options of the command line; they are stopped in the end."""
    started: list[Server] = []

    def start(*options: str, champion: Path = champion_folder) -> Server:
        started.append(Server(champion, *options))
        return started[-1]

    yield start
    for server in started:
        server.process.terminate()
        server.process.wait(20)
