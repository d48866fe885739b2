"""The files that docs/extending.md shows, added to a copy of the project: nothing else needs a change."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from dvc.utils.hydra import compose_and_dump

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
CHOICES = [
    "model=tiny", "data=flat", "robustness=posterize", "compression=quantized", "tracking=none", "train.epochs=2",
    "~quantize.int8_dynamic", "variants=[fp32,int8_static]", "quantize.int8_static.args.calibration_images=300",
    "profile.rounds=20", "profile.warmup=2", "profile.batches=[1]", "profile.cold_starts=1", "temporal.frames=100",
]  # fmt: skip


def write_archive(path: Path) -> None:
    """Dark and bright noise, 300 images to train on."""
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as zipped:
        for split, count in {"train": 300, "val": 60, "test": 60}.items():
            for number in range(count):
                label, low = ("dark", 0) if number % 2 else ("bright", 100)
                image = rng.integers(low, low + 120, (24, 24), np.uint8)
                zipped.writestr(f"{split}_{label}_{number:03d}.png", cv2.imencode(".png", image)[1].tobytes())


@pytest.mark.slow
def test_a_network_a_dataset_and_a_corruption_are_one_file_and_one_yaml(tmp_path: Path) -> None:
    for name in ("src", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    assert [path for path in FILES if (ROOT / path).exists()] == ["src/edgemotion/measure/corruptions.py"]
    assert len(FILES) == 6
    for path, content in FILES.items():
        with (tmp_path / path).open("a", encoding="utf-8") as stream:
            stream.write(content)
    write_archive(tmp_path / "data/external/flat.zip")
    compose_and_dump(tmp_path / "params.yaml", str(tmp_path / "configs"), None, "config", str(tmp_path), CHOICES)

    dvc = [sys.executable, "-m", "dvc"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in ([*dvc, "init", "--no-scm", "--quiet"], [*dvc, "repro"]):
        found = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]

    summary = json.loads((tmp_path / "reports/summary.json").read_text())
    assert (summary["dataset"], summary["network"]) == ("flat", "tiny")
    assert list(summary["variants"]) == ["fp32", "int8_static"]
    assert summary["variants"]["fp32"]["top1"] > 0.9
    assert list(summary["variants"]["fp32"]["robust"]) == ["clean", "posterize_3"]
