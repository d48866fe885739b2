import hashlib
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from edgemotion.datasets.images import decode, resize
from edgemotion.errors import EdgemotionError
from edgemotion.runtime import Classifier, open_session
from edgemotion.runtime.champion import SHIPPED
from edgemotion.runtime.classifier import fit


def plain(value: int, count: int = 1, channels: int = 1) -> np.ndarray:
    return np.full((count, 8, 8, channels), value, np.uint8)


def test_run_answers_what_the_graph_computes(variant_folder: Path) -> None:
    images = np.concatenate([plain(0), plain(127), plain(255)])
    logits, probabilities = Classifier(variant_folder).run(images)
    # The hand calculation of conftest.brightness_model, sharpness 20, centres 0, 0.5 and 1.
    means = np.array([0, 127, 255])[:, None] / 255
    centres = np.array([0, 0.5, 1])
    expected = 20 * (2 * centres * means - centres**2)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(
        probabilities, np.exp(expected) / np.exp(expected).sum(1, keepdims=True), rtol=1e-5, atol=1e-9
    )
    assert logits.dtype == probabilities.dtype == np.float32
    assert probabilities.argmax(1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_batches_change_nothing(variant_folder: Path, count: int) -> None:
    images = np.random.default_rng(0).integers(256, size=(count, 8, 8, 1), dtype=np.uint8)
    classifier = Classifier(variant_folder)
    whole, parts = classifier.run(images), classifier.run(images, batch_size=3)
    assert whole[0].shape == (count, 3)
    np.testing.assert_allclose(whole[0], parts[0], atol=1e-6)
    np.testing.assert_allclose(whole[1], parts[1], atol=1e-6)


def test_run_refuses_another_shape_or_dtype(variant_folder: Path) -> None:
    classifier = Classifier(variant_folder)
    for images in (np.zeros((1, 9, 8, 1), np.uint8), np.zeros((1, 8, 8, 1), np.float32), np.zeros((8, 8), np.uint8)):
        with pytest.raises(EdgemotionError, match=r"uint8 images \[N,8,8,1\]"):
            classifier.run(images)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3), (50, 31), (3, 5, 3)])
@pytest.mark.parametrize(("value", "label"), [(0, "dark"), (130, "middle"), (255, "bright")])
def test_predict_takes_any_size_and_colour(variant_folder: Path, shape: tuple, value: int, label: str) -> None:
    prediction = Classifier(variant_folder).predict(np.full(shape, value, np.uint8))
    assert prediction.label == label == max(prediction.probabilities, key=prediction.probabilities.__getitem__)
    assert list(prediction.probabilities) == ["dark", "middle", "bright"]
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)


def test_a_crop_is_gray_by_luma_and_shrunk_by_area(variant_folder: Path) -> None:
    crop = np.random.default_rng(1).integers(256, size=(40, 24, 3), dtype=np.uint8)
    # ITU-R BT.601 luma of BGR; an 8x8 cell is then the mean of its 5x3 pixels.
    luma = np.rint(crop @ np.array([0.114, 0.587, 0.299]))
    cells = luma.reshape(8, 5, 8, 3).mean(axis=(1, 3))
    classifier = Classifier(variant_folder)
    expected = classifier.run(np.rint(cells).astype(np.uint8)[None, :, :, None])[1][0]
    np.testing.assert_allclose(list(classifier.predict(crop).probabilities.values()), expected, atol=0.02)


def test_a_colour_variant_takes_gray_crops(tmp_path: Path, make_variant: Callable[..., Path]) -> None:
    classifier = Classifier(make_variant(tmp_path / "rgb", channels=3))
    assert classifier.predict(np.full((20, 20), 255, np.uint8)).label == "bright"
    assert classifier.predict(np.zeros((20, 20, 3), np.uint8)).label == "dark"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(30, 20), (5, 4), (8, 8), (4, 40)])
