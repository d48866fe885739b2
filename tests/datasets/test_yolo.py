"""The YOLO layout: boxes and classes come back, every layout error is told, hostile files make one line."""

import math
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemotion import registry
from edgemotion.datasets.archive import opened
from edgemotion.datasets.cleaning import collect
from edgemotion.datasets.images import WHOLE, Record
from edgemotion.datasets.yolo import parse_label
from edgemotion.errors import EdgemotionError

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 10, 3), dtype=np.uint8)
JPG, PNG = (cv2.imencode(suffix, IMAGE)[1].tobytes() for suffix in (".jpg", ".png"))
YAML = b"train: ./train/images\nval: ./valid/images\nnc: 3\nnames: ['Anger', 'Happy', 'No']\n"
SOUND = b"1 0.5 0.5 0.5 0.5"


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


def records(path: Path, members: dict[str, bytes], channels: int = 3) -> list[Record]:
    with opened(write_zip(path / "a.zip", members)) as zipped:
        return list(registry.call("layout", "yolo", zipped, channels=channels, args={}))


def face(label: bytes, image: bytes = PNG, name: str = "train/images/1.png") -> dict[str, bytes]:
    return {"data.yaml": YAML, name: image, name.replace("images", "labels").replace(".png", ".txt"): label}


@pytest.mark.parametrize("root", ["", "YOLO_format/", "a/images/b/"])
def test_images_of_each_split_come_with_their_class_and_box(tmp_path: Path, root: str) -> None:
    members = {
        f"{root}data.yaml": YAML,
        f"{root}valid/images/a.b.jpg": JPG,
        f"{root}valid/labels/a.b.txt": b"2 0.5 0.25 1 0.5",
        f"{root}test/images/deeper/1.PNG": PNG,
        f"{root}test/labels/deeper/1.txt": b"\xef\xbb\xbf0 0.6 0.5 0.4 1.0\r\n\r\n",
        # The other order of folders that the trainers of such networks read too.
        f"{root}images/train/1.png": PNG,
        f"{root}labels/train/1.txt": SOUND,
        f"__MACOSX/{root}images/train/._1.png": b"fork",
        f"{root}README.txt": b"Anger, Happy, No",
    }
    found = sorted(records(tmp_path, members), key=lambda record: record.split)
    assert [(record.split, record.label, record.problem) for record in found] == [
        ("test", "Anger", ""),
        ("train", "Happy", ""),
        ("val", "No", ""),
    ]
    assert np.allclose([record.box for record in found], [(0.4, 0, 0.8, 1), (0.25, 0.25, 0.75, 0.75), (0, 0, 1, 0.5)])
    assert all(record.image is not None and record.image.shape == (20, 10, 3) for record in found)
    assert found[1].image is not None
    assert (found[1].image == IMAGE[..., ::-1]).all()


def test_names_may_be_a_mapping_of_numbers(tmp_path: Path) -> None:
    members = face(SOUND) | {"data.yaml": b"names:\n  1: Happy\n  0: Anger\n"}
    (record,) = records(tmp_path, members)
    assert record.label == "Happy"


