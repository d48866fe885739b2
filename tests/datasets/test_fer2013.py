"""Both layouts of FER2013 give the same splits, and a wrong row is named."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgemotion import registry
from edgemotion.datasets.archive import opened
from edgemotion.datasets.cleaning import Finding, collect
from edgemotion.datasets.fer2013 import parse_pixels
from edgemotion.datasets.images import Record
from edgemotion.datasets.splits import Split
from edgemotion.errors import EdgemotionError

CLASSES = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
# The challenge's own numbering (Goodfellow et al. 2013).
EMOTIONS = {"angry": 0, "disgust": 1, "fear": 2, "happy": 3, "sad": 4, "surprise": 5, "neutral": 6}
FOLDERS = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}
# As the folder layout sorts: test before train, private before public.
FACES = [(usage, name) for usage in ("PrivateTest", "PublicTest", "Training") for name in CLASSES]
IMAGES = np.random.default_rng(0).integers(0, 256, (len(FACES), 48, 48), dtype=np.uint8)
PLAIN = " ".join(["7"] * 2304)


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


def write_folders(path: Path) -> Path:
    """Kaggle's layout, where the file name tells PublicTest from PrivateTest."""
    names = [
        f"{FOLDERS[usage]}/{emotion}/{usage}_{number}.png" for number, (usage, emotion) in enumerate(FACES, start=10)
    ]
    contents = [cv2.imencode(".png", image)[1].tobytes() for image in IMAGES]
    return write_zip(path, dict(zip(names, contents, strict=True)) | {"notes.txt": b"not an image"})


def write_table(path: Path, name: str, header: str, rows: list[str]) -> Path:
    return write_zip(path, {name: ("\n".join([header, *rows]) + "\n").encode()})


def table_rows(order: str) -> list[str]:
    """The same faces as rows, sorted as the folder layout sorts within each split."""
    rows = []
    for (usage, emotion), image in zip(FACES, IMAGES, strict=True):
        pixels = " ".join(map(str, image.ravel().tolist()))
        cells = {"emotion": str(EMOTIONS[emotion]), "Usage": usage, "pixels": pixels}
        rows.append(",".join(cells[column] for column in order.split()))
    return rows


def records(path: Path, channels: int = 1, **args: float) -> list[Record]:
    with opened(path) as zipped:
        return list(registry.call("layout", "fer2013", zipped, channels=channels, args=args))


def splits_of(
    path: Path, channels: int = 1, classes: Sequence[str] = CLASSES
) -> tuple[dict[str, Split], list[Finding]]:
    return collect(records(path, channels), classes, 48, 48, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "header", "order"),
    [
        ("fer2013/fer2013.csv", "emotion,pixels,Usage", "emotion pixels Usage"),
        ("icml_face_data.csv", "emotion, Usage, pixels", "emotion Usage pixels"),
        # Saved again by a spreadsheet: a byte-order mark and quotes.
        ("fer2013.csv", '\ufeff"emotion","pixels","Usage"', "emotion pixels Usage"),
    ],
)
def test_folders_and_tables_give_identical_splits(
    tmp_path: Path, name: str, header: str, order: str, channels: int
) -> None:
    folders, _ = splits_of(write_folders(tmp_path / "folders.zip"), channels)
    table, unreadable = splits_of(write_table(tmp_path / "table.zip", name, header, table_rows(order)), channels)
    assert unreadable == []
    for split in ("train", "val", "test"):
        assert (folders[split].images == table[split].images).all()
        assert folders[split].labels.tolist() == table[split].labels.tolist() == list(range(7))
        assert len(set(table[split].ids)) == 7
    assert len(folders["streams"]) == len(table["streams"]) == 0
    # The usages mean train, val and test, in this order of the image numbers.
    order_of_images = np.concatenate([folders[split].images[..., 0] for split in ("test", "val", "train")])
    assert (order_of_images == IMAGES).all()


def test_part_of_val_joins_train_by_its_pixels_and_is_told(tmp_path: Path) -> None:
    # Each of them twice.
    images = np.tile(np.random.default_rng(1).integers(0, 256, (100, 48, 48), dtype=np.uint8), (2, 1, 1))
    rows = [f"3,{' '.join(map(str, image.ravel().tolist()))},PublicTest" for image in images]
    rows += [f"3,{PLAIN},Training", f"3,{PLAIN},PrivateTest"]
    table = write_table(tmp_path / "table.zip", "fer2013.csv", "emotion,pixels,Usage", rows)
    encoded = {f"test/happy/PublicTest_{n:03}.png": cv2.imencode(".png", image)[1] for n, image in enumerate(images)}
    folders = write_zip(tmp_path / "folders.zip", {name: content.tobytes() for name, content in encoded.items()})

    given = records(table, val_kept=0.4)
    splits = [record.split for record in given]
    assert splits[:200] == [record.split for record in records(folders, val_kept=0.4)]
    assert splits[200:] == ["train", "test"]
    joined = [record for record in given[:200] if record.split == "train"]
    assert 90 <= len(joined) <= 150
    assert not {r.image.tobytes() for r in joined if r.image is not None} & {
        r.image.tobytes() for r in given if r.split == "val" and r.image is not None
    }
    _, told = collect(given, CLASSES[3:4], 48, 48, 1)
    assert told == [Finding("val image joined train", "train", record.id, "happy", "") for record in joined]
    # A smaller share keeps a part of what a larger one keeps.
    fewer = {record.id for record in records(table, val_kept=0.1) if record.split == "val"}
    assert fewer < {record.id for record in given if record.split == "val"}


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_of_val_that_is_none_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(EdgemotionError, match=rf"val_kept={share} must be above 0 and at most 1"):
        records(write_folders(tmp_path / "a.zip"), val_kept=share)


