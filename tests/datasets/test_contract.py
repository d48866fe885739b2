"""What every layout and every configuration of a dataset keeps to, whoever adds it."""

import importlib
import runpy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from edgemotion import registry
from edgemotion.datasets.archive import content_digest, opened
from edgemotion.datasets.cleaning import Finding, clean, collect
from edgemotion.datasets.splits import FILES, Split, read_split, write_split
from edgemotion.errors import EdgemotionError
from edgemotion.settings import Data, load

samples = runpy.run_path(str(Path(__file__).with_name("sample_archives.py")))
SAMPLES, CLASSES, SIZE, Face, faces = (samples[name] for name in ("SAMPLES", "CLASSES", "SIZE", "Face", "faces"))
ROOT = Path(__file__).parents[2]
DATASETS = sorted(path.stem for path in (ROOT / "configs/data").glob("*.yaml"))
LAYOUTS = registry.names("layout")


def gather(path: Path, layout: str, channels: int = 1, classes: list[str] = CLASSES, **args: Any) -> Any:
    with opened(path) as zipped:
        return collect(
            registry.call("layout", layout, zipped, channels=channels, args=args), classes, SIZE, SIZE, channels
        )


def prepared(folder: Path, archive: Path, layout: str, channels: int) -> dict[str, Split]:
    """Everything that the prepare stage does with an archive."""
    splits, _, _ = clean(gather(archive, layout, channels)[0], drop_leaks=True)
    for name, split in splits.items():
        write_split(folder / name, split)
    return splits


def test_every_layout_has_a_sample() -> None:
    assert sorted(SAMPLES) == LAYOUTS, "write the layout's sample in tests/datasets/sample_archives.py"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_the_function_of_its_file(layout: str) -> None:
    assert callable(getattr(importlib.import_module(f"edgemotion.datasets.{layout}"), layout))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_what_is_read(tmp_path: Path, layout: str, channels: int) -> None:
    given = faces()
    splits = prepared(tmp_path / "out", SAMPLES[layout](tmp_path / "a.zip", given), layout, channels)
    for name in ("train", "val", "test"):
        wanted = [face for face in given if face.split == name]
        whole = read_split(tmp_path / "out" / name, whole=True, classes=CLASSES)
        pixels = [cv2.imdecode(np.frombuffer(face.content, np.uint8), cv2.IMREAD_GRAYSCALE) for face in wanted]
        assert (whole.images == np.array(pixels)[..., None]).all()
        assert whole.images.shape == (len(wanted), SIZE, SIZE, channels)
        assert [CLASSES[label] for label in whole.labels] == [face.label for face in wanted]
        assert len(set(whole.ids)) == len(wanted)
        assert (whole.boxes == splits[name].boxes).all()
        assert ((whole.boxes >= 0) & (whole.boxes <= 1)).all() and (whole.boxes[:, 2:] > whole.boxes[:, :2]).all()
        boxed = not (whole.boxes == [0, 0, 1, 1]).all()
        assert (read_split(tmp_path / "out" / name).images != whole.images).any() == boxed
    assert len(read_split(tmp_path / "out/streams")) == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_archive_gives_the_same_bytes(tmp_path: Path, layout: str) -> None:
    archive = SAMPLES[layout](tmp_path / "a.zip", faces())
    for folder in ("one", "two"):
        prepared(tmp_path / folder, archive, layout, channels=3)
    for name in ("train", "val", "test", "streams"):
        for file in FILES:
            assert (tmp_path / "one" / name / file).read_bytes() == (tmp_path / "two" / name / file).read_bytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("content", [b"", b"cut", bytes(300)])
def test_a_corrupt_image_is_told_and_left_out(tmp_path: Path, layout: str, content: bytes) -> None:
    given = [*faces(), Face("train", "happy", content)]
    splits, told = gather(SAMPLES[layout](tmp_path / "a.zip", given), layout)
    assert [(finding.kind, finding.split, finding.label) for finding in told] == [("unreadable", "train", "happy")]
    assert [len(splits[name]) for name in ("train", "val", "test")] == [6, 6, 6]
    assert isinstance(told[0], Finding) and told[0].id not in splits["train"].ids


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_class_that_the_settings_do_not_have_is_one_error(tmp_path: Path, layout: str) -> None:
    archive = SAMPLES[layout](tmp_path / "a.zip", [*faces(), Face("val", "bored", faces()[0].content)])
    with pytest.raises(EdgemotionError, match=r"has the class 'bored', data\.classes has angry, happy, sad$"):
        gather(archive, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_classes_of_the_archive_are_found_and_sorted(tmp_path: Path, layout: str) -> None:
    given = [face._replace(label=face.label.title()) for face in reversed(faces())]
    splits, _ = gather(SAMPLES[layout](tmp_path / "a.zip", given), layout, classes=[])
    assert all(split.classes == ["Angry", "Happy", "Sad"] for split in splits.values())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_split_is_one_error(tmp_path: Path, layout: str, split: str) -> None:
    archive = SAMPLES[layout](tmp_path / "a.zip", [face for face in faces() if face.split != split])
    with pytest.raises(EdgemotionError, match=f"the archive has no readable image of the split '{split}'"):
        gather(archive, layout)


def arguments(kind: str, name: str, args: dict[str, Any]) -> dict[str, Any]:
    """The checked arguments of a registered function, without calling it."""
    return registry.check(kind, name, args, {"channels"})


def dataset(name: str) -> Data:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return load(compose("config", [f"data={name}"])).data


@pytest.mark.parametrize("name", DATASETS)
def test_every_configuration_fits_the_code(name: str) -> None:
    data = dataset(name)
    assert data.name == name
    arguments("layout", data.layout, data.args)
    assert data.sources
    for source, args in data.sources.items():
        arguments("source", source, args)
    assert len(set(data.classes)) == len(data.classes)
    assert data.digest is None or len(bytes.fromhex(data.digest)) == 32


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in DATASETS if "synthetic" in dataset(name).sources])
def test_a_source_that_needs_nothing_gives_what_its_layout_reads(tmp_path: Path, name: str) -> None:
    data = dataset(name)
    small = {**data.sources["synthetic"], "images": 140, "streams": 1, "frames": 5}
    digests = []
    for number in ("one", "two"):
        registry.call("source", "synthetic", tmp_path / f"{number}.zip", args=small)
        digests.append(content_digest(tmp_path / f"{number}.zip"))
    assert digests[0] == digests[1]
    with opened(tmp_path / "one.zip") as zipped:
        records = registry.call("layout", data.layout, zipped, channels=data.channels, args=data.args)
        splits, told = collect(records, data.classes, data.height, data.width, data.channels)
    assert told == []
    assert [len(splits[split]) for split in ("train", "val", "test", "streams")] == [98, 21, 21, 5]


@pytest.mark.slow
def test_a_local_folder_and_a_local_archive_are_one_dataset(tmp_path: Path) -> None:
    archive = SAMPLES["image_folder"](tmp_path / "a.zip", faces())
    with opened(archive) as zipped:
        zipped.extractall(tmp_path / "images")
    registry.call("source", "folder", tmp_path / "packed.zip", args={"path": str(tmp_path / "images")})
    registry.call("source", "archive", tmp_path / "copied.zip", args={"path": str(archive)})
    assert content_digest(tmp_path / "packed.zip") == content_digest(tmp_path / "copied.zip")
