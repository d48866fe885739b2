"""Checkpoints: one name a training, whole or not at all, and a killed `stages.train` that goes on."""

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from edgemotion.datasets.splits import write_split
from edgemotion.files import sha256_file
from edgemotion.training.checkpoint import checkpoint_path, code_sha256, load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
IDENTITY: dict[str, Any] = {"train": {"epochs": 2, "augment": {"flip": True}}, "seed": 1, "data": {"images.npy": "a"}}


def test_only_the_same_training_has_the_same_path() -> None:
    path = checkpoint_path("train", **IDENTITY)
    assert path == checkpoint_path("train", **dict(reversed(IDENTITY.items())))
    assert path.parent == Path(".checkpoints") and path.name.startswith("train-")
    others = [
        checkpoint_path("pruned", **IDENTITY),
        checkpoint_path("train", **{**IDENTITY, "seed": 2}),
        checkpoint_path("train", **{**IDENTITY, "train": {"epochs": 2, "augment": {"flip": False}}}),
        checkpoint_path("train", **{**IDENTITY, "data": {"images.npy": "b"}}),
    ]
    assert len({path, *others}) == 5


def test_other_code_has_another_path(monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint_path("train", **IDENTITY)
    monkeypatch.setattr("edgemotion.training.checkpoint.code_sha256", lambda: {"training/loop.py": "0"})
    assert checkpoint_path("train", **IDENTITY) != path


def test_the_code_that_makes_a_network_is_part_of_its_name() -> None:
    found = code_sha256()
    assert {"training/loop.py", "networks/compact.py", "compression/qat.py", "datasets/splits.py"} <= set(found)
    assert found["datasets/images.py"] == sha256_file(ROOT / "src/edgemotion/datasets/images.py")


def test_another_torch_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint_path("train", **IDENTITY)
    monkeypatch.setattr(torch, "__version__", "0.0.0")
    assert checkpoint_path("train", **IDENTITY) != path


def test_comes_back_and_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new/train.pt"
    assert load_checkpoint(path) is None
    for epoch in (1, 2):
        save_checkpoint(path, {"history": [{"epoch": epoch}], "module": {"weight": torch.full((2,), epoch)}})
    state = load_checkpoint(path)
    assert state is not None and state["history"] == [{"epoch": 2}]
    assert torch.equal(state["module"]["weight"], torch.tensor([2, 2]))
    assert [found.name for found in path.parent.iterdir()] == ["train.pt"]


def test_a_failed_write_leaves_the_previous_epoch(tmp_path: Path) -> None:
    path = tmp_path / "train.pt"
    save_checkpoint(path, {"history": []})
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        save_checkpoint(path, {"history": (number for number in range(3))})
    assert load_checkpoint(path) == {"history": []}
    assert [found.name for found in tmp_path.iterdir()] == ["train.pt"]


def workspace(folder: Path) -> Path:
    """A project folder with params.yaml and prepared arrays."""
    write_split(folder / "data/prepared/train", given.split_of(240, seed=1))
    write_split(folder / "data/prepared/val", given.split_of(60, seed=2))
    changes = [
        "model=lenet", "tracking=none", "threads=1", "train.epochs=15", "train.batch_size=16",
        "data.classes=[left,right,middle]", "train.device=cpu",
    ]  # fmt: skip
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        OmegaConf.save(compose("config", changes), folder / "params.yaml", resolve=True)
    return folder


def start(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "edgemotion.stages.train"]
    given_path = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, cwd=folder, env=given_path, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = workspace(tmp_path / "whole"), workspace(tmp_path / "killed")
    process = start(whole)
    process.communicate(timeout=300)
    assert process.returncode == 0

    process = start(killed)
    deadline = time.monotonic() + 300
    while not list(killed.glob(".checkpoints/train-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    assert not (killed / "models").exists()

    process = start(killed)
    _, log = process.communicate(timeout=300)
    assert process.returncode == 0 and "going on after epoch" in log
    wanted = given.digests(whole / "models/networks/fp32")
    assert list(wanted) == ["history.csv", "model.safetensors", "network.json"]
    assert given.digests(killed / "models/networks/fp32") == wanted
    assert not list((killed / ".checkpoints").iterdir())
    assert not (killed / "outputs").exists()