def test_a_file_outside_the_folder_layout_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"train/happy/img_1.png": b""})
    with pytest.raises(EdgemotionError, match=r"a\.zip: train/happy/img_1\.png does not begin with Training"):
        records(path)


def test_an_unreadable_image_becomes_a_record_without_pixels(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"train/happy/Training_1.jpg": b"\xff\xd8cut", "x/sad/PublicTest_1.jpg": b""})
    assert [(record.split, record.label, record.image) for record in records(path)] == [
        ("train", "happy", None),
        ("val", "sad", None),
    ]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (f"3,{PLAIN},Holdout", "row fer2013.csv:1 has the Usage 'Holdout', not one of Training"),
        (f"3,{PLAIN}", "row fer2013.csv:1 has the Usage ''"),
        (f"7,{PLAIN},Training", "row fer2013.csv:1 has the emotion '7', not 0 to 6"),
        (f"happy,{PLAIN},Training", "row fer2013.csv:1 has the emotion 'happy', not 0 to 6"),
        (f',"{PLAIN},Training', "row fer2013.csv:1 has the Usage ''"),
    ],
)
def test_a_row_that_cannot_be_placed_is_named(tmp_path: Path, row: str, told: str) -> None:
    path = write_table(tmp_path / "a.zip", "fer2013.csv", "emotion,pixels,Usage", [f"3,{PLAIN},Training", row])
    with pytest.raises(EdgemotionError) as caught:
        records(path)
    assert f"a.zip: {told}" in str(caught.value)


@pytest.mark.parametrize("pixels", ["", "1 2 3", PLAIN + " 7", PLAIN.replace("7", "256", 1), "\xff" + PLAIN])
def test_a_row_without_an_image_is_told_and_left_out(tmp_path: Path, pixels: str) -> None:
    rows = [f"0,{PLAIN},{usage}" for usage in FOLDERS] + [f"5,{pixels},Training"]
    text = "\n".join(["emotion,pixels,Usage", *rows])
    path = write_zip(tmp_path / "a.zip", {"fer2013.csv": text.encode("latin-1")})
    splits, unreadable = splits_of(path, classes=[])
    assert unreadable == [Finding("unreadable", "train", "fer2013.csv:3", "surprise", "")]
    assert len(splits["train"]) == 1


@pytest.mark.parametrize(
    ("header", "missing"), [("emotion,pixels", "Usage"), ("", "Usage"), ("Usage,pixels", "emotion")]
)
def test_a_table_without_its_columns_is_named(tmp_path: Path, header: str, missing: str) -> None:
    path = write_table(tmp_path / "a.zip", "fer2013.csv", header, [])
    with pytest.raises(EdgemotionError, match=rf"a\.zip: fer2013\.csv has no column '{missing}'"):
        records(path)


@given(hnp.arrays(np.uint8, (48, 48)), st.sampled_from([" ", "  ", " \t"]), st.sampled_from([1, 3]))
def test_pixels_come_back_as_they_were_written(image: np.ndarray, gap: str, channels: int) -> None:
    parsed = parse_pixels(gap.join(map(str, image.ravel().tolist())), channels)
    assert parsed is not None
    assert parsed.dtype == np.uint8
    assert parsed.shape == (48, 48, channels)
    assert (parsed == image[:, :, None]).all()


@given(
    place=st.integers(0, 2303),
    cell=st.one_of(
        st.integers(max_value=-1).map(str),
        st.integers(min_value=256).map(str),
        st.floats().map(repr),
        st.text("abcx,;.-/", min_size=1, max_size=3),
        st.just(""),
        st.just("1 2"),
    ),
)
def test_one_wrong_value_makes_no_image(place: int, cell: str) -> None:
    cells = ["7"] * 2304
    cells[place] = cell
    assert parse_pixels(" ".join(cells), 1) is None


@given(st.text())
def test_any_other_text_is_no_image(text: str) -> None:
    assert parse_pixels(text, 1) is None
