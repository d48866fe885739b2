"""A model file in, its cold start and peak memory in fresh processes out.

`python -m edgemotion.measure.coldstart MODEL` is one such process: it prints one line of JSON.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from edgemotion.cpu import exact_int8
from edgemotion.errors import EdgemotionError


def cold_start(model: Path | str, threads: int, times: int) -> dict[str, float]:
    """Median of `times` fresh processes: cold_start_ms and peak_memory_mb (10**6 bytes).

    The time runs from the import of ONNX Runtime to the first answer; the files are in the page cache.
    """
    command = [sys.executable, "-m", "edgemotion.measure.coldstart", str(model), str(threads)]
    found = []
    for _ in range(times):
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            last = (process.stderr.strip().splitlines() or ["no message"])[-1]
            raise EdgemotionError(f"{model} does not start in a fresh process: {last}")
        found.append(json.loads(process.stdout))
    return {key: round(median(one[key] for one in found), 3) for key in ("cold_start_ms", "peak_memory_mb")}


def answer_once(model: str, threads: int) -> dict[str, float]:
    """Import ONNX Runtime, open the model and classify one black image, in this process."""
    start = time.perf_counter_ns()
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # As open_session does, whose module would load OpenCV too.
    for entry in exact_int8().items():
        options.add_session_config_entry(*entry)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    session.run(None, {given.name: np.zeros((1, *given.shape[1:]), np.uint8)})
    elapsed = time.perf_counter_ns() - start
    return {"cold_start_ms": elapsed / 1e6, "peak_memory_mb": peak_memory() / 1e6}


def peak_memory() -> int:
    """The greatest resident memory of this process so far, in bytes."""
    # A child's ru_maxrss on Linux starts from its parent's size at the fork; VmHWM counts this program alone.
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(json.dumps(answer_once(sys.argv[1], int(sys.argv[2]))))
    # Tearing ONNX Runtime down takes time and is not measured.
    sys.stdout.flush()
    os._exit(0)
