"""The browser page: how it is built, and in a real browser whether it answers as Python does.

What a browser must reach for lossless images: the same uint8 pixels at the model's input, the same label, and
probabilities within 1e-5 of ONNX Runtime in Python.
"""

import hashlib
import http.server
import json
import os
import re
import runpy
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edgemotion.datasets.canvas import sample_view
from edgemotion.datasets.facs import sample_expression, sample_identity
from edgemotion.datasets.rendering import render
from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file
from edgemotion.runtime.classifier import Classifier, fit
from edgemotion.runtime.faces import FaceFinder, crop_face
from edgemotion.runtime.smoothing import smooth
from edgemotion.serve import page

ROOT = Path(__file__).parents[2]
FIXTURES = runpy.run_path(str(ROOT / "tests/conftest.py"))
CLASSES: tuple[str, ...] = FIXTURES["CLASSES"]
# Read before a fixture of this folder hides it.
FACES = os.environ.get("EDGEMOTION_FACES")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# A machine with other work opens the page slowly.
PATIENCE = 240_000
SCORE_TOLERANCE = 1e-5
# What the page shows in place of a label before it has read anything.
NOTHING = "\N{EN DASH}"
# Smaller, larger, longer and as large as the models of these tests, with whole and broken ratios.
SIZES = [(48, 48), (96, 96), (144, 144), (200, 137), (61, 50), (24, 24), (13, 31), (100, 30), (1, 1)]