def test_a_crop_is_fitted_as_the_prepared_splits_are(channels: int, size: tuple) -> None:
    crop = np.random.default_rng(3).integers(256, size=(*size, 3), dtype=np.uint8)
    content = cv2.imencode(".png", crop)[1].tobytes()
    decoded = decode(content, channels)
    assert decoded is not None
    fitted = fit(crop, 8, 8, channels)
    # The PNG decoder's own gray conversion may round another way.
    assert np.abs(fitted.astype(int) - resize(decoded, 8, 8).astype(int)).max() <= 1


def test_predict_refuses_what_is_no_image(variant_folder: Path) -> None:
    classifier = Classifier(variant_folder)
    for image in (np.zeros((8, 8, 2), np.uint8), np.zeros((8, 8)), np.zeros((0, 8), np.uint8), np.zeros(8, np.uint8)):
        with pytest.raises(EdgemotionError, match="an image must be uint8"):
            classifier.predict(image)


def test_int8_answers_on_every_cpu_what_its_graph_says() -> None:
    """Without optimization ONNX Runtime computes a QDQ graph in float, which no instruction set changes."""
    model = SHIPPED / "model.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    images = np.random.default_rng(0).integers(256, size=(64, 48, 48, 1), dtype=np.uint8)
    expected = onnxruntime.InferenceSession(model, options).run(["probabilities"], {"images": images})[0]
    found = open_session(model).run(["probabilities"], {"images": images})[0]
    assert 0 < np.abs(found - expected).max() < 0.05


@pytest.mark.parametrize("entries", [{}, {"session.x64quantprecision": "1"}])
def test_a_session_is_told_what_the_cpu_needs(entries: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgemotion.runtime.classifier.exact_int8", lambda: entries)
    options = open_session(SHIPPED / "model.onnx").get_session_options()
    if entries:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"
    else:
        with pytest.raises(RuntimeError, match="does not have"):
            options.get_session_config_entry("session.x64quantprecision")


def test_threads_do_not_change_the_answer(variant_folder: Path) -> None:
    images = np.random.default_rng(2).integers(256, size=(20, 8, 8, 1), dtype=np.uint8)
    one, two = (
        Classifier(variant_folder, threads=1).run(images)[1],
        Classifier(variant_folder, threads=2).run(images)[1],
    )
    assert one.argmax(1).tolist() == two.argmax(1).tolist()


def test_a_file_that_is_no_model_is_one_line(variant_folder: Path) -> None:
    (variant_folder / "model.onnx").write_bytes(b"no model")
    info = json.loads((variant_folder / "model_info.json").read_text())
    info["sha256"] = hashlib.sha256(b"no model").hexdigest()
    (variant_folder / "model_info.json").write_text(json.dumps(info))
    for opening in (lambda: Classifier(variant_folder), lambda: open_session(variant_folder / "model.onnx")):
        with pytest.raises(EdgemotionError, match=r"model\.onnx does not load in ONNX Runtime") as caught:
            opening()
        assert "\n" not in str(caught.value)


def test_the_runtime_needs_three_packages_only(variant_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), np.full((20, 20), 255, np.uint8))
    script = f"""
        import sys
        from importlib.abc import MetaPathFinder

        # Ours, the three that the runtime declares, and what onnxruntime itself requires.
        ALLOWED = {{"edgemotion", "numpy", "onnxruntime", "cv2", "flatbuffers", "google", "packaging"}}

        class Refuse(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                top = name.partition(".")[0]
                if top not in ALLOWED and top not in sys.stdlib_module_names:
                    raise ModuleNotFoundError(f"refused {{name}}", name=name)

        sys.meta_path.insert(0, Refuse())
        for refused in ("yaml", "scipy", "omegaconf"):
            try:
                __import__(refused)
            except ModuleNotFoundError:
                continue
            sys.exit(f"the hook let {{refused}} pass")
        import cv2
        from edgemotion.runtime import Classifier, smooth
        classifier = Classifier({str(variant_folder)!r})
        print(classifier.predict(cv2.imread({str(picture)!r})).label)
        smooth(classifier.run(__import__("numpy").zeros((2, 8, 8, 1), "uint8"))[1], 0.001, 0.05)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "bright"), done.stderr
