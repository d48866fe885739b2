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
    sources = sorted(
        source for part in ("compression", "networks", "training") for source in (CODE / part).glob("*.py")
    )
    code = {source.relative_to(CODE).as_posix(): sha256_file(source) for source in sources}
    key = sha256_json({"torch": torch.__version__, "code": code, **identity})
    return CHECKPOINTS / f"{stage}-{key[:16]}.pt"


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
