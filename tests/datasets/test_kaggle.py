"""Kaggle as a source, with its client pointed to this machine and a cache of its own."""

import socket
from pathlib import Path

import pytest

from edgemotion.datasets.archive import SourceMissing, content_digest, opened, pack
from edgemotion.datasets.kaggle import kaggle


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """kagglehub's cache folder; its service is localhost:7777 (KAGGLE_API_ENVIRONMENT=TEST)."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "no-account"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def refused() -> None:
    """Skip where something answers in place of the service."""
    with socket.socket() as probe:
        if probe.connect_ex(("localhost", 7777)) == 0:
            pytest.skip("something listens on localhost:7777")


@pytest.mark.parametrize(
    ("handle", "reason"),
    [("nonsense", "Invalid dataset handle: nonsense"), ("own/faces/versions/x", "Invalid version number: x")],
)
def test_a_wrong_handle_is_a_missing_source(cache: Path, tmp_path: Path, handle: str, reason: str) -> None:
    with pytest.raises(SourceMissing) as caught:
        kaggle(tmp_path / "out/faces.zip", handle=handle)
    assert str(caught.value) == f"Kaggle's {handle} did not download ({reason})"
    assert not (tmp_path / "out").exists()


def test_an_unreachable_service_is_a_missing_source(cache: Path, tmp_path: Path, refused: None) -> None:
    with pytest.raises(SourceMissing) as caught:
        kaggle(tmp_path / "out/faces.zip", handle="own/faces")
    assert str(caught.value).startswith("Kaggle's own/faces did not download (HTTP")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_downloaded_folder_becomes_one_archive_of_its_contents(cache: Path, tmp_path: Path) -> None:
    # What kagglehub leaves after a download: the unpacked version and a marker beside it.
    folder = cache / "datasets/own/faces/versions/3"
    (folder / "train/happy").mkdir(parents=True)
    (folder / "train/happy/1.png").write_bytes(b"one")
    (cache / "datasets/own/faces/3.complete").touch()
    kaggle(tmp_path / "faces.zip", handle="own/faces/versions/3")
    with opened(tmp_path / "faces.zip") as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {"train/happy/1.png": b"one"}
    pack(folder, tmp_path / "same.zip")
    assert content_digest(tmp_path / "faces.zip") == content_digest(tmp_path / "same.zip")
