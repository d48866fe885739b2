"""The mean over an image and its mirror image, computed outside of the graph, on a float and on an int8 parent."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from scipy.special import softmax

from edgemotion import registry
from edgemotion.compression.onnx_file import run_model
from edgemotion.compression.quantization import Job, Quantized
from edgemotion.errors import EdgemotionError
from edgemotion.runtime.variant import Variant

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))


def flipped(job: Job, shift: int = 0) -> Quantized:
    return registry.call("quantize", "flip", job, args={"shift": shift})  # type: ignore[no-any-return]


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """The image moved by some pixels, its edges repeated."""
    height, width = image.shape[:2]
    rows, columns = (np.clip(np.arange(size) - by, 0, size - 1) for size, by in ((height, down), (width, right)))
    return image[rows][:, columns]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("float")
    return given.job_of(given.network_of(), folder, given.split_of(300, 0), given.split_of(60, 1))  # type: ignore[no-any-return]


@pytest.fixture(params=["float", "int8"])
def job(request: pytest.FixtureRequest, exported: Job, tmp_path: Path) -> Job:
    if request.param == "float":
        return exported
    model = registry.call("quantize", "dynamic", exported, args={"per_channel": True}).model
    onnx.save(model, tmp_path / "model.onnx")
    return replace(exported, parent=Variant(tmp_path, exported.parent.info))


@pytest.mark.parametrize("count", [1, 5])
def test_logits_are_the_mean_of_both_and_probabilities_follow(job: Job, count: int) -> None:
    images = given.patterned(count, seed=3)[0]
    model = onnx.load(job.parent.model_path)
    # One by one: dynamic quantization shares a range over a batch.
    expected = np.concatenate(
        [
            run_model(model, np.stack([image, image[:, ::-1]]), 1, ["logits"])[0].mean(0, keepdims=True)
            for image in images
        ]
    )
    batches = [run_model(flipped(job).model, image[None], 1, ["logits", "probabilities"]) for image in images]
    logits, probabilities = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(probabilities, softmax(expected, axis=1), atol=1e-6)


@pytest.mark.parametrize("shift", [1, 3])
def test_a_shift_adds_both_images_moved_to_each_corner(job: Job, shift: int) -> None:
    image = given.patterned(1, seed=3)[0][0][: job.parent.height]
    corners = [moved(image, down, right) for down in (shift, -shift) for right in (shift, -shift)]
    views = np.stack([turned for view in (image, *corners) for turned in (view, view[:, ::-1])])
    expected = run_model(onnx.load(job.parent.model_path), views, 1, ["logits"])[0].mean(0)
    found = flipped(job, shift)
    np.testing.assert_allclose(run_model(found.model, image[None], 1, ["logits"])[0][0], expected, atol=1e-5)
    onnx.checker.check_model(found.model, full_check=True)
    assert found.passes == len(views) == 10


def test_a_wide_image_is_moved_within_its_own_sides(exported: Job, tmp_path: Path) -> None:
    model = onnx.load(exported.parent.model_path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 10
    onnx.save(model, tmp_path / "model.onnx")
    size = exported.parent.info["input"] | {"height": 10}
    wide = Variant(tmp_path, exported.parent.info | {"input": size})
    test_a_shift_adds_both_images_moved_to_each_corner(replace(exported, parent=wide), 2)


def test_a_negative_shift_is_refused(exported: Job) -> None:
    with pytest.raises(EdgemotionError, match="shift is -1; it should be greater than or equal to 0"):
        flipped(exported, -1)


@pytest.mark.parametrize("shift", [0, 2])
def test_a_batch_is_answered_image_by_image(shift: int, exported: Job) -> None:
    images = given.patterned(6, seed=3)[0]
    whole = run_model(flipped(exported, shift).model, images, 1, ["logits"])[0]
    for number in range(6):
        one = run_model(flipped(exported, shift).model, images[number : number + 1], 1, ["logits"])[0]
        np.testing.assert_allclose(one, whole[number : number + 1], atol=1e-5)


def test_an_image_and_its_mirror_image_answer_alike(exported: Job) -> None:
    images = given.patterned(6, seed=3)[0]
    found = flipped(exported)
    first, second = (run_model(found.model, part, 1, ["logits"])[0] for part in (images, images[:, :, ::-1].copy()))
    np.testing.assert_allclose(first, second, atol=1e-5)
    onnx.checker.check_model(found.model, full_check=True)
    assert found.passes == 2


def test_a_detector_is_refused(exported: Job) -> None:
    detector = replace(exported, parent=Variant(exported.parent.folder, {**exported.parent.info, "task": "detect"}))
    with pytest.raises(EdgemotionError, match="fp32 is a detector; flip takes the mean of logits"):
        flipped(detector)
