"""The commands of `edgemotion`, on real files; the heavy imports that none of them may need."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from edgemotion.cli import app
from edgemotion.datasets.images import decode
from edgemotion.runtime import Classifier
from edgemotion.runtime.champion import load_card
from edgemotion.runtime.faces import Face
from edgemotion.serve import guard
from edgemotion.serve.options import Options


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(path: Path, brightness: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((20, 30, 3), brightness, np.uint8))
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_an_image(champion_folder: Path, tmp_path: Path) -> None:
    result = run("predict", write(tmp_path / "a.png", 255), "--champion", champion_folder)
    assert result.exit_code == 0 and result.output.startswith("bright 9") and "(uncertain)" not in result.output
    unsure = run("predict", write(tmp_path / "b.png", 64), "--champion", champion_folder)
    assert "(uncertain)" in unsure.output


def test_a_colour_jpeg_is_read_as_the_datasets_are(champion_folder: Path, tmp_path: Path) -> None:
    # Its luma is 28; as a colour image turned gray it has 29.
    blue = np.full((96, 96, 3), (255, 0, 0), np.uint8)
    cv2.imwrite(str(tmp_path / "a.jpg"), blue, [cv2.IMWRITE_JPEG_QUALITY, 50])
    run("predict", tmp_path / "a.jpg", "--champion", champion_folder, "--output", tmp_path / "a.csv")
    (row,) = rows(tmp_path / "a.csv")
    luma = decode((tmp_path / "a.jpg").read_bytes(), 1)
    expected = Classifier(champion_folder).predict(luma).probabilities
    assert {name: float(row[name]) for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_folder_becomes_a_table(champion_folder: Path, tmp_path: Path, ending: str) -> None:
    for name, brightness in (("a.png", 0), ("deep/b.jpg", 255), ("c.WEBP", 128)):
        write(tmp_path / "in" / name, brightness)
    (tmp_path / "in/broken.png").write_bytes(b"x")
    (tmp_path / "in/folder.jpg").mkdir()
    (tmp_path / "in/notes.txt").write_text("no image")
    target = tmp_path / f"out.{ending}"
    result = run("predict", tmp_path / "in", "--champion", champion_folder, "--output", target)
    assert result.exit_code == 0 and "3 faces in" in result.stdout and "left out" not in result.stdout
    for name in ("broken.png", "folder.jpg"):
        assert f"left out: {name} is no image that OpenCV reads" in result.stderr
    if ending == "csv":
        table = rows(target)
    else:
        pyarrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        table = pyarrow.read_table(target).to_pylist()
    assert [(row["file"], row["label"]) for row in table] == [
        ("a.png", "dark"),
        ("c.WEBP", "middle"),
        ("deep/b.jpg", "bright"),
    ]
    assert sum(float(table[0][name]) for name in ("dark", "middle", "bright")) == pytest.approx(1, abs=1e-5)


def test_a_class_may_be_called_as_a_column_is(
    champion_folder: Path, tmp_path: Path, make_variant: Callable[..., Path]
) -> None:
    champion = make_variant(tmp_path / "other", classes=("label", "frame", "uncertain"))
    shutil.copy(champion_folder / "card.json", champion)
    source = write(tmp_path / "a.png", 255)
    told = run("predict", source, "--champion", champion).output
    assert told.startswith("uncertain 9") and "(uncertain)" not in told
    run("predict", source, "--champion", champion, "--output", tmp_path / "a.csv")
    (row,) = rows(tmp_path / "a.csv")
    assert (row["file"], row["frame"], row["label"], row["uncertain"]) == ("a.png", "", "uncertain", "False")
    expected = Classifier(champion).predict(cv2.imread(str(source))).probabilities
    assert {name: float(row[f"{name}_score"]) for name in expected} == pytest.approx(expected, abs=1e-6)


def test_a_film_is_smoothed(champion_folder: Path, tmp_path: Path) -> None:
    film = cv2.VideoWriter(str(tmp_path / "f.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    # The fourth frame is a little nearer to `middle`, too little for the filter.
    for brightness in (255, 255, 255, 185, 255):
        film.write(np.full((32, 32, 3), brightness, np.uint8))
    film.release()
    target = tmp_path / "film.csv"
    assert run("predict", tmp_path / "f.avi", "--champion", champion_folder, "--output", target).exit_code == 0
    table = rows(target)
    assert [row["frame"] for row in table] == list("01234")
    assert [row["label"] for row in table] == ["bright", "bright", "bright", "middle", "bright"]
    assert {row["smoothed_label"] for row in table} == {"bright"}


def test_the_faces_of_a_scene_are_read_one_by_one(
    champion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = json.loads((champion_folder / "card.json").read_text()) | {"face_side": 0.5}
    (champion_folder / "card.json").write_text(json.dumps(card))
    boxes = [(20.0, 20.0, 40.0, 40.0), (80.0, 20.0, 100.0, 40.0)]
    seen = []

    def find(scene: np.ndarray) -> list[Face]:
        seen.append(scene.shape)
        return [Face(box, 0.9) for box in boxes]

    monkeypatch.setattr("edgemotion.runtime.table.find_yunet", lambda path: path)
    monkeypatch.setattr("edgemotion.runtime.table.FaceFinder", lambda path: SimpleNamespace(find=find))
    # Only the middle of each box is lit, as the card frames faces.
    scene = np.zeros((60, 120, 3), np.uint8)
    scene[25:35, 25:35], scene[25:35, 85:95] = 255, 128
    cv2.imwrite(str(tmp_path / "a.png"), scene)
    given = ("predict", tmp_path / "a.png", "--scene", "--champion", champion_folder)
    told = run(*given).output.splitlines()
    assert [line.split()[0] for line in told] == ["bright", "middle"] and "  at 20,20-40,40  [" in told[0]
    run(*given, "--output", tmp_path / "a.csv")
    placed = [tuple(float(row[side]) for side in ("x1", "y1", "x2", "y2")) for row in rows(tmp_path / "a.csv")]
    assert placed == boxes
    # In colours, though the champion takes gray.
    assert set(seen) == {(60, 120, 3)}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing.png"], "nothing.png is missing"),
        (["empty"], "holds no image"),
        (["text.png"], "is no image that OpenCV reads"),
        (["text.mp4"], "is no film that OpenCV reads"),
        (["a.png", "--output", "a.xlsx"], "must end in .csv or .parquet"),
        (["a.png", "--champion", "empty"], "model.onnx is missing"),
        (["a.png", "--scene"], "run `edgemotion faces`"),
        (["a.png", "--faces", "nowhere.onnx"], "nowhere.onnx is missing"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEMOTION_FACES", raising=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "text.mp4").write_text("text")
    write(tmp_path / "a.png", 9)
    result = run("predict", *arguments)
    (line,) = (line for line in result.output.splitlines() if line.startswith("error: "))
    assert result.exit_code == 1 and complaint in line
    assert not list(tmp_path.glob("*.csv")) and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "command", [["predict", "a.png", "--output"], *(["camera", option] for option in ("--film", "--table", "--report"))]
)
@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("a.png/out.csv", "a.png/out.csv cannot be written: a part of its path is a file; name another place"),
        ("a.png/deep/out.csv", "a.png/deep/out.csv cannot be written: a part of its path is a file"),
        (f"{'x' * 260}.csv", "x.csv cannot be written: File name too long"),
        ("deep.csv", "deep.csv cannot be written: it is a folder"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], target: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgemotion.camera.main", lambda *args, **options: pytest.fail("the camera was opened"))
    write(tmp_path / "a.png", 9)
    (tmp_path / "deep.csv").mkdir()
    result = run(*command, target)
    (line,) = (line for line in result.output.splitlines() if line.startswith("error: "))
    assert result.exit_code == 1 and complaint in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "deep.csv"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--log-level", "loud"], "--log-level is 'loud'; choose one of debug, info, warning, error"),
        (["--champion", "nowhere"], "model.onnx is missing"),
        (["--page", "nowhere"], "build the page with `invoke page`"),
        (["--faces", "nowhere.onnx"], "nowhere.onnx is missing"),
    ],
)
def test_a_server_that_cannot_start_says_why(
    arguments: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "--log-level" not in arguments:
        # It would change the logging of all tests that this process runs afterwards.
        monkeypatch.setattr(guard, "log_as_json", lambda level: None)
    result = run("serve", *arguments)
    (line,) = (line for line in result.output.splitlines() if line.startswith("error: "))
    assert result.exit_code == 1 and complaint in line


def test_the_options_of_serve_are_those_of_the_server(champion_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(guard, "log_as_json", lambda level: given.update(level=level))
    monkeypatch.setattr("edgemotion.serve.app.create_app", lambda options: given.update(options=options))
    monkeypatch.setattr("uvicorn.run", lambda application, **options: given.update(options))
    arguments = [
        *("--champion", champion_folder, "--faces", "f.onnx", "--page", "page", "--threads", "2", "--workers", "3"),
        *("--max-bytes", "4", "--max-pixels", "5", "--max-batch", "6", "--max-requests", "7", "--timeout", "8"),
        *("--api-key", "k", "--cors", "https://a.example", "--cors", "https://b.example", "--log-level", "error"),
        *("--host", "0.0.0.0", "--port", "9"),
    ]
    assert run("serve", *arguments).exit_code == 0
    assert given["options"] == Options(
        champion=champion_folder,
        faces=Path("f.onnx"),
        page=Path("page"),
        threads=2,
        workers=3,
        max_bytes=4,
        max_pixels=5,
        max_batch=6,
        max_requests=7,
        timeout_s=8.0,
        api_key="k",
        cors=["https://a.example", "https://b.example"],
    )
    assert (given["level"], given["host"], given["port"]) == ("error", "0.0.0.0", 9)
    run("serve")
    assert given["options"] == Options()


def test_the_options_of_camera_are_those_of_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgemotion.camera.main", lambda source, **options: given.update(options, source=source))
    monkeypatch.setattr("edgemotion.camera.describe", lambda report: "done")
    files = ("--film", "f.mp4", "--table", "t.csv", "--report", "r.json", "--champion", "c", "--faces", "y.onnx")
    numbers = ("--limit", "2", "--detect-every", "3", "--threads", "4")
    assert run("camera", "film.mp4", *files, *numbers, "--show", "--real-time").output == "done\n"
    assert given == {
        "source": "film.mp4",
        "film": Path("f.mp4"),
        "table": Path("t.csv"),
        "report": Path("r.json"),
        "lines": None,
        "show": True,
        "limit": 2,
        "real_time": True,
        "detect_every": 3,
        "champion": Path("c"),
        "faces": Path("y.onnx"),
        "threads": 4,
    }
    # The lines have the standard output for themselves.
    result = run("camera", "film.mp4", "--lines")
    assert given["lines"] is not None and (result.stdout, result.stderr) == ("", "done\n")


def test_verify_and_bench(champion_folder: Path, tmp_path: Path, make_variant: Callable[..., Path]) -> None:
    result = run("verify", champion_folder)
    assert result.exit_code == 0 and "90.0% top-1 on 40 test images of gray" in result.output
    other = make_variant(tmp_path / "other")
    result = run("bench", champion_folder, other, "--rounds", "20")
    assert result.exit_code == 0 and result.output.count("p50 ") == 2 and "1.00x [1.00, 1.00]" in result.output
    larger = make_variant(tmp_path / "larger", size=9)
    assert "different sizes" in run("bench", champion_folder, larger).output
    (other / "model.onnx").write_bytes(b"x")
    assert run("verify", other).exit_code == 1


def test_the_shipped_champion_answers_without_training(tmp_path: Path) -> None:
    result = run("predict", write(tmp_path / "a.png", 128))
    assert result.exit_code == 0 and result.output.split()[0] in {
        *("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    }
    assert load_card(Path("src/edgemotion/champion")).dataset == "fer2013"


WITHOUT_HEAVY = """
import sys
for name in ("torch", "scipy", "sklearn", "onnx", "omegaconf", "hydra", "dvc", "mlflow", "matplotlib", "pandas",
             "fastapi", "uvicorn", "psutil", "pyarrow"):
    sys.modules[name] = None
from edgemotion.cli import app
app(sys.argv[1:])
"""


@pytest.mark.parametrize("command", [["verify"], ["bench", "--rounds", "5"], ["predict", "a.png"], ["--help"]])
def test_the_light_install_suffices(tmp_path: Path, command: list[str]) -> None:
    write(tmp_path / "a.png", 128)
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_HEAVY, *command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert found.returncode == 0, found.stderr
    served = [sys.executable, "-c", WITHOUT_HEAVY, "serve"]
    refused = subprocess.run(served, capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "install edgemotion[serve]" in refused.stderr
