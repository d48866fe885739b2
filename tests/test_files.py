"""Files and folders appear whole or not at all."""

import hashlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemotion.errors import EdgemotionError
from edgemotion.files import (
    read_csv,
    read_json,
    remove,
    replacing,
    sha256_file,
    sha256_json,
    write_csv,
    write_json,
    write_text,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_in_a_folder_that_is_made_for_it(tmp_path: Path) -> None:
    write_text(tmp_path / "deep/er/note.txt", "größe\n")
    assert (tmp_path / "deep/er/note.txt").read_bytes() == "größe\n".encode()
    assert names(tmp_path / "deep/er") == ["note.txt"]


def test_a_failure_in_the_middle_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        partial.write_bytes(b"half of the n")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["model.bin"]


def test_a_file_never_replaces_a_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "reports/thesis.txt", "years of work")
    with pytest.raises(EdgemotionError, match="reports is a folder; give the name of a file"):
        write_text(tmp_path / "reports", "new")
    assert names(tmp_path) == ["reports"] and names(tmp_path / "reports") == ["thesis.txt"]


def test_a_failure_in_the_middle_keeps_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "split"
    path.mkdir()
    (path / "images").write_text("old")
    with pytest.raises(OSError, match="disk full"), replacing(path) as partial:
        partial.mkdir()
        (partial / "images").write_text("half")
        raise OSError("disk full")
    assert (path / "images").read_text() == "old"
    assert names(tmp_path) == ["split"]


def test_a_failure_without_an_old_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError), replacing(tmp_path / "new") as partial:
        partial.write_text("half")
        raise ValueError
    assert names(tmp_path) == []


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "split"
    for content in ("first", "second"):
        with replacing(path) as partial:
            partial.mkdir()
            (partial / content).write_text(content)
    assert names(path) == ["second"]


def test_remains_of_a_killed_run_do_not_reach_the_next(tmp_path: Path) -> None:
    (tmp_path / ".split.part").mkdir()
    (tmp_path / ".split.part/stale").write_text("from a killed run")
    with replacing(tmp_path / "split") as partial:
        partial.mkdir()
        (partial / "fresh").write_text("")
    assert names(tmp_path / "split") == ["fresh"]
    assert names(tmp_path) == ["split"]


def test_removing_takes_files_folders_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    for name in ("folder", "file", "absent"):
        remove(tmp_path / name)
    assert names(tmp_path) == []


@given(JSON)
def test_json_comes_back_as_it_was(content: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "x.json", content)
        assert read_json(Path(folder) / "x.json") == content
        assert json.loads((Path(folder) / "x.json").read_bytes()) == content


def test_json_without_a_number_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"top1": 0.5})
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"top1": float("nan")})
    assert read_json(tmp_path / "x.json") == {"top1": 0.5}
    assert names(tmp_path) == ["x.json"]


def test_reading_json_names_a_missing_and_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"gone\.json is missing"):
        read_json(tmp_path / "gone.json")
    for content in (b'{"cut": ', b"\xff\xfe"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(EdgemotionError, match=r"bad\.json is not valid JSON"):
            read_json(tmp_path / "bad.json")


def test_csv_comes_back_with_unix_line_ends(tmp_path: Path) -> None:
    rows = [["a,b.png", 'say "x"', ""], ["ünï.png", "two\nlines", "3"]]
    write_csv(tmp_path / "x.csv", ("id", "label", "leaked"), rows)
    assert [list(row.values()) for row in read_csv(tmp_path / "x.csv")] == rows
    assert b"\r" not in (tmp_path / "x.csv").read_bytes()


def test_digests_are_those_of_sha256(tmp_path: Path) -> None:
    # FIPS 180-2, appendix B.1: the digest of "abc".
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_json({"b": 1, "a": [2]}) == hashlib.sha256(b'{"a": [2], "b": 1}').hexdigest()
    assert sha256_json({"a": [2], "b": 1}) == sha256_json({"b": 1, "a": [2]})
