"""download and prepare on real files: what they leave behind, and the one line for what they refuse."""

import hashlib
import inspect
import os
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from edgemotion.datasets.archive import content_digest
from edgemotion.datasets.splits import read_split
from edgemotion.errors import EdgemotionError
from edgemotion.files import read_csv, read_json
from edgemotion.settings import load
from edgemotion.stages import download, prepare

archives = runpy.run_path(str(Path(__file__).with_name("hostile_archives.py")))
HOSTILE = archives["HOSTILE"]
ROOT = Path(__file__).parents[2]
REAL = ROOT / "data/external/fer2013.zip"
NOISE = [np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8) for number in range(8)]
FACES = {
    **{f"train/angry/{number}.png": NOISE[number] for number in (0, 1, 2)},
    "train/happy/0.png": NOISE[3],
    "train/happy/1.png": np.full((8, 8), 90, np.uint8),
    "val/angry/0.png": NOISE[0],
    "val/happy/0.png": NOISE[4],
    "val/happy/1.png": NOISE[5],
    "test/angry/0.png": NOISE[6],
    "test/happy/0.png": NOISE[2],
    "test/happy/1.png": NOISE[5],
    "streams/000/0000_happy.png": NOISE[7],
}


def write_faces(path: Path) -> Path:
    """Five train, three val and three test images with known duplicates across them, one frame, one broken image."""
    images = {name: cv2.imencode(".png", image)[1].tobytes() for name, image in FACES.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    archives["zipped"](images | {"train/happy/2.png": b"cut"})(path)
    return path


def parameters(**data: Any) -> Any:
    """The composed settings with a dataset of two classes and 8x8 pixels, from ./faces.zip."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("config", ["data.name=faces", "data.classes=[angry,happy]", "data.height=8", "data.width=8"])
    OmegaConf.set_struct(config, False)
    config.data.sources = {"archive": {"path": "faces.zip"}}
    config.data.update(data)
    return config


def process(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the download stage as DVC does, in `folder`."""
    command = [sys.executable, "-m", "edgemotion.stages.download"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the download stage in this process, which takes a tenth of the time; its error line.

    A SystemExit with a text is what makes Python print that text alone on stderr and exit with 1.
    """

    def run(**data: Any) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["download"])
        OmegaConf.save(parameters(**data), "params.yaml", resolve=True)
        with pytest.raises(SystemExit) as caught:
            runpy.run_module("edgemotion.stages.download", run_name="__main__")
        assert capsys.readouterr() == ("", "")
        assert isinstance(caught.value.code, str)
        return one_line(caught.value.code)

    return run


def one_line(text: str) -> str:
    """The one error line of a stage that refused its input."""
    (line,) = text.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def left(folder: Path) -> list[str]:
    """Everything in data/raw."""
    return sorted(path.name for path in (folder / "data/raw").iterdir()) if (folder / "data/raw").is_dir() else []


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_or_broken_archive_leaves_one_line_and_nothing_else(
    tmp_path: Path, refused: Callable[..., str], case: str
) -> None:
    write, told = HOSTILE[case]
    write(tmp_path / "faces.zip")
    line = refused()
    assert told in line and ".part" not in line
    assert left(tmp_path) == []
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["faces.zip", "params.yaml"]


def test_an_archive_is_fetched_verified_and_kept(tmp_path: Path) -> None:
    digest = content_digest(write_faces(tmp_path / "faces.zip"))
    OmegaConf.save(parameters(digest=digest), tmp_path / "params.yaml", resolve=True)
    first = process(tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"data/raw/faces.zip: from archive, content digest {digest}\n"
    assert left(tmp_path) == ["faces.zip"]
    (tmp_path / "faces.zip").unlink()
    second = process(tmp_path)
    assert (second.returncode, second.stdout) == (0, "data/raw/faces.zip is already there and verified\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "params.yaml"]


def test_other_content_than_the_digest_says_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    found = content_digest(write_faces(tmp_path / "faces.zip"))
    assert refused(digest="0" * 64) == (
        f"faces from archive has the content digest {found[:12]}…, data.digest says 000000000000…; "
        "get the original archive, or set data.digest=null to accept other content"
    )
    assert left(tmp_path) == []


def test_a_refused_archive_ends_in_exit_code_one_and_keeps_the_old_one(tmp_path: Path) -> None:
    kept = write_faces(tmp_path / "data/raw/faces.zip").read_bytes()
    (tmp_path / "faces.zip").write_bytes(b"cut")
    OmegaConf.save(parameters(), tmp_path / "params.yaml", resolve=True)
    result = process(tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert one_line(result.stderr).startswith("faces from archive is not a readable ZIP")
    assert left(tmp_path) == ["faces.zip"]
    assert (tmp_path / "data/raw/faces.zip").read_bytes() == kept


def test_a_damaged_kept_archive_is_fetched_again_from_the_next_source(tmp_path: Path) -> None:
    digest = content_digest(write_faces(tmp_path / "faces.zip"))
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/faces.zip").write_bytes((tmp_path / "faces.zip").read_bytes()[:-9])
    sources = {"kaggle": {"handle": "nonsense"}, "archive": {"path": "faces.zip"}}
    config = parameters(digest=digest, sources=sources)
    OmegaConf.save(config, tmp_path / "params.yaml", resolve=True)
    result = process(tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "from archive" in result.stdout
    assert content_digest(tmp_path / "data/raw/faces.zip") == digest


def test_the_reasons_of_all_sources_are_told(tmp_path: Path, refused: Callable[..., str]) -> None:
    sources = {"archive": {"path": "external/gone.zip"}, "kaggle": {"handle": "nonsense"}}
    assert refused(sources=sources) == (
        "no source has the dataset faces: external/gone.zip is missing (put the archive there); "
        "Kaggle's nonsense did not download (Invalid dataset handle: nonsense)"
    )
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ({"archiv": {"path": "faces.zip"}}, "source 'archiv' does not exist; choose one of archive, folder, kaggle"),
        ({"archive": {"pth": "faces.zip"}}, "source archive has no argument 'pth'; it takes path"),
        ({"archive": {}}, "source archive needs the argument 'path'"),
        ({"archive": {"path": ["faces.zip"]}}, "source archive: path is ['faces.zip']; it should be a valid string"),
    ],
)
def test_a_wrong_source_is_named(
    tmp_path: Path, refused: Callable[..., str], sources: dict[str, Any], told: str
) -> None:
    assert refused(sources=sources).startswith(told)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nmae: x", "params.yaml: unknown key 'nmae'; correct it in configs/"),
        ("seed: soon", "params.yaml: key 'seed': Value 'soon' of type 'str' could not be converted to Integer"),
        ("data: [", "params.yaml is not valid YAML: "),
        (None, "params.yaml is missing; compose it with `invoke params`"),
    ],
)
def test_wrong_settings_are_one_line_and_hydra_leaves_no_trace(tmp_path: Path, line: str | None, told: str) -> None:
    write_faces(tmp_path / "faces.zip")
    if line is not None:
        text = OmegaConf.to_yaml(parameters(), resolve=True)
        kept = [row for row in text.splitlines() if row.split(":")[0] != line.split(":")[0]]
        (tmp_path / "params.yaml").write_text("\n".join([*kept, line]) + "\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    result = process(tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert one_line(result.stderr).startswith(told)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def prepare_faces(folder: Path, monkeypatch: pytest.MonkeyPatch, **data: Any) -> dict[str, Any]:
    """Run the prepare stage in `folder` and return its report."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    if not Path("data/raw/faces.zip").exists():
        write_faces(Path("data/raw/faces.zip"))
    inspect.unwrap(prepare.main)(load(parameters(**data)))
    return read_json("data/prepared/data_report.json")


def test_prepared_splits_are_clean_and_everything_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = prepare_faces(tmp_path, monkeypatch)
    splits = {name: read_split(f"data/prepared/{name}") for name in ("train", "val", "test", "streams")}
    # 0 stands in train and val, 2 in train and test, 5 in val and test.
    assert splits["train"].ids == ["train/angry/1.png", "train/happy/0.png", "train/happy/1.png"]
    assert splits["val"].ids == ["val/angry/0.png", "val/happy/0.png"]
    assert splits["test"].ids == ["test/angry/0.png", "test/happy/0.png", "test/happy/1.png"]
    assert splits["val"].leaked.tolist() == [True, False]
    assert splits["test"].leaked.tolist() == [False, True, False]
    assert splits["streams"].ids == ["streams/000/0000_happy.png"]
    assert (splits["train"].images[0, :, :, 0] == NOISE[1]).all()
    assert splits["train"].labels.tolist() == [0, 1, 1]
    assert report["content_digest"] == content_digest("data/raw/faces.zip")
    assert report["images"] == {"train": 3, "val": 2, "test": 3, "streams": 1}
    assert report["images_given"] == {"train": 5, "val": 3, "test": 3, "streams": 1}
    assert (report["dataset"], report["unreadable"], report["constant"]) == ("faces", 1, 1)
    assert report["leaks"]["dropped"] == {"train": 2, "val": 1}
    kinds = sorted(row["kind"] for row in read_csv("data/prepared/findings.csv"))
    assert kinds == [*["conflict"] * 2, "constant", *["duplicate"] * 4, "unreadable"]
    assert report["layout_errors"] == {"unreadable": 1}
    assert splits["test"].classes == ["angry", "happy"]
    for name in ("class_balance", "duplicates", "mean_faces", "samples"):
        assert cv2.imread(f"reports/figures/{name}.png") is not None


def test_the_training_split_stays_whole_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = prepare_faces(tmp_path, monkeypatch, drop_leaks=False)
    assert report["images_given"] == {"train": 5, "val": 3, "test": 3, "streams": 1}
    assert report["images"] == report["images_given"] | {"val": 3 - report["leaks"]["dropped"]["val"]}
    assert report["leaks"]["dropped"]["train"] == 0 < report["leaks"]["dropped"]["val"]
    assert read_split("data/prepared/test").leaked.tolist() == [False, True, False]
    assert not report["drop_leaks"]


def test_two_folders_get_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        prepare_faces(folder, monkeypatch)
        digests.append(
            {
                path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in folder.rglob("*")
                if path.is_file() and "raw" not in path.parts
            }
        )
    assert digests[0] == digests[1]
    assert len(digests[0]) == 4 * 5 + 2 + 4


def write_boxes(path: Path) -> None:
    """Three images a split of two classes in the YOLO layout, each class's box one half, beside one of each error."""
    members = {"set/data.yaml": b"names: [happy, angry]\nnc: 2"}
    lines = {0: b"0 0.25 0.5 0.5 1", 1: b"1 0.75 0.5 0.5 1", 2: b"1 0.5 0.5 1.0005 1.0005"}
    errors = {3: b"", 4: b"7 0.5 0.5 1 1", 5: b"0 0.5 0.5 1 1\n1 0.5 0.5 0.1 0.1"}
    pictures = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    for number, (split, label) in enumerate(
        [(split, label) for split in ("train", "valid", "test") for label in lines]
        + [("train", label) for label in errors]
    ):
        members[f"set/{split}/images/{label}.png"] = cv2.imencode(".png", pictures[number])[1].tobytes()
        members[f"set/{split}/labels/{label}.txt"] = (lines | errors)[label]
    members |= {"set/test/images/9.png": b"", "set/valid/labels/9.txt": b"0 0.5 0.5 1 1"}
    path.parent.mkdir(parents=True)
    archives["zipped"](members)(path)


def test_boxes_make_faces_of_the_prepared_images_and_layout_errors_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_boxes(tmp_path / "data/raw/faces.zip")
    report = prepare_faces(tmp_path, monkeypatch, layout="yolo")
    errors = {
        "class out of range": 1,
        "empty label": 1,
        "image without label": 1,
        "label without image": 1,
        "several boxes": 1,
    }
    assert report["layout_errors"] == errors
    assert report["images"] == {"train": 4, "val": 3, "test": 3, "streams": 0}
    told = {row["kind"]: row["id"] for row in read_csv("data/prepared/findings.csv")}
    assert sorted(told) == sorted(errors)
    assert told["label without image"] == "set/valid/labels/9.txt"
    whole, faces = (read_split("data/prepared/val", whole=flag, classes=["angry", "happy"]) for flag in (True, False))
    assert whole.labels.tolist() == [1, 0, 0]
    assert whole.boxes.tolist() == [[0, 0, 0.5, 1], [0.5, 0, 1, 1], [0, 0, 1, 1]]
    for number, half in enumerate((np.s_[:, :4], np.s_[:, 4:])):
        wide = cv2.resize(whole.images[number, ..., 0][half], (8, 8), interpolation=cv2.INTER_LINEAR)
        assert (faces.images[number, ..., 0] == wide).all()
    assert (faces.images[2] == whole.images[2]).all()
    said = capsys.readouterr().out.splitlines()
    assert f"told of the layout: {errors}" in said[-2]
    assert said[-1] == (
        f"data.digest is null, so any content is accepted; this archive's is {content_digest('data/raw/faces.zip')}"
    )


def test_a_known_digest_is_not_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_faces(tmp_path, monkeypatch, digest="0" * 64)
    assert "data.digest" not in capsys.readouterr().out


def test_one_local_folder_of_any_classes_goes_through_both_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    for number, image in enumerate(images):
        file = tmp_path / f"data/external/images/{('Tired', 'Bored', 'Focused', 'Confused')[number % 4]}/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    monkeypatch.chdir(tmp_path)
    config = parameters(
        sources={"folder": {"path": "data/external/images"}}, classes=[], args={"val": 0.2, "test": 0.2}
    )
    for stage in (download, prepare):
        inspect.unwrap(stage.main)(load(config))
    report = read_json("data/prepared/data_report.json")
    classes = ["Bored", "Confused", "Focused", "Tired"]
    assert read_split("data/prepared/val").classes == classes
    assert report["classes"]["train"] == dict.fromkeys(classes, 6)
    assert report["classes"]["val"] == report["classes"]["test"] == dict.fromkeys(classes, 2)
    assert report["layout_errors"] == {"no split folders: drawn by seed": 1}


def test_a_val_split_that_is_a_copy_of_test_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encoded = [cv2.imencode(".png", noise)[1].tobytes() for noise in NOISE[:4]]
    Path("data/raw").mkdir(parents=True)
    with zipfile.ZipFile("data/raw/faces.zip", "w") as target:
        for split, first in (("train", 0), ("val", 2), ("test", 2)):
            for number, label in enumerate(("angry", "happy")):
                target.writestr(f"{split}/{label}/0.png", encoded[first + number])
    with pytest.raises(EdgemotionError, match="every image of the split 'val' also stands in another"):
        inspect.unwrap(prepare.main)(load(parameters()))
    assert not Path("data/prepared").exists()


def test_a_class_whose_training_images_all_stand_in_test_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encoded = [cv2.imencode(".png", noise)[1].tobytes() for noise in NOISE[:5]]
    Path("data/raw").mkdir(parents=True)
    with zipfile.ZipFile("data/raw/faces.zip", "w") as target:
        for split, numbers in (("train", (0, 1)), ("val", (2, 3)), ("test", (4, 1))):
            for number, label in zip(numbers, ("angry", "happy"), strict=True):
                target.writestr(f"{split}/{label}/0.png", encoded[number])
    with pytest.raises(EdgemotionError, match="every training image of the class 'happy' also stands in another split"):
        inspect.unwrap(prepare.main)(load(parameters()))
    assert not Path("data/prepared").exists()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"layout": "yol"}, "layout 'yol' does not exist; choose one of fer2013, image_folder, yolo"),
        ({"layout": "yolo"}, r"faces\.zip has 0 files data\.yaml; the layout yolo needs one"),
        ({"args": {"vall": 0.1}}, "layout image_folder has no argument 'vall'; it takes val, test, seed"),
        ({"args": {"seed": "soon"}}, "layout image_folder: seed is 'soon'; it should be a valid integer"),
        ({"classes": ["angry"]}, r"has the class 'happy', data\.classes has angry"),
        ({"classes": ["angry", "happy", "bored"]}, "training split has no readable image of the class 'bored'"),
        ({"layout": "fer2013"}, "does not begin with Training"),
        ({"name": "gone"}, r"data/raw/gone\.zip is not a readable ZIP"),
    ],
)
def test_an_archive_that_does_not_fit_the_settings_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], told: str
) -> None:
    with pytest.raises(EdgemotionError, match=told) as caught:
        prepare_faces(tmp_path, monkeypatch, **data)
    assert "\n" not in str(caught.value)
    assert not Path("data/prepared").exists()


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="data/external/fer2013.zip is not in this checkout")
def test_the_real_fer2013_has_its_known_size_and_leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/fer2013.zip").symlink_to(REAL)
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        settings = load(compose("config", ["data=fer2013"]))
    inspect.unwrap(prepare.main)(settings)
    report = read_json("data/prepared/data_report.json")
    # The challenge's own sizes; the duplicates also by Pillow and MD5 instead of OpenCV and BLAKE2.
    assert report["images_given"] == {"train": 28709, "val": 3589, "test": 3589, "streams": 0}
    assert (report["leaks"]["test_in_train"], report["leaks"]["val_in_train"]) == (288, 280)
    assert report["duplicates"] == {
        "groups": 1516,
        "surplus_images": 1853,
        "groups_across_splits": 557,
        "groups_with_label_conflict": 57,
    }
    assert (report["content_digest"], report["unreadable"]) == (settings.data.digest, 0)
    assert (read_split("data/prepared/test").leaked.sum(), report["images"]["test"]) == (288, 3589)
