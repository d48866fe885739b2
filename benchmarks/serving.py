"""Our server, LitServe and BentoML with the same model: requests a second, latency and CPU from one interleaved run.

    uv run --group load python benchmarks/serving.py --output reports/serving

Each server has one worker and one core, the sender another; every server gets the same JPEG as a form. They answer in
turn, round by round, so that a disturbance hits all of them.
"""

import argparse
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from edgemotion.files import write_json, write_text
from edgemotion.measure.environment import describe
from edgemotion.measure.statistics import bootstrap_ratio
from edgemotion.runtime.champion import SHIPPED
from edgemotion.runtime.variant import load_variant

BOUNDARY = "edgemotion-benchmark"
# What is wanted of our requests a second against theirs.
GOALS = {"litserve": 1.3, "bentoml": 5.0}
SIDE = 96


@dataclass
class Server:
    """A running server and what was measured of it."""

    name: str
    form_field: str
    process: psutil.Process
    port: int
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    cpu: float = 0.0
    requests: int = 0

    def cpu_seconds(self) -> float:
        family = [self.process, *self.process.children(recursive=True)]
        return sum(times.user + times.system for times in (member.cpu_times() for member in family))

    def resident(self) -> int:
        family = [self.process, *self.process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@contextmanager
def started(champion: Path, core: int, logs: Path) -> Iterator[list[Server]]:
    """Start the three servers on one core and wait until each answers; they are ended together."""
    here = Path(__file__).parent
    ports = {name: free_port() for name in ("edgemotion", "litserve", "bentoml")}
    own = ["-m", "edgemotion.cli", "serve", "--port", str(ports["edgemotion"]), "--champion", str(champion)]
    commands = {
        "edgemotion": (sys.executable, *own),
        "litserve": (sys.executable, "litserve_server.py", str(ports["litserve"])),
        "bentoml": (
            sys.executable,
            "-m",
            "bentoml",
            "serve",
            "bentoml_server:Emotion",
            "--port",
            str(ports["bentoml"]),
        ),
    }
    extra = {"EDGEMOTION_CHAMPION": str(champion), "BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1"}
    running: list[subprocess.Popen[bytes]] = []
    logs.mkdir(parents=True, exist_ok=True)
    try:
        servers = []
        for name, command in commands.items():
            with (logs / f"{name}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        ["taskset", "-c", str(core), *command], cwd=here, env=os.environ | extra, stdout=log, stderr=log
                    )
                )
            field_name = "request" if name == "litserve" else "file"
            servers.append(Server(name, field_name, psutil.Process(running[-1].pid), ports[name]))
        for server in servers:
            wait_until_it_answers(server, logs)
        yield servers
    finally:
        family = [member for process in running for member in family_of(process.pid)]
        for process in running:
            process.terminate()
        for member in psutil.wait_procs(family, timeout=20)[1]:
            member.kill()


def family_of(pid: int) -> list[psutil.Process]:
    """A process and its descendants; none if it has ended."""
    try:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_until_it_answers(server: Server, logs: Path) -> None:
    content, deadline = form(server.form_field, jpeg(0)), time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            Sender(server).send(content)
            return
        except (OSError, http.client.HTTPException, RuntimeError):
            time.sleep(0.5)
    sys.exit(f"error: {server.name} does not answer; see {logs / server.name}.log")