@pytest.mark.parametrize(
    ("label", "box", "problem"),
    [
        # As the real AffectNet-YOLO has it: half a thousandth outside.
        (b"0 0.499 0.499 0.999 0.999", (0, 0, 0.9985, 0.9985), ""),
        (b"0 0.5 0.5 1.0199 1.0199", WHOLE, ""),
        (b"0 0.5 0.5 1.021 1", WHOLE, "box outside of the image"),
        (b"0 0.9 0.5 0.4 0.5", (0.7, 0.25, 1, 0.75), "box outside of the image"),
        (b"0 48 48 96 96", WHOLE, "box outside of the image"),
        (b"0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.6 0.6\n1 0.5 0.5 0.3 0.3", (0.2, 0.2, 0.8, 0.8), "several boxes"),
        (b"1 0.5 0.5 0.8 0.2\n0 0.5 0.5 0.4 0.8", (0.3, 0.1, 0.7, 0.9), "several boxes"),
        (b"9 0.5 0.5 1 1\n0 0.5 0.5 0.6 0.6", (0.2, 0.2, 0.8, 0.8), "class out of range"),
        (b"0 0.5 0.5 0.6 0.6\n0 0.5 0.5", (0.2, 0.2, 0.8, 0.8), "not five numbers"),
        (b"0.0 5e-1 .5 +0.6 0.6", (0.2, 0.2, 0.8, 0.8), ""),
    ],
)
def test_an_image_with_a_usable_box_is_kept(tmp_path: Path, label: bytes, box: tuple[float, ...], problem: str) -> None:
    (record,) = records(tmp_path, face(label))
    assert (record.label, record.problem) == ("Anger", problem)
    assert record.box == pytest.approx(box)
    assert record.image is not None


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (b"", "empty label"),
        (b"\n \r\n", "empty label"),
        (b"3 0.5 0.5 1 1", "class out of range"),
        (b"-1 0.5 0.5 1 1", "class out of range"),
        (b"0.5 0.5 0.5 1 1", "class out of range"),
        (b"0 0.5 0.5 1", "not five numbers"),
        (b"0 0.1 0.1 0.9 0.1 0.9 0.9", "not five numbers"),
        (b"Anger 0.5 0.5 1 1", "not five numbers"),
        (b"0 nan 0.5 1 1", "not five numbers"),
        (b"0 0.5 0.5 inf 1", "not five numbers"),
        (b"0 0.5 0.5 0 1", "box without area"),
        (b"0 0.5 0.5 -1 -1", "box without area"),
        (b"0 48 48 20 20", "box without area"),
        (b"0 1.5 0.5 0.5 0.5", "box without area"),
        (PNG, "not five numbers"),
    ],
)
def test_an_image_without_a_usable_box_is_left_out(tmp_path: Path, label: bytes, problem: str) -> None:
    (record,) = records(tmp_path, face(label))
    assert (record.id, record.split, record.label) == ("train/images/1.png", "train", "")
    assert (record.image, record.problem) == (None, problem)


def test_files_without_their_other_half_and_outside_of_the_splits_are_told(tmp_path: Path) -> None:
    members = face(SOUND) | {
        "test/images/2.png": PNG,
        "valid/labels/3.txt": SOUND,
        "preview.png": PNG,
        "images/holdout/4.png": PNG,
    }
    told = [(record.id, record.split, record.problem) for record in records(tmp_path, members) if record.problem]
    assert told == [
        ("images/holdout/4.png", "", "image outside of the splits"),
        ("preview.png", "", "image outside of the splits"),
        ("test/images/2.png", "test", "image without label"),
        ("valid/labels/3.txt", "val", "label without image"),
    ]


def test_an_unreadable_image_is_told_as_such_whatever_its_label_says(tmp_path: Path) -> None:
    members = face(SOUND, image=PNG[:60]) | face(SOUND + b"\n" + SOUND, image=b"", name="val/images/1.png")
    assert [(record.image, record.problem) for record in records(tmp_path, members)] == [(None, "")] * 2


def test_every_problem_is_found_among_the_findings(tmp_path: Path) -> None:
    members = {"data.yaml": YAML}
    for split in ("train", "val", "test"):
        for number in range(3):
            members |= face(b"%d 0.5 0.5 1 1" % number, name=f"{split}/images/{number}.png")
    members |= face(b"8 0.5 0.5 1 1", name="train/images/4.png") | face(b"0 .9 .5 .9 1", name="train/images/5.png")
    with opened(write_zip(tmp_path / "a.zip", members)) as zipped:
        layout = registry.call("layout", "yolo", zipped, channels=3, args={})
        splits, told = collect(layout, ["No", "Happy", "Anger"], 8, 8, 3)
    assert [(finding.kind, finding.id, finding.label) for finding in told] == [
        ("class out of range", "train/images/4.png", ""),
        ("box outside of the image", "train/images/5.png", "Anger"),
    ]
    # Labels follow the names, not the numbers of data.yaml.
    assert splits["train"].labels.tolist() == [2, 1, 0, 2]
    assert splits["train"].boxes[-1].tolist() == pytest.approx([0.45, 0, 1, 1])


BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(12)
)
MERGES = b"a: &a {x: y}\n" + b"".join(
    b"%c: &%c {<<: [%s]}\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(12)
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no `names`"),
        (b"[Anger, Happy]", "has no `names`"),
        (b"just words", "has no `names`"),
        (b"names: Anger", "has no `names`"),
        (b"names: []", "has no `names`"),
        (b"names: [Anger, Anger]", "has no `names`"),
        (b"names: [Anger, '']", "has no `names`"),
        (b"names: [Anger, [Happy]]", "has no `names`"),
        (b"names: {0: Anger, 2: Happy}", "has no `names`"),
        (b"names: [Anger]\nnc: 2", "has 1 names and another number in `nc`"),
        (b"names: [Anger]\nnc: [1]", "has 1 names and another number in `nc`"),
        (b"names: [Anger", "is not valid YAML"),
        (b"names: \xff\xfe", "is not valid YAML"),
        (bytes(range(256)), "is not valid YAML"),
        (b"[" * 5000, "is not valid YAML"),
        (b"names: &a [*a]", "is not valid YAML"),
        (b"names: [" + b"x, " * 100_000 + b"]", "is larger than 200000 bytes"),
        (BOMB + b"names: *m\nnc: 1", "has no `names`"),
        (BOMB + b"names: [Anger]\nnc: *m", "another number in `nc`"),
        (MERGES + b"names: *m", "has no `names`"),
        (b"!!python/object/new:os.system ['echo > owned']", "has no `names`"),
    ],
)
def test_a_hostile_or_wrong_data_yaml_is_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(EdgemotionError) as caught:
        records(tmp_path, face(SOUND) | {"data.yaml": content})
    assert told in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_tag_is_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = b"names: !!python/object/apply:os.system ['echo > owned']"
    (record,) = records(tmp_path, face(b"0 0.5 0.5 1 1") | {"data.yaml": content})
    assert record.label == "echo > owned"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_an_archive_has_one_list_of_classes(tmp_path: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"a\.zip has 0 files data\.yaml; the layout yolo needs one"):
        records(tmp_path, {"train/images/1.png": PNG})
    with pytest.raises(EdgemotionError, match=r"a\.zip has 2 files data\.yaml"):
        records(tmp_path, {"data.yaml": YAML, "b/data.yml": YAML})


SHARES = st.floats(0.05, 0.95)


@given(
    st.integers(0, 7), SHARES, SHARES, SHARES, SHARES, st.sampled_from([" ", "\t", "  "]), st.sampled_from(["", "\n"])
)
def test_a_line_comes_back_as_it_was_written(
    label: int, x: float, y: float, width: float, height: float, gap: str, end: str
) -> None:
    box = (max(x - width / 2, 0), max(y - height / 2, 0), min(x + width / 2, 1), min(y + height / 2, 1))
    found = parse_label((gap.join(map(repr, (label, x, y, width, height))) + end).encode(), classes=8)
    assert found.label == label
    assert found.box == pytest.approx(box)
    inside = all(-0.01 <= side <= 1.01 for side in (x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    assert found.problem == ("" if inside else "box outside of the image")


WORDS = st.one_of(st.floats().map(repr), st.integers(-3, 12).map(str), st.text("0123456789.-+e_ nN", max_size=6))


@given(st.one_of(st.binary(), st.lists(st.lists(WORDS, max_size=7).map(" ".join)).map("\n".join).map(str.encode)))
def test_any_bytes_give_a_usable_face_or_a_problem(content: bytes) -> None:
    found = parse_label(content, classes=8)
    left, top, right, bottom = found.box
    assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    assert all(map(math.isfinite, found.box))
    if found.label is None:
        assert found.problem
    else:
        assert isinstance(found.label, int) and 0 <= found.label < 8
