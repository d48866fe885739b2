"""The shortcuts that hold logic of their own."""

import subprocess
import sys
from pathlib import Path

from invoke.loader import FilesystemLoader

ROOT = Path(__file__).parents[1]


def test_differences_names_changed_added_and_missing_stages_but_no_timed_one() -> None:
    tasks, _ = FilesystemLoader(start=str(ROOT)).load("tasks")
    first = {"train": {"outs": "a"}, "prune@x": {"outs": "b"}, "gone": {}, "profile": {"outs": "1 ms"}}
    second = {"train": {"outs": "a"}, "prune@x": {"outs": "c"}, "new": {}, "profile": {"outs": "2 ms"}}
    assert tasks.differences(first, second) == ["gone", "new", "prune@x"]
    assert tasks.differences(first, first) == []


def test_params_task_writes_what_is_committed(tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_bytes()
    subprocess.run([sys.executable, "-m", "invoke", "params"], cwd=ROOT, check=True)
    assert (ROOT / "params.yaml").read_bytes() == before
