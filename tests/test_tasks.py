"""The shortcuts that hold logic of their own."""

import shutil
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
    # In a copy, because the task writes beside itself.
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    shutil.copyfile(ROOT / "tasks.py", tmp_path / "tasks.py")
    subprocess.run([sys.executable, "-m", "invoke", "params"], cwd=tmp_path, check=True)
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()
