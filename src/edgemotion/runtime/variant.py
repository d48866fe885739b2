"""A folder with model.onnx and model_info.json in, a verified variant out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, sha256_file

MODEL = "model.onnx"
INFO = "model_info.json"
NEEDED = ("name", "classes", "input", "sha256")


@dataclass(frozen=True)
class Variant:
    """A model file that ships and what its record says of it."""

    folder: Path
    info: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.info["name"])

    @property
    def classes(self) -> list[str]:
        return list(self.info["classes"])

    @property
    def detects(self) -> bool:
        """Whether the model finds faces in whole images; otherwise it takes crops of faces."""
        return self.info.get("task") == "detect"

    @property
    def height(self) -> int:
        return int(self.info["input"]["height"])

    @property
    def width(self) -> int:
        return int(self.info["input"]["width"])

    @property
    def channels(self) -> int:
        return int(self.info["input"]["channels"])

    @property
    def model_path(self) -> Path:
        return self.folder / MODEL


def load_variant(folder: Path | str) -> Variant:
    """Read a variant folder and verify its model against the recorded SHA-256.

    Raises EdgemotionError for a missing file, a record without a needed key, and a model that is not the recorded one.
    """
    folder = Path(folder)
    for name in (MODEL, INFO):
        if not (folder / name).is_file():
            raise EdgemotionError(f"{folder / name} is missing; a variant is a folder with {MODEL} and {INFO}")
    info = read_json(folder / INFO)
    for key in NEEDED:
        if not isinstance(info, dict) or key not in info:
            raise EdgemotionError(f"{folder / INFO} has no key {key!r}; make or copy the variant again")
    found = sha256_file(folder / MODEL)
    if found != info["sha256"]:
        raise EdgemotionError(
            f"{folder / MODEL} has the SHA-256 {found[:12]}, but {INFO} says {str(info['sha256'])[:12]}; "
            "the file is damaged or replaced: make or copy the variant again"
        )
    return Variant(folder, info)
