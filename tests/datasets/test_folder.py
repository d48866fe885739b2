"""A local folder as a source."""

from pathlib import Path

import pytest

from edgemotion.datasets.archive import SourceMissing, opened
from edgemotion.datasets.folder import folder
from edgemotion.errors import EdgemotionError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images/happy").mkdir(parents=True)
    (tmp_path / "images/happy/ü 1.png").write_bytes(b"one")
    (tmp_path / "images/data.yaml").write_bytes(b"two")
    return tmp_path / "images"


def test_a_folder_becomes_the_same_archive_each_time(tmp_path: Path, images: Path) -> None:
    folder(tmp_path / "a.zip", path=str(images))
    (images / "happy/ü 1.png").touch()
    (images / "empty").mkdir()
    folder(tmp_path / "b.zip", path=str(images))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with opened(tmp_path / "a.zip") as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {"data.yaml": b"two", "happy/ü 1.png": b"one"}


def test_a_folder_that_is_not_there_or_empty_is_a_missing_source(tmp_path: Path, images: Path) -> None:
    with pytest.raises(SourceMissing, match=r"gone is missing \(put the folder of images there\)"):
        folder(tmp_path / "a.zip", path=str(tmp_path / "gone"))
    with pytest.raises(SourceMissing, match=r"data\.yaml is missing"):
        folder(tmp_path / "a.zip", path=str(images / "data.yaml"))
    (tmp_path / "empty/train").mkdir(parents=True)
    with pytest.raises(SourceMissing, match="empty holds no file"):
        folder(tmp_path / "a.zip", path=str(tmp_path / "empty"))
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("place", ["happy/2.png", "sad"])
def test_a_link_inside_is_refused_wherever_it_points(tmp_path: Path, images: Path, place: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_bytes(b"private")
    (images / place).symlink_to(tmp_path / ("secret" if place == "sad" else "secret/key"))
    with pytest.raises(EdgemotionError, match=rf"{place} is a link; put the file itself there"):
        folder(tmp_path / "a.zip", path=str(images))
    assert not (tmp_path / "a.zip").exists()


def test_a_link_to_the_folder_itself_is_followed(tmp_path: Path, images: Path) -> None:
    (tmp_path / "linked").symlink_to(images)
    folder(tmp_path / "a.zip", path=str(tmp_path / "linked"))
    folder(tmp_path / "b.zip", path=str(images))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_name_that_no_archive_can_hold_is_one_line(tmp_path: Path, images: Path) -> None:
    try:
        Path(str(images) + "/\udcff.png").write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(EdgemotionError, match="images could not be packed"):
        folder(tmp_path / "a.zip", path=str(images))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]