class Sender:
    """One connection that is kept open."""

    def __init__(self, server: Server) -> None:
        self.path = "/predict"
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)

    def send(self, content: bytes) -> float:
        """Send a form and read the answer; seconds. RuntimeError for a refusal."""
        begun = time.perf_counter()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        self.connection.request("POST", self.path, content, headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200 or b"label" not in body:
            raise RuntimeError(f"{answer.status}: {body[:200]!r}")
        return time.perf_counter() - begun


def jpeg(seed: int) -> bytes:
    """A smooth picture of 96x96, about as large a file as a face."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def form(field_name: str, content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field_name}"; filename="face.jpg"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def one_round(server: Server, requests: int, connections: int) -> None:
    """Send `requests` over so many connections at once and record rate, latencies and CPU."""
    senders = [Sender(server) for _ in range(connections)]
    contents = [form(server.form_field, jpeg(seed)) for seed in range(16)]
    latencies: list[list[float]] = [[] for _ in senders]

    def send(place: int) -> None:
        for number in range(requests // connections):
            latencies[place].append(senders[place].send(contents[number % len(contents)]))

    threads = [threading.Thread(target=send, args=(place,)) for place in range(connections)]
    cpu, begun = server.cpu_seconds(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, done = time.perf_counter() - begun, sum(map(len, latencies))
    if done != requests // connections * connections:
        raise RuntimeError(f"{server.name} refused requests")
    server.rates.append(done / seconds)
    server.latencies += [latency for part in latencies for latency in part]
    server.cpu += server.cpu_seconds() - cpu
    server.requests += done


def result(server: Server, ours: Server) -> dict[str, Any]:
    milliseconds = np.array(server.latencies) * 1e3
    # Times a round, so that a higher ratio is a faster server of ours.
    own, other = 1 / np.array(ours.rates), 1 / np.array(server.rates)
    return {
        "requests_per_second": round(float(np.median(server.rates)), 1),
        "p50_ms": round(float(np.percentile(milliseconds, 50)), 3),
        "p99_ms": round(float(np.percentile(milliseconds, 99)), 3),
        "cpu_ms_per_request": round(server.cpu / server.requests * 1e3, 3),
        "resident_mb": round(server.resident() / 1e6, 1),
        "ours_faster": round(float(np.median(other) / np.median(own)), 3),
        "ours_faster_ci": bootstrap_ratio(other, own, seed=0, block=2),
        "requests": server.requests,
    }


def markdown(results: Mapping[str, Any], setting: Mapping[str, Any]) -> str:
    lines = [
        "| server | requests/s | p50 ms | p99 ms | CPU ms a request | resident MB | ours is faster [95 % CI] |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, found in results.items():
        low, high = found["ours_faster_ci"]
        ratio = "" if name == "edgemotion" else f"{found['ours_faster']:.2f}x [{low:.2f}, {high:.2f}]"
        lines.append(
            f"| {name} {setting['versions'][name]} | {found['requests_per_second']:.0f} | {found['p50_ms']:.2f} | "
            f"{found['p99_ms']:.2f} | {found['cpu_ms_per_request']:.2f} | {found['resident_mb']:.0f} | {ratio} |"
        )
    lines.append(
        f"\nOne worker on one core of {setting['cpu']}, {setting['connections']} connections from another, JPEG of "
        f"{SIDE}x{SIDE} as a form, model {setting['model']} ({setting['sha256'][:12]}), "
        f"{setting['rounds']} interleaved rounds of {setting['requests']} requests."
    )
    lines.append("")
    for name, goal in GOALS.items():
        found = results[name]["ours_faster"]
        lines.append(f"- Goal {goal:.1f}x of {name}: {'reached' if found >= goal else 'missed'} ({found:.2f}x).")
    return "\n".join(lines) + "\n"


def main() -> None:
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--champion", type=Path, default=SHIPPED)
    parser.add_argument("--output", type=Path, default=Path("reports/serving"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=400, help="of one round and server")
    parser.add_argument("--connections", type=int, default=4)
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("error: this needs two cores, one for the servers and one for the sender")
    os.sched_setaffinity(0, {cores[0]})
    variant = load_variant(given.champion.resolve())
    with started(given.champion.resolve(), cores[-1], given.output / "logs") as servers:
        for server in servers:
            one_round(server, given.requests, given.connections)
            server.rates, server.latencies, server.cpu, server.requests = [], [], 0.0, 0
        for number in range(given.rounds):
            shift = number % len(servers)
            for server in servers[shift:] + servers[:shift]:
                one_round(server, given.requests, given.connections)
        results = {server.name: result(server, servers[0]) for server in servers}
    setting = {
        **describe(1),
        "versions": {server.name: version(server.name) for server in servers},
        "model": variant.name,
        "sha256": variant.info["sha256"],
        "connections": given.connections,
        "rounds": given.rounds,
        "requests": given.requests,
    }
    reached = all(
        results[name]["ours_faster"] >= goal and results["edgemotion"]["p99_ms"] < results[name]["p99_ms"]
        for name, goal in GOALS.items()
    )
    record = {"setting": setting, "goals": GOALS, "reached": reached, "servers": results}
    write_json(given.output / "serving.json", record)
    write_text(given.output / "serving.md", markdown(results, setting))
    print(markdown(results, setting))


if __name__ == "__main__":
    main()