def fake_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An npm that runs a shell script in the folder where the real one would work."""
    npm = folder / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\n" + script)
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=os.pathsep)


WORKING_NPM = """test "$1 $2" = "ci --ignore-scripts" && test -f package-lock.json && test -f .npmrc || exit 9
mkdir -p node_modules/onnxruntime-web/dist && cd node_modules/onnxruntime-web/dist
for name in ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm ort.all.js; do echo 1 > $name; done
"""


def test_a_page_is_all_its_files_and_their_digests(
    tmp_path: Path, champion_folder: Path, make_variant: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path, monkeypatch, WORKING_NPM)
    faces = tmp_path / "yunet.onnx"
    faces.write_bytes(b"a face detector")
    other = make_variant(tmp_path / "other", name="int8_static", sharpness=19.0)
    built = page.build_page(tmp_path / "site", champion_folder, faces, {"int8_static": other, "fp32": champion_folder})

    found = {path.relative_to(built).as_posix(): path for path in built.rglob("*") if path.is_file()}
    config = json.loads(found.pop("config.json").read_text())
    assert config["files"] == {name: sha256_file(path) for name, path in found.items()}
    expected = {*page.PAGE, "card.json", "faces.onnx", *(f"ort/{name}" for name in page.RUNTIME)}
    expected |= {
        f"models/{name}/{file}" for name in ("fp32", "int8_static") for file in ("model.onnx", "model_info.json")
    }
    assert set(found) == expected
    assert {model["name"]: model["champion"] for model in config["models"]} == {"fp32": True, "int8_static": False}
    assert all(config["files"][model["model"]] == model["sha256"] for model in config["models"])
    assert config["classes"] == list(CLASSES)
    assert config["input"] == {"height": 8, "width": 8, "channels": 1}
    assert (config["faces"], config["face_side"], config["certain_from"]) == ("faces.onnx", 1.0, 0.6)
    temporal = yaml.safe_load((ROOT / "configs/temporal/default.yaml").read_text())
    assert config["smoothing"] == {key: temporal[key] for key in ("process_noise", "measurement_noise")}


def test_a_page_without_a_face_detector_says_so_in_its_config(
    tmp_path: Path, champion_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path, monkeypatch, WORKING_NPM)
    built = page.build_page(tmp_path / "site", champion_folder, None)
    assert json.loads((built / "config.json").read_text())["faces"] is None
    assert not (built / "faces.onnx").exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'npm error code ENOTFOUND\nnpm error network request failed' >&2; exit 1", "network request failed"),
        ("exit 1", "it gave no reason"),
        ("exit 0", "holds no ort.wasm.min.mjs"),
    ],
)
def test_a_failing_npm_is_one_sentence_and_keeps_the_old_page(
    tmp_path: Path, champion_folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    fake_npm(tmp_path, monkeypatch, script)
    old = tmp_path / "site" / "index.html"
    old.parent.mkdir()
    old.write_text("old")
    with pytest.raises(EdgemotionError, match=message) as caught:
        page.build_page(tmp_path / "site", champion_folder, None)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["index.html"]
    assert old.read_text() == "old"


def test_a_missing_npm_is_named(tmp_path: Path, champion_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgemotionError, match="npm is missing"):
        page.build_page(tmp_path / "site", champion_folder, None)


def test_what_does_not_fit_is_refused(tmp_path: Path, champion_folder: Path, make_variant: Callable[..., Path]) -> None:
    target = tmp_path / "site"
    with pytest.raises(EdgemotionError, match="other classes or another input"):
        page.build_page(target, champion_folder, None, {"big": make_variant(tmp_path / "big", size=9)})
    with pytest.raises(EdgemotionError, match="other classes or another input"):
        page.build_page(target, champion_folder, None, {"two": make_variant(tmp_path / "two", classes=("a", "b"))})
    with pytest.raises(EdgemotionError, match="cannot name a folder"):
        page.build_page(target, champion_folder, None, {"../up": champion_folder})
    with pytest.raises(EdgemotionError, match=r"nowhere\.onnx is missing"):
        page.build_page(target, champion_folder, tmp_path / "nowhere.onnx")
    info = champion_folder / "model_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"task": "detect"}))
    with pytest.raises(EdgemotionError, match="is a detector"):
        page.build_page(target, champion_folder, None)


def test_the_page_names_no_other_host_and_leaves_no_file_out() -> None:
    assert {path.name for path in page.SOURCE.iterdir()} == {*page.PAGE, *page.PACKAGE}
    for path in page.SOURCE.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text and not re.search(r"\bsrc=.?//", text), path.name
    lock = json.loads((page.SOURCE / "package-lock.json").read_text())
    assert all("integrity" in entry and "resolved" not in entry for name, entry in lock["packages"].items() if name)


def run_node(folder: Path, code: str) -> None:
    """Run a module that may import the page's; `folder` is its working directory."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js")
    script = folder / "script.mjs"
    script.write_text(code.replace("PAGE", page.SOURCE.as_uri()))
    done = subprocess.run([node, script.name], cwd=folder, capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_pixels_equal_those_of_python(tmp_path: Path) -> None:
    rng, cases, expected = np.random.default_rng(0), [], []
    for height, width in [*SIZES, (301, 299), (480, 640), (47, 49), (300, 2)]:
        for number, (rows, columns, channels) in enumerate(((48, 48, 1), (40, 32, 3), (8, 8, 1))):
            image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
            (tmp_path / f"{len(cases)}.rgba").write_bytes(cv2.cvtColor(image, cv2.COLOR_BGR2RGBA).tobytes())
            side = (0.0, 0.7, 1.3)[number]
            box = (width * 0.1, height * 0.2 - 3, width * 0.75, height * 1.1 + 2) if side else (0, 0, 0, 0)
            cases.append([width, height, columns, rows, channels, box, side])
            crop = crop_face(image, box, side) if side else image
            expected.append(fit(crop, rows, columns, channels))
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    run_node(
        tmp_path,
        """
        import fs from 'node:fs';
        import { cropFace, fit } from 'PAGE/pixels.js';
        const cases = JSON.parse(fs.readFileSync('cases.json'));
        cases.forEach(([width, height, columns, rows, channels, box, side], number) => {
          const scene = { data: fs.readFileSync(`${number}.rgba`), width, height, channels: 4 };
          const crop = side ? cropFace(scene, box, side) : scene;
          fs.writeFileSync(`${number}.out`, fit(crop, { height: rows, width: columns, channels }).data);
        });
        """,
    )
    for number, (case, image) in enumerate(zip(cases, expected, strict=True)):
        found = np.fromfile(tmp_path / f"{number}.out", np.uint8).reshape(image.shape)
        assert np.array_equal(found, image), case


def test_the_filter_equals_that_of_python(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).dirichlet([0.4] * 7, 40)
    frames[5] = np.eye(7)[2]
    (tmp_path / "frames.json").write_text(json.dumps(frames.tolist()))
    run_node(
        tmp_path,
        """
        import fs from 'node:fs';
        import { KalmanSmoother } from 'PAGE/smoothing.js';
        const smoother = new KalmanSmoother(0.005, 0.05);
        const frames = JSON.parse(fs.readFileSync('frames.json')).map((frame) => smoother.update(frame));
        fs.writeFileSync('out.json', JSON.stringify(frames));
        """,
    )
    assert json.loads((tmp_path / "out.json").read_text()) == pytest.approx(smooth(frames, 0.005, 0.05), abs=1e-12)


def random_network(size: int, channels: int) -> bytes:
    """A small convolutional classifier with random weights, whose answers depend on every pixel."""
    rng = np.random.default_rng(3)
    weights = {
        "centre": np.float32(120),
        "spread": np.float32(60),
        "first": rng.normal(0, 0.5, (8, channels, 3, 3)),
        "second": rng.normal(0, 0.2, (16, 8, 3, 3)),
        "slope": rng.normal(0, 1.5, (16, len(CLASSES))),
        "offset": rng.normal(0, 0.5, len(CLASSES)),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "centre"], ["centred"]),
        helper.make_node("Div", ["centred", "spread"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "first"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "slope", "offset"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    outputs = ("logits", "probabilities")
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, channels])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", len(CLASSES)]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def write_variant(folder: Path, content: bytes, name: str, size: int, channels: int) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)
    shape = {"layout": "NHWC", "dtype": "uint8", "height": size, "width": size, "channels": channels}
    info = {"name": name, "classes": CLASSES, "input": shape, "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "model_info.json").write_text(json.dumps(info))
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A static web server on localhost, with the headers that allow threads."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def person() -> np.ndarray:
    """A drawn face in a scene, uint8 [480,640,3] BGR."""
    rng = np.random.default_rng(18)
    identity, units = sample_identity(rng), sample_expression("happy", 1.0, rng)
    drawn = render(identity, units, replace(sample_view(rng), hand=0.0, noise=2.0), rng=rng)
    scene = np.full((480, 640, 3), (160, 140, 120), np.uint8)
    scene[60:420, 140:500] = cv2.resize(drawn, (360, 360), interpolation=cv2.INTER_CUBIC)[:, :, None]
    return scene


@dataclass
class Browser:
    """Chromium with a fake camera, and the two pages that it can open."""

    chromium: Any
    # gray: two variants of 48x48 gray, with a face detector where the tests have one; colour: 40x40 RGB without.
    gray: Path
    colour: Path
    # What the fake camera sees: one JPEG.
    frame: bytes


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium or Chrome")
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    folder = tmp_path_factory.mktemp("page")
    fp32 = write_variant(folder / "fp32", random_network(48, 1), "fp32", 48, 1)
    bright = FIXTURES["brightness_model"](len(CLASSES), 48, 1, 20.0).SerializeToString()
    champion = FIXTURES["add_card"](write_variant(folder / "champion", bright, "bright", 48, 1))
    gray = page.build_page(folder / "gray", champion, Path(FACES) if FACES else None, {"fp32": fp32})
    rgb = FIXTURES["add_card"](write_variant(folder / "rgb", random_network(40, 3), "fp32", 40, 3))
    with pytest.MonkeyPatch.context() as patch:
        # The same files, fetched once.
        patch.setattr(page, "fetch_runtime", lambda target: shutil.copytree(gray / "ort", target))
        colour = page.build_page(folder / "colour", rgb, None)

    # Three channels of 4:2:0 at full range, which the fake camera takes for yuvj420p.
    frame = cv2.imencode(".jpg", person(), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    (folder / "camera.mjpeg").write_bytes(frame * 30)
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}",
        # Whatever the page or the browser wants elsewhere fails at once.
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=PATIENCE)
        yield Browser(chromium, gray, colour, frame)
        chromium.close()


