"""A server under Locust's load for minutes: failures, and memory and the worst ten seconds' latency by the minute.

    uv run --group load python benchmarks/load.py --minutes 10 --output reports/load

First the capacity is measured with more users than the server can serve; then it gets `--share` of it. The server has
one core and one worker process, Locust another core.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from serving import Server, free_port, wait_until_it_answers

from edgemotion.files import write_json
from edgemotion.measure.environment import describe
from edgemotion.runtime.champion import SHIPPED
from edgemotion.runtime.variant import load_variant

HERE = Path(__file__).parent
# Requests a second that one user of the locustfile sends.
EACH = 20


def locust(port: int, users: int, seconds: int, core: int, folder: Path, watched: psutil.Process) -> dict[str, Any]:
    """Load the server; totals, and by the minute resident memory and the highest p95 of ten seconds."""
    prefix = folder / f"users_{users}"
    command = ["taskset", "-c", str(core), sys.executable, "-m", "locust", "-f", "locustfile.py", "--headless"]
    command += ["--host", f"http://127.0.0.1:{port}", "--users", str(users), "--spawn-rate", str(users), "--skip-log"]
    command += ["--run-time", f"{seconds}s", "--csv", str(prefix), "--csv-full-history", "--only-summary"]
    memory = []
    process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        memory.append(watched.memory_info().rss)
        time.sleep(1)
    with Path(f"{prefix}_stats.csv").open(newline="") as stream:
        total = next(row for row in csv.DictReader(stream) if row["Name"] == "Aggregated")
    with Path(f"{prefix}_stats_history.csv").open(newline="") as stream:
        # A row a second, of the last ten.
        history = [
            float(row["95%"]) for row in csv.DictReader(stream) if row["Name"] == "Aggregated" and row["95%"] != "N/A"
        ]
    return {
        "users": users,
        "requests": int(total["Request Count"]),
        "failures": int(total["Failure Count"]),
        "requests_per_second": round(float(total["Requests/s"]), 1),
        "p50_ms": float(total["50%"]),
        "p95_ms": float(total["95%"]),
        "p99_ms": float(total["99%"]),
        "worst_p95_ms_by_minute": [max(history[start : start + 60]) for start in range(0, len(history), 60)],
        "resident_mb": [round(size / 1e6, 1) for size in memory[5::60]],
    }


def growth(memory: list[float]) -> float:
    """By how much the second half's memory is above that after the first minute, as a share."""
    later = memory[len(memory) // 2 :]
    return round(float(np.median(later)) / memory[min(1, len(memory) - 1)] - 1, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--champion", type=Path, default=SHIPPED)
    parser.add_argument("--output", type=Path, default=Path("reports/load"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--share", type=float, default=0.8, help="of the capacity")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("error: this needs two cores, one for the server and one for Locust")
    os.sched_setaffinity(0, {cores[0]})
    port, champion = free_port(), given.champion.resolve()
    command = ["taskset", "-c", str(cores[-1]), sys.executable, "-m", "edgemotion.cli", "serve", "--port", str(port)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen([*command, "--champion", str(champion)], stderr=log)
        try:
            server = Server("edgemotion", "file", psutil.Process(process.pid), port)
            wait_until_it_answers(server, folder)
            capacity = locust(port, 100, 20, cores[0], folder, server.process)
            users = max(1, round(capacity["requests_per_second"] * given.share / EACH))
            steady = locust(port, users, round(given.minutes * 60), cores[0], folder, server.process)
        finally:
            process.terminate()
            ended = process.wait(40)
    found: dict[str, Any] = {
        "setting": {**describe(1), "sha256": load_variant(champion).info["sha256"], "share": given.share},
        "capacity": {key: capacity[key] for key in ("requests_per_second", "p95_ms", "failures")},
        "steady": steady | {"memory_growth": growth(steady["resident_mb"])},
        "exit_status": ended,
    }
    write_json(given.output / "load.json", found)
    print(
        f"capacity {capacity['requests_per_second']:.0f} requests/s; {steady['requests']} requests at "
        f"{steady['requests_per_second']:.0f}/s: {steady['failures']} failed, p95 {steady['p95_ms']:.0f} ms "
        f"(of ten seconds at most {max(steady['worst_p95_ms_by_minute']):.0f} ms), "
        f"memory {found['steady']['memory_growth']:+.1%}"
    )
    if steady["failures"]:
        sys.exit("error: requests failed")


if __name__ == "__main__":
    main()
