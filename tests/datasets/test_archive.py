"""An archive is checked before anyone reads it, and known by its contents."""

import hashlib
import io
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgemotion.datasets import archive
from edgemotion.datasets.archive import SourceMissing, content_digest, opened, pack, write_member
from edgemotion.errors import EdgemotionError

MEMBERS = {"train/happy/1.png": b"one", "test/sad/2.png": b"two", "val/sad/3.png": b"three"}


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


def test_the_digest_is_that_of_sorted_names_and_bytes(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"b": b"two", "a": b"one"})
    lines = f"a\0{hashlib.sha256(b'one').hexdigest()}\nb\0{hashlib.sha256(b'two').hexdigest()}\n"
    assert content_digest(path) == hashlib.sha256(lines.encode()).hexdigest()


def test_the_digest_depends_on_contents_and_names_alone(tmp_path: Path) -> None:
    digest = content_digest(zipped(tmp_path / "a.zip", MEMBERS))
    backwards = dict(reversed(MEMBERS.items()))
    assert content_digest(zipped(tmp_path / "b.zip", {"train/": b"", **backwards}, zipfile.ZIP_DEFLATED)) == digest
    assert content_digest(zipped(tmp_path / "c.zip", MEMBERS | {"test/sad/2.png": b"twO"})) != digest
    renamed = {name.replace("sad/2", "sad/4"): content for name, content in MEMBERS.items()}
    assert content_digest(zipped(tmp_path / "d.zip", renamed)) != digest


def test_packing_a_folder_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    for root, order in (("first", list(MEMBERS)), ("second/deeper", list(reversed(MEMBERS)))):
        for name in order:
            (tmp_path / root / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / root / "in" / name).write_bytes(MEMBERS[name])
        pack(tmp_path / root / "in", tmp_path / root / "out.zip")
    assert (tmp_path / "first/out.zip").read_bytes() == (tmp_path / "second/deeper/out.zip").read_bytes()
    with opened(tmp_path / "first/out.zip") as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == MEMBERS
        assert packed.namelist() == sorted(MEMBERS)


def test_a_member_has_a_fixed_date_and_mode() -> None:
    with zipfile.ZipFile(io.BytesIO(), "w") as target:
        write_member(target, "a.png", b"x")
        member = target.getinfo("a.png")
    assert (member.date_time, member.external_attr >> 16, member.create_system) == ((1980, 1, 1, 0, 0, 0), 0o644, 3)


def test_a_local_archive_is_copied_and_a_missing_one_is_named(tmp_path: Path) -> None:
    source = zipped(tmp_path / "a.zip", MEMBERS)
    archive.archive(tmp_path / "copy.zip", path=str(source))
    assert (tmp_path / "copy.zip").read_bytes() == source.read_bytes()
    with pytest.raises(SourceMissing, match=r"gone\.zip is missing"):
        archive.archive(tmp_path / "other.zip", path=str(tmp_path / "gone.zip"))
    assert not (tmp_path / "other.zip").exists()


def test_names_that_only_look_unsafe_are_read(tmp_path: Path) -> None:
    names = ["a/..hidden.png", "a...b/1.png", "folder/", "x/1..2.png"]
    with opened(zipped(tmp_path / "a.zip", dict.fromkeys(names, b""))) as found:
        assert found.namelist() == names


@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [
        ("MAX_MEMBERS", 2, "has 3 members, more than 2"),
        ("MAX_BYTES", 10, "unpacks to 11 bytes, more than 10"),
        ("MAX_MEMBER_BYTES", 4, "member 'val/sad/3.png' unpacks from 5 to 5 bytes"),
    ],
)
def test_each_limit_holds_and_lets_its_own_value_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, told: str
) -> None:
    path = zipped(tmp_path / "a.zip", MEMBERS)
    monkeypatch.setattr(archive, limit, value + 1)
    content_digest(path)
    monkeypatch.setattr(archive, limit, value)
    with pytest.raises(EdgemotionError, match=told), opened(path):
        pass


def test_plain_images_compress_well_without_being_taken_for_a_bomb(tmp_path: Path) -> None:
    flat = zipped(tmp_path / "a.zip", {"flat.bmp": bytes(900_000)}, zipfile.ZIP_DEFLATED)
    content_digest(flat)
    with pytest.raises(EdgemotionError, match="decompression bomb"):
        content_digest(zipped(tmp_path / "b.zip", {"flat.bmp": bytes(1_100_000)}, zipfile.ZIP_DEFLATED))


def test_errors_call_the_archive_by_its_title(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    with pytest.raises(EdgemotionError, match=r"^.*a\.zip is not a readable ZIP"):
        content_digest(tmp_path / "a.zip")
    with pytest.raises(EdgemotionError, match=r"^faces from kaggle is not a readable ZIP"):
        content_digest(tmp_path / "a.zip", title="faces from kaggle")


@given(
    compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    place=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
)
@example(compression=zipfile.ZIP_LZMA, place=0.89453125, value=0)  # cuts test/sad/2.png to test/, a folder's name
@example(compression=zipfile.ZIP_STORED, place=0.9632196162046909, value=0)  # cuts val/sad/3.png to no name at all
def test_one_damaged_byte_never_changes_a_digest_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, compression: int, place: float, value: int
) -> None:
    contents = {name: bytes(random.Random(name).choices(range(30), k=200)) for name in MEMBERS}
    path = zipped(tmp_path_factory.mktemp("damaged") / "a.zip", contents, compression)
    digest, content = content_digest(path), bytearray(path.read_bytes())
    content[int(place * len(content))] = value
    path.write_bytes(content)
    try:
        found = content_digest(path)
    except EdgemotionError as error:
        assert "\n" not in str(error)
    else:
        # The byte stood in a date or an attribute, or in a name, which the digest covers.
        with opened(path) as damaged:
            same = {name: damaged.read(name) for name in damaged.namelist()} == contents
        assert (found == digest) == same
