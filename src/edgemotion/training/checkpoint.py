"""A training's state after its last whole epoch, kept outside DVC's outputs until the training has ended."""

from pathlib import Path
from typing import Any

import torch

from edgemotion.files import replacing, sha256_file, sha256_json

CHECKPOINTS = Path(".checkpoints")
CODE = Path(__file__).parents[1]


def checkpoint_path(stage: str, **identity: Any) -> Path:
    """A name that only the same training has: its settings, data, code and torch version.

    A training that was killed thus goes on, and one whose settings have changed since begins anew.
    """
    key = sha256_json({"torch": torch.__version__, "code": code_sha256(), **identity})
    return CHECKPOINTS / f"{stage}-{key[:16]}.pt"


def code_sha256() -> dict[str, str]:
    """The SHA-256 of each source file that a trained or compressed network hangs on, the cutting of faces included."""
    parts = ("compression/*.py", "networks/*.py", "training/*.py", "datasets/images.py", "datasets/splits.py")
    sources = sorted(source for part in parts for source in CODE.glob(part))
    return {source.relative_to(CODE).as_posix(): sha256_file(source) for source in sources}


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write atomically: a kill while writing leaves the previous epoch's file."""
    with replacing(path) as partial:
        torch.save(state, partial)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint, or None where there is none."""
    if not path.is_file():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    assert isinstance(state, dict)
    return state
