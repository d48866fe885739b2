"""The figures of the explain stage, of a classifier on faces and of a detector on whole images."""

import contextlib
import dataclasses
import inspect
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from edgemotion.datasets.splits import write_split
from edgemotion.networks import network
from edgemotion.settings import load
from edgemotion.stages import explain

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
FIGURES = {"reports/figures/augmentation.png", "reports/figures/gradcam.png"}


def workspace(folder: Path, trained: Any, size: int, box: tuple[float, ...] = (0, 0, 1, 1)) -> Path:
    """A project with a network and images that have their face in `box`."""
    for seed, name in enumerate(("train", "test")):
        split = given.split_of(30, seed, size=size)
        boxes = np.tile(np.array(box, np.float32), (30, 1))
        write_split(folder / "data/prepared" / name, dataclasses.replace(split, boxes=boxes))
    network.save(folder / "models/networks/fp32", dataclasses.replace(trained, classes=given.CLASSES), [])
    return folder


def run(folder: Path, *overrides: str) -> dict[str, str]:
    """Run the stage's body there; the digests of the figures."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        settings = load(compose("config", ["threads=1", "data=synthetic", *overrides]))
    with contextlib.chdir(folder):
        inspect.unwrap(explain.main)(settings)
    found = {f"reports/figures/{name}": value for name, value in given.digests(folder / "reports/figures").items()}
    assert set(found) == FIGURES
    return found


def test_figures_repeat_and_follow_the_settings(tmp_path: Path) -> None:
    workspace(tmp_path, given.network_of(), size=16)
    first = run(tmp_path)
    assert run(tmp_path) == first
    other = run(tmp_path, "train.augment.rotate_degrees=45")
    assert {name for name in FIGURES if other[name] != first[name]} == {"reports/figures/augmentation.png"}


def test_originals_stand_at_the_left(tmp_path: Path) -> None:
    workspace(tmp_path, given.network_of(), size=16)
    nothing = [f"train.augment.{name}={0 if name != 'flip' else 'false'}" for name in given.NO_AUGMENT]
    run(tmp_path, *nothing)
    figure = cv2.imread(str(tmp_path / "reports/figures/augmentation.png"), cv2.IMREAD_GRAYSCALE)
    # Without augmentation all nine columns show the same picture.
    columns = [part[:, :100].std() for part in np.array_split(figure[20:], 9, axis=1)]
    assert min(columns) > 10 and max(columns) - min(columns) < 0.2 * max(columns)


@pytest.mark.slow
def test_a_detector_is_shown_whole_images(tmp_path: Path) -> None:
    given.need_ultralytics()
    detector = given.network_of("yolo", {"architecture": "yolo11n", "weights": None}, size=64)
    whole = run(workspace(tmp_path / "whole", detector, size=64))
    boxed = run(workspace(tmp_path / "boxed", detector, size=64, box=(0.25, 0.25, 0.75, 0.75)))
    assert whole == boxed
    faces = run(workspace(tmp_path / "faces", given.network_of(size=64), size=64, box=(0.25, 0.25, 0.75, 0.75)))
    assert faces["reports/figures/augmentation.png"] != whole["reports/figures/augmentation.png"]
