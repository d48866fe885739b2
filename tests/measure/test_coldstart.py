import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgemotion.errors import EdgemotionError
from edgemotion.measure.coldstart import cold_start


def test_a_fresh_process_answers(variant_folder: Path) -> None:
    found = cold_start(variant_folder / "model.onnx", threads=1, times=1)
    # Importing ONNX Runtime alone takes tens of milliseconds and tens of megabytes.
    assert 10 < found["cold_start_ms"] < 60_000
    assert 20 < found["peak_memory_mb"] < 1000


def test_the_median_of_all_processes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = iter([(90.0, 30.0), (40.0, 31.0), (50.0, 39.0)])

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        line = json.dumps(dict(zip(("cold_start_ms", "peak_memory_mb"), next(printed), strict=True)))
        return subprocess.CompletedProcess(command, 0, line, "")

    monkeypatch.setattr(subprocess, "run", run)
    assert cold_start("model.onnx", threads=1, times=3) == {"cold_start_ms": 50.0, "peak_memory_mb": 31.0}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands the parent's size on")
def test_the_parents_memory_is_not_counted(variant_folder: Path) -> None:
    ballast = np.ones(400_000_000, np.uint8)
    found = cold_start(variant_folder / "model.onnx", threads=1, times=1)
    assert found["peak_memory_mb"] < ballast.nbytes / 1e6 / 2


def test_a_broken_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(EdgemotionError, match=r"model\.onnx does not start"):
        cold_start(tmp_path / "model.onnx", threads=1, times=1)