@contextmanager
def opened(browser: Browser, folder: Path, ready: bool = True, before: str = "", **options: Any) -> Iterator[Any]:
    """A tab with the page; `tab.requests` are the addresses that it asked for, `tab.problems` its errors."""
    with served(folder) as address:
        context = browser.chromium.new_context(**options)
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.requests, tab.problems, tab.address = [], [], address
        context.on("request", lambda request: tab.requests.append(request.url))
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.on("console", lambda line: tab.problems.append(line.text) if line.type == "error" else None)
        if before:
            tab.add_init_script(before)
        tab.goto(address)
        if ready:
            tab.evaluate("edgemotion.ready")
        yield tab
        context.close()


def until(tab: Any, condition: str) -> None:
    """Wait for a JavaScript condition; the page's own policy forbids the evaluation that wait_for_function needs."""
    end = time.monotonic() + PATIENCE / 1000
    while not tab.evaluate(condition):
        assert time.monotonic() < end, condition
        tab.wait_for_timeout(100)


def ask(tab: Any, kind: str, content: bytes, mime: str = "image/png") -> Any:
    """What window.edgemotion answers for an image file; pixels come as a flat array."""
    answer = tab.evaluate(
        """async ([kind, bytes, type]) => {
          const file = new File([new Uint8Array(bytes)], 'file', { type });
          const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
          return JSON.stringify(await edgemotion[kind](file), plain);
        }""",
        [kind, list(content), mime],
    )
    return json.loads(answer)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def check_answer(answer: Any, classifier: Classifier, crop: np.ndarray) -> None:
    variant = classifier.variant
    pixels = fit(crop, variant.height, variant.width, variant.channels)
    assert np.array_equal(np.array(answer["pixels"], np.uint8).reshape(pixels.shape), pixels), crop.shape
    prediction = classifier.predict(crop)
    assert answer["label"] == prediction.label
    found = answer["probabilities"]
    named = found if isinstance(found, dict) else dict(zip(variant.classes, found, strict=True))
    assert named == pytest.approx(prediction.probabilities, abs=SCORE_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("site", ["gray", "colour"])
def test_label_and_scores_equal_those_of_python(browser: Browser, site: str) -> None:
    folder = getattr(browser, site)
    classifier = Classifier(folder / "models/fp32")
    rng = np.random.default_rng(1)
    with opened(browser, folder) as tab:
        tab.evaluate("edgemotion.choose('fp32')")
        for height, width in [*SIZES, (40, 40)]:
            colour = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
            for image in (colour, cv2.GaussianBlur(colour, (5, 5), 2), colour[:, :, 0]):
                check_answer(ask(tab, "classify", png(image)), classifier, image)
        assert tab.problems == []


@pytest.mark.slow
def test_the_fastest_model_is_taken_and_another_can_be_chosen(browser: Browser) -> None:
    with opened(browser, browser.gray) as tab:
        ready = tab.evaluate("edgemotion.ready")
        assert sorted(ready["times"]) == ["bright", "fp32"] and ready["threads"] >= 1
        assert ready["chosen"] == min(ready["times"], key=ready["times"].get) == tab.input_value("#models")
        assert tab.evaluate("crossOriginIsolated")
        image = np.full((48, 48, 3), 250, np.uint8)
        for name in ("bright", "fp32"):
            tab.select_option("#models", name)
            digest = sha256_file(browser.gray / "models" / name / "model.onnx")
            until(tab, f"document.querySelector('#digest').textContent === '{digest[:12]}'")
            check_answer(ask(tab, "classify", png(image)), Classifier(browser.gray / "models" / name), image)


@pytest.mark.slow
def test_the_camera_gives_what_python_gives_and_nothing_leaves(browser: Browser) -> None:
    if not FACES:
        pytest.skip("needs YuNet's file in EDGEMOTION_FACES")
    scene = cv2.imdecode(np.frombuffer(browser.frame, np.uint8), cv2.IMREAD_COLOR)
    (face,) = FaceFinder(FACES).find(scene)
    with opened(browser, browser.gray) as tab:
        for name in ("bright", "fp32"):
            tab.select_option("#models", name)
            expected = Classifier(browser.gray / "models" / name).predict(crop_face(scene, face.box, 1.0))
            tab.click("#camera")
            until(tab, "/[0-9]/.test(document.querySelector('#rate').textContent)")
            tab.wait_for_timeout(2500)
            assert tab.inner_text("#label") == expected.label
            assert tab.inner_text("#spoken").endswith(expected.label)
            # A camera's colours come through another conversion, so scores are near and not equal.
            shown = {row.split("\n")[0]: row for row in tab.locator("#bars li").all_inner_texts()}
            share = int(re.findall(r"(\d+) %", shown[expected.label])[0]) / 100
            assert share == pytest.approx(expected.probabilities[expected.label], abs=0.08)
            tab.click("#stop")
            assert tab.inner_text("#label") == NOTHING
        assert not tab.is_visible("#error") and tab.problems == []
        # Those of the worker are among them.
        assert f"{tab.address}models/fp32/model.onnx" in tab.requests
        assert [url for url in tab.requests if not url.startswith((tab.address, "blob:", "data:"))] == []


@pytest.mark.slow
def test_faces_of_a_scene_equal_those_of_python(browser: Browser) -> None:
    if not FACES:
        pytest.skip("needs YuNet's file in EDGEMOTION_FACES")
    finder, classifier = FaceFinder(FACES), Classifier(browser.gray / "models/fp32")
    one = person()
    scenes = [one, cv2.resize(np.hstack([one, one]), (700, 280), interpolation=cv2.INTER_AREA), one[:, 130:510, 0]]
    with opened(browser, browser.gray) as tab:
        tab.evaluate("edgemotion.choose('fp32')")
        for scene in scenes:
            faces = finder.find(scene)
            answers = ask(tab, "look", png(scene))["faces"]
            assert len(answers) == len(faces) > 0
            for answer, face in zip(answers, faces, strict=True):
                assert answer["box"] == pytest.approx(face.box, abs=0.05)
                assert answer["score"] == pytest.approx(face.score, abs=1e-4)
                check_answer(answer, classifier, crop_face(scene, face.box, 1.0))
        assert ask(tab, "look", png(np.full((90, 120, 3), 128, np.uint8)))["faces"] == []


@pytest.mark.slow
def test_without_a_face_detector_the_middle_is_read(browser: Browser) -> None:
    scene = np.random.default_rng(2).integers(0, 256, (90, 131, 3)).astype(np.uint8)
    with opened(browser, browser.colour) as tab:
        assert tab.is_visible("#framing")
        (answer,) = ask(tab, "look", png(scene))["faces"]
        assert answer["box"] == [20, 0, 110, 90]
        check_answer(answer, Classifier(browser.colour / "models/fp32"), scene[:, 20:110])


@pytest.mark.slow
def test_a_changed_model_is_refused(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(browser.colour, folder)
    model = folder / "models/fp32/model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    with opened(browser, folder, ready=False) as tab:
        tab.wait_for_selector("#error:visible")
        message = tab.inner_text("#error")
        assert message.startswith("models/fp32/model.onnx has the SHA-256 " + sha256_file(model)[:12])
        assert "damaged or replaced" in message
        assert tab.is_disabled("#camera") and tab.is_disabled("#open")
        refused = "edgemotion.classify(new Blob()).then(() => '', (error) => error.message)"
        assert tab.evaluate(refused) == message


@pytest.mark.slow
def test_files_are_read_or_refused(browser: Browser, tmp_path: Path) -> None:
    image, video, text = (tmp_path / name for name in ("bright.png", "dark.webm", "notes.png"))
    image.write_bytes(png(np.full((60, 60, 3), 250, np.uint8)))
    text.write_text("no image")
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"VP80"), 10, (64, 64))
    for _ in range(20):
        writer.write(np.full((64, 64, 3), 5, np.uint8))
    writer.release()
    folder = tmp_path / "site"
    shutil.copytree(browser.colour, folder)
    with opened(browser, folder) as tab:
        expected = Classifier(folder / "models/fp32").predict(cv2.imread(str(image)))
        tab.set_input_files("#file", image)
        until(tab, "document.querySelector('#percent').textContent !== ''")
        assert tab.inner_text("#label") == expected.label
        uncertain = expected.probabilities[expected.label] < 0.6
        assert tab.inner_text("#doubt") == ("uncertain" if uncertain else "")
        tab.set_input_files("#file", text)
        tab.wait_for_selector("#error:visible")
        assert tab.inner_text("#error") == "notes.png is no image or video that this browser can read."
        assert tab.inner_text("#label") == NOTHING
        if video.is_file() and video.stat().st_size:
            tab.set_input_files("#file", video)
            until(tab, "/[0-9]/.test(document.querySelector('#rate').textContent)")
            assert tab.is_visible("#video") and not tab.is_visible("#error")
            assert tab.inner_text("#label") in CLASSES
        assert tab.problems == []


