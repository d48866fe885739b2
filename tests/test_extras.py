"""What works without the optional extra `yolo`, and the one line for what does not."""

import subprocess
import sys

# An entry of None makes every import of the name fail, as if it were not installed.
WITHOUT_ULTRALYTICS = """
import importlib, pkgutil, sys
sys.modules["ultralytics"] = None
import edgemotion
for module in pkgutil.walk_packages(edgemotion.__path__, "edgemotion."):
    importlib.import_module(module.name)
from edgemotion import registry
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import build
build("lenet", {"dropout": 0.2}, 3, 1, 16, 16)
try:
    build("yolo", {"architecture": "yolo11n", "weights": None}, 3, 1, 32, 32)
except EdgemotionError as error:
    print(error)
"""


def test_everything_else_works_without_ultralytics() -> None:
    found = subprocess.run([sys.executable, "-c", WITHOUT_ULTRALYTICS], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "extra yolo" in found.stdout.replace("--extra", "extra") and found.stdout.count("\n") == 1
