import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgemotion.camera import Video, describe, loop, main, run
from edgemotion.camera.feed import Frame
from edgemotion.camera.recording import filming, tabulating
from edgemotion.camera.report import Notes
from edgemotion.camera.watcher import Watcher
from edgemotion.errors import EdgemotionError
from edgemotion.files import read_csv
from edgemotion.runtime.faces import Face

LEVELS = {"dark": 45, "middle": 128, "bright": 220}
Scene = Callable[..., np.ndarray]

WITHOUT_HEAVY = """
import sys
for name in ("torch", "onnx", "omegaconf", "scipy", "hydra", "matplotlib", "fastapi", "dvc", "mlflow", "sklearn"):
    sys.modules[name] = None
import edgemotion.camera
"""


def test_it_imports_with_the_light_install() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_HEAVY], check=True)


def test_film_table_and_report(
    tmp_path: Path, champion: Path, finder: Any, make_square: Scene, make_slides: Any
) -> None:
    truths = ["dark"] * 4 + ["bright"] * 8
    images = [make_square(LEVELS[truth], left=50 + number) for number, truth in enumerate(truths)]
    report = run(
        make_slides([image.copy() for image in images], truths, fps=25),
        champion,
        finder,
        film=tmp_path / "out" / "film.mp4",
        table=tmp_path / "out" / "table.csv",
        measurement_noise=0.2,
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["film.mp4", "table.csv"]
    assert (report.captured, report.dropped, report.processed, report.searches) == (12, 0, 12, 12)
    assert report.ended == "at its end" and report.faces_found == 1
    assert report.latency_ms is not None and report.latency_ms["p50"] > 0

    table = read_csv(tmp_path / "out" / "table.csv")
    columns = "frame time_s face x1 y1 x2 y2 raw smoothed dark middle bright latency_ms truth"
    assert " ".join(table[0]) == columns
    assert [row["frame"] for row in table] == [str(number) for number in range(12)]
    assert [row["raw"] for row in table] == [row["truth"] for row in table] == truths
    assert {row["face"] for row in table} == {"0"}
    assert [float(row["x1"]) for row in table] == [50 + number for number in range(12)]
    np.testing.assert_allclose([sum(float(row[name]) for name in LEVELS) for row in table], 1, atol=1e-5)

    assert report.truth is not None
    followed = [row["smoothed"] for row in table].index("bright") - 4
    assert report.truth["raw"] == {
        "top1": 1.0,
        "flips_per_frame": 0.0,
        "lag": {"changes": 1, "never_followed": 0, "median_frames": 0.0, "median_ms": 0.0},
    }
    assert followed > 0
    assert report.truth["smoothed"]["lag"]["median_frames"] == followed
    assert report.truth["smoothed"]["lag"]["median_ms"] == pytest.approx(40 * followed, abs=0.01)
    assert report.truth["smoothed"]["top1"] == pytest.approx(1 - followed / 12, abs=1e-6)
    assert "12 frames captured" in describe(report) and "median lag" in describe(report)
    json.dumps(report.as_json(), allow_nan=False)

    film = cv2.VideoCapture(str(tmp_path / "out" / "film.mp4"))
    shown = [film.read()[1] for _ in range(12)]
    assert film.get(cv2.CAP_PROP_FPS) == 25 and not film.read()[0]
    # The square is where it was, and something is drawn around it.
    assert abs(int(shown[11][80, 85, 0]) - 220) < 12
    assert (np.abs(shown[11].astype(int) - images[11]).max(axis=2) > 40).mean() > 0.02


def test_main_reads_a_film_and_writes_its_report(tmp_path: Path, champion: Path, yunet: Path) -> None:
    report = main("synthetic", champion=champion, faces=yunet, streams=1, frames=8, film=tmp_path / "a.mp4", fps=5)
    assert report.faces_found == 1 and report.truth is not None
    again = main(str(tmp_path / "a.mp4"), champion=champion, faces=yunet, report=tmp_path / "a.json")
    assert again.processed == report.processed and again.truth is None
    assert json.loads((tmp_path / "a.json").read_text()) == again.as_json()


def test_the_options_of_main_are_kept(
    tmp_path: Path, champion: Path, finder: Any, make_square: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filming(tmp_path / "film.mp4", 50) as write:
        for _ in range(12):
            write(make_square(200))
    longest = []
    monkeypatch.setattr(loop, "find_yunet", lambda path: path)
    monkeypatch.setattr(loop, "FaceFinder", lambda path, side: longest.append(side) or finder)
    before, film = cv2.getNumThreads(), str(tmp_path / "film.mp4")
    assert main(film, champion=champion, detect_size=64, limit=2).processed == 2 and longest == [64]
    started = time.perf_counter()
    main(film, champion=champion, real_time=True)
    # At 50 frames a second.
    assert time.perf_counter() - started >= 11 / 50
    assert cv2.getNumThreads() == before


def test_rate_and_latency_are_those_of_the_results(champion: Path, finder: Any, make_slides: Any) -> None:
    notes, image = Notes(["a"]), np.zeros((2, 2, 3), np.uint8)
    for captured, result in ((1.0, 1.5), (2.0, 2.25), (2.5, 3.5)):
        notes.frame(Frame(image, captured, 0, 0.0), result, [])
    report = notes.report(make_slides([]), Watcher(champion, finder), "at its end")
    # Two frames after the first result, in the two seconds that followed it.
    assert (report.fps, report.seconds) == (1, 2.5)
    assert report.latency_ms is not None and report.latency_ms["p50"] == 500


def test_the_noises_are_those_of_the_filter(champion: Path, finder: Any, make_square: Scene, make_slides: Any) -> None:
    def lag(**noises: float) -> float:
        truths = ["dark"] * 4 + ["bright"] * 8
        slides = make_slides([make_square(LEVELS[truth]) for truth in truths], truths, fps=1000)
        truth = run(slides, champion, finder, **noises).truth
        assert truth is not None
        return truth["smoothed"]["lag"]["median_frames"]

    # A filter that expects few changes, or trusts little of what it sees, follows late.
    assert lag() == 0 < min(lag(process_noise=1e-4), lag(measurement_noise=1.0))


def test_the_largest_faces_are_watched_and_framed_as_the_card_says(champion: Path) -> None:
    boxes = [(float(left), 10.0, float(left + side), 10.0 + side) for left, side in ((0, 20), (24, 40), (92, 60))]
    finder = SimpleNamespace(find=lambda scene: [Face(box, 0.9) for box in boxes])
    watcher = Watcher(champion, finder, max_faces=2)
    image = np.zeros((120, 160, 3), np.uint8)
    # All but a rim of each box, as far as the card's side of 0.9 reaches.
    for x1, y1, x2, y2 in boxes:
        rim = round((x2 - x1) * 0.05)
        image[int(y1) + rim : int(y2) - rim, int(x1) + rim : int(x2) - rim] = 255
    watcher.search(image)
    tracks = watcher.recognise(image)
    assert [track.box for track in tracks] == [boxes[2], boxes[1]]
    sure = watcher.classifier.run(np.full((1, 8, 8, 1), 255, np.uint8))[1][0]
    for track in tracks:
        np.testing.assert_allclose(track.raw, sure, atol=1e-6)


def test_only_an_uncertain_face_is_drawn_as_one(
    tmp_path: Path, champion: Path, finder: Any, make_square: Scene, make_slides: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(loop, "draw", lambda image, faces, *rest: drawn.extend(face.uncertain for face in faces))
    # Half way between two classes.
    for level in (255, 64):
        run(make_slides([make_square(level, side=60)]), champion, finder, film=tmp_path / "f.mp4")
    assert drawn == [False, True]


def test_each_frame_is_a_line_of_json_while_the_loop_runs(
    champion: Path, finder: Any, make_square: Scene, make_slides: Any
) -> None:
    seen: list[list[dict[str, Any]]] = []

    class Reader(io.StringIO):
        def flush(self) -> None:
            seen.append([json.loads(line) for line in self.getvalue().splitlines()])

    # Half way between two classes, nobody, and bright.
    images = [make_square(64, side=60), make_square(0), make_square(255, side=60)]
    run(make_slides(images), champion, finder, lines=Reader())
    assert [len(lines) for lines in seen] == [1, 2, 3]
    first, nobody, last = seen[-1]
    assert [line["frame"] for line in seen[-1]] == [0, 1, 2] and nobody["faces"] == []
    assert first["latency_ms"] > 0 and last["time_s"] == pytest.approx(2 / 30, abs=1e-4)
    (face,) = first["faces"]
    assert (face["face"], face["box"], face["uncertain"]) == (0, [60, 50, 120, 110], True)
    assert sum(face["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert face["label"] == max(face["scores"], key=face["scores"].__getitem__)


def test_a_reader_that_leaves_ends_the_loop_with_complete_files(
    tmp_path: Path, champion: Path, finder: Any, make_square: Scene, make_slides: Any
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        report = run(make_slides([make_square(200)] * 3), champion, finder, lines=pipe, table=tmp_path / "t.csv")
    assert report.ended == "as nobody reads its lines" and len(read_csv(tmp_path / "t.csv")) == report.processed == 1


def test_a_frame_without_a_face_is_a_row_without_one(
    tmp_path: Path, champion: Path, finder: Any, make_square: Scene, make_slides: Any
) -> None:
    images = [make_square(200), make_square(0), make_square(200)]
    report = run(make_slides(images, ["bright"] * 3), champion, finder, table=tmp_path / "t.csv")
    rows = read_csv(tmp_path / "t.csv")
    assert [row["face"] for row in rows] == ["0", "", "0"]
    assert rows[1]["smoothed"] == rows[1]["bright"] == "" and rows[1]["truth"] == "bright"
    assert report.faces_found == pytest.approx(2 / 3, abs=1e-6)
    assert report.truth is not None and report.truth["scored"] == 2


def test_a_truth_that_the_champion_does_not_know_is_never_hit(
    champion: Path, finder: Any, make_square: Scene, make_slides: Any
) -> None:
    report = run(make_slides([make_square(200)] * 2, ["angry"] * 2), champion, finder)
    assert report.truth is not None and report.truth["raw"]["top1"] == 0


def test_searching_every_third_frame_is_in_the_report(
    champion: Path, finder: Any, make_square: Scene, make_slides: Any
) -> None:
    report = run(make_slides([make_square(200)] * 9), champion, finder, detect_every=3)
    assert (report.processed, report.searches, report.detect_every) == (9, 3, 3)
    # One more warms the finder up.
    assert finder.calls == 4
    assert "searched in 3 of 9 frames" in describe(report)


def test_nobody_is_searched_for_in_each_frame(
    champion: Path, finder: Any, make_square: Scene, make_slides: Any
) -> None:
    report = run(make_slides([make_square(0)] * 5 + [make_square(200)] * 4), champion, finder, detect_every=3)
    assert report.searches == 5 + 2


def test_a_slow_loop_drops_frames_and_says_so(
    champion: Path, finder: Any, make_square: Scene, make_slides: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, pause = finder.find, threading.Event()
    monkeypatch.setattr(finder, "find", lambda scene: (pause.wait(0.03), find(scene))[1])
    report = run(make_slides([make_square(200)] * 60, fps=300, live=True), champion, finder)
    assert report.captured == 60 and report.dropped >= 30
    assert report.processed == report.captured - report.dropped
    assert report.fps is not None and report.fps < 34


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_loop_with_complete_files(
    tmp_path: Path, champion: Path, finder: Any, make_square: Scene, make_slides: Any, number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    find, before = finder.find, signal.getsignal(number)

    def kill_at_third(scene: np.ndarray) -> Any:
        # The first call warms up.
        if finder.calls == 3:
            os.kill(os.getpid(), number)
        return find(scene)

    monkeypatch.setattr(finder, "find", kill_at_third)
    slides = make_slides([make_square(200)] * 500, fps=20, live=True)
    report = run(slides, champion, finder, film=tmp_path / "f.mp4", table=tmp_path / "t.csv")
    assert report.ended == f"stopped by {number.name}"
    assert report.processed == 3 and report.captured == report.processed + report.dropped
    assert len(read_csv(tmp_path / "t.csv")) == len(list(Video(tmp_path / "f.mp4").frames())) == 3
    assert signal.getsignal(number) is before


def test_a_second_signal_does_what_it_did_before() -> None:
    # A shell lets what it starts in the background ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), loop.stopped_by_signals(SimpleNamespace(stop=lambda: None)) as reasons:
            os.kill(os.getpid(), signal.SIGINT)
            assert reasons == ["stopped by SIGINT"]
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert reasons == ["stopped by SIGINT"]


def test_a_class_may_be_called_as_a_column_is(tmp_path: Path) -> None:
    with tabulating(tmp_path / "t.csv", ["truth", "calm"]):
        pass
    assert (tmp_path / "t.csv").read_text().endswith(",smoothed,truth_score,calm_score,latency_ms,truth\n")


def test_the_limit_ends_it(champion: Path, finder: Any, make_square: Scene, make_slides: Any) -> None:
    report = run(make_slides([make_square(200)] * 9), champion, finder, limit=4)
    assert report.processed == report.captured == 4 and "limit of 4" in report.ended


def test_an_error_leaves_no_files(
    tmp_path: Path, champion: Path, finder: Any, make_square: Scene, make_slides: Any
) -> None:
    images = [make_square(200), np.zeros((0, 0, 3), np.uint8)]
    with pytest.raises(cv2.error):
        run(make_slides(images), champion, finder, film=tmp_path / "o" / "f.mp4", table=tmp_path / "o" / "t.csv")
    assert list((tmp_path / "o").iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"limit": 0}, "limit must be 1"),
        ({"detect_every": 0}, "detect_every must be 1"),
        ({"max_faces": 0}, "max_faces must be 1"),
        ({"film": Path("film.avi")}, r"film\.avi must end in \.mp4"),
    ],
)
def test_wrong_values_are_one_line(
    champion: Path, finder: Any, make_square: Scene, make_slides: Any, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(EdgemotionError, match=message):
        run(make_slides([make_square(200)]), champion, finder, **wrong)


def test_a_headless_opencv_says_that_it_has_no_window(
    champion: Path, finder: Any, make_square: Scene, make_slides: Any
) -> None:
    if "GUI:                           NONE" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has windows")
    with pytest.raises(EdgemotionError, match="opencv-python-headless"):
        run(make_slides([make_square(200)]), champion, finder, show=True)


def test_no_camera_is_no_other_source(champion: Path, yunet: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"camera 97 cannot be opened.*synthetic"):
        main("97", champion=champion, faces=yunet)
    with pytest.raises(EdgemotionError, match=r"camera /dev/null cannot be opened.*synthetic"):
        main("/dev/null", champion=champion, faces=yunet)