@pytest.mark.slow
def test_every_still_image_is_announced(browser: Browser, tmp_path: Path) -> None:
    classifier, rng = Classifier(browser.colour / "models/fp32"), np.random.default_rng(2)
    images: dict[str, Path] = {}
    while len(images) < 2:
        image = rng.integers(0, 256, (6, 6, 3), np.uint8).repeat(10, 0).repeat(10, 1)
        found = classifier.predict(image)
        doubt = "uncertain, " if found.probabilities[found.label] < 0.6 else ""
        path = tmp_path / f"{found.label}.png"
        cv2.imwrite(str(path), image)
        images[doubt + found.label] = path
    with opened(browser, browser.colour) as tab:
        tab.evaluate("edgemotion.choose('fp32')")
        for spoken, path in images.items():
            tab.set_input_files("#file", path)
            until(tab, f"document.querySelector('#spoken').textContent === '{spoken}'")
            # Longer than between two announcements, so that the next image is not the first after a pause.
            tab.wait_for_timeout(2000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NotAllowedError", "The camera was refused"),
        ("NotFoundError", "There is no camera here"),
        ("OverconstrainedError", "There is no camera here"),
    ],
)
def test_a_camera_that_is_not_given_is_one_sentence(browser: Browser, name: str, message: str) -> None:
    refuse = f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{name}'));"
    with opened(browser, browser.colour, before=refuse) as tab:
        tab.click("#camera")
        tab.wait_for_selector("#error:visible")
        assert tab.inner_text("#error").startswith(message)


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_does_not_scroll_sideways(browser: Browser, tmp_path: Path, width: int) -> None:
    image = tmp_path / "scene.png"
    image.write_bytes(png(person()))
    with opened(browser, browser.gray, viewport={"width": width, "height": 844}) as tab:
        tab.set_input_files("#file", image)
        until(tab, "document.querySelector('#percent').textContent !== ''")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        # Nothing that is touched is smaller than a finger.
        small = "[...document.querySelectorAll('button, select, .switch')].filter((e) => e.offsetHeight < 44)"
        assert tab.evaluate(f"{small}.filter((e) => !e.hidden).length") == 0
