"""The runtime leaves nothing behind and asks no name server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

USE = """
import sys, time
from edgemotion.runtime import open_session
open_session(sys.argv[1])
time.sleep(3)
"""


@pytest.mark.slow
def test_onnxruntime_keeps_no_id_and_sends_nothing(variant_folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    unset = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    command = [sys.executable, "-c", USE, str(variant_folder / "model.onnx")]
    subprocess.run(command, env=unset | {"HOME": str(home)}, check=True)
    assert [path.name for path in home.rglob("*")] == []
