from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemotion.camera.overlay import Shown, draw

CLASSES = ["angry", "happy", "surprise"]
BOX = (200.0, 120.0, 360.0, 320.0)


def drawn(level: int, uncertain: bool = False, probabilities: tuple[float, ...] = (0.1, 0.8, 0.1)) -> np.ndarray:
    image = np.full((480, 640, 3), level, np.uint8)
    draw(image, [Shown(BOX, np.array(probabilities), uncertain)], CLASSES, "30 FPS")
    return image


@pytest.mark.parametrize("level", [0, 128, 255])
def test_text_stands_out_on_any_scene(level: int) -> None:
    """Above the box and beside it there are pixels as far apart as white text on a dark panel."""
    image = drawn(level).astype(int)
    for part in (image[82:114, 200:330], image[120:190, 370:480], image[446:472, 8:70]):
        assert part.max() - part.min() > 150


def test_an_uncertain_label_looks_different_without_colours() -> None:
    sure, unsure = (cv2.cvtColor(drawn(200, uncertain), cv2.COLOR_BGR2GRAY) for uncertain in (False, True))
    # Of the box only the corners are left.
    assert (sure[220, 195:205] != 200).any() and (unsure[220, 195:205] == 200).all()
    assert (unsure[120:130, 195:205] != 200).any()


def test_a_label_tells_how_sure_it_is_and_the_first_face_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(cv2, "putText", lambda image, text, *rest: written.append(text))
    faces = [Shown(BOX, np.array([0.1, 0.8, 0.1]), False), Shown((20, 120, 60, 160), np.array([0.4, 0.3, 0.3]), True)]
    draw(np.zeros((480, 640, 3), np.uint8), faces, CLASSES, "30 FPS")
    assert sorted(written) == sorted(["happy", "80%", *CLASSES, "angry?", "40%", "30 FPS"])


def test_bars_are_as_long_as_the_probabilities() -> None:
    image = drawn(0, probabilities=(0.25, 0.75, 0.0))
    lengths = [(image[120 + 20 * row + 14, 370:600].max(axis=1) > 150).sum() for row in range(3)]
    # Names stand left of the bars, so only differences tell.
    assert 70 <= lengths[1] + 84 * 0.25 <= 120 or lengths[1] > lengths[0]
    assert lengths[1] > lengths[2]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(-200, 900), st.floats(-200, 900), st.floats(-200, 900), st.floats(-200, 900)),
    st.booleans(),
    st.sampled_from([(12, 16), (120, 160), (480, 640), (200, 1000)]),
)
def test_any_box_on_any_frame_can_be_drawn(
    box: tuple[float, float, float, float], uncertain: bool, size: tuple[int, int]
) -> None:
    image = np.zeros((*size, 3), np.uint8)
    draw(image, [Shown(box, np.array([0.2, 0.5, 0.3]), uncertain)] * 2, CLASSES, "")
    assert image.shape == (*size, 3)


def test_no_face_leaves_the_scene_as_it_is(tmp_path: Path) -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    draw(image, [], CLASSES, "30 FPS")
    assert (image[:440] == 90).all() and (image[440:] != 90).any()
