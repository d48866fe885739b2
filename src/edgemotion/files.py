"""Files and folders that appear whole or not at all, and their digests."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgemotion.errors import EdgemotionError


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; move it into place on success, remove it on any error.

    The caller creates the temporary as a file or as a folder; a folder replaces the old one whole. Raises
    EdgemotionError for a file where a folder is.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    remove(partial)
    try:
        yield partial
        if path.is_dir():
            if not partial.is_dir():
                raise EdgemotionError(f"{path} is a folder; give the name of a file")
            shutil.rmtree(path)
        partial.replace(path)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_json(path: Path | str) -> Any:
    """Parse a JSON file; EdgemotionError names a missing or malformed one."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EdgemotionError(f"{path} is missing; run the stage that makes it with `dvc repro`") from None
    except ValueError as error:
        raise EdgemotionError(f"{path} is not valid JSON: {error}") from None


def write_json(path: Path | str, content: Any) -> None:
    """Write JSON with a stable layout; NaN is refused because other readers reject it."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(path: Path | str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file with a header line and Unix line ends."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path | str) -> list[dict[str, str]]:
    """Read a CSV file as one dict a row."""
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(content: Mapping[str, Any]) -> str:
    """SHA-256 of a mapping's canonical JSON, in hex."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
