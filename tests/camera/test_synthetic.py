import numpy as np
import pytest

from edgemotion.camera.synthetic import BACKGROUND, PLACE, Synthetic
from edgemotion.datasets.rendering import render_stream
from edgemotion.errors import EdgemotionError

SIZE = (160, 120)


@pytest.fixture(scope="module")
def source() -> Synthetic:
    return Synthetic(2, 6, seed=5, size=SIZE, live=False)


def test_equal_numbers_give_equal_frames_with_the_stream_s_truth(source: Synthetic) -> None:
    frames = list(source.frames())
    again = list(Synthetic(2, 6, seed=5, size=SIZE, live=False).frames())
    assert all((first.image == second.image).all() for first, second in zip(frames, again, strict=True))
    for stream in range(2):
        labels = render_stream(np.random.default_rng([5, PLACE, stream]), 6)[1]
        assert [frame.truth for frame in frames if frame.stream == stream] == labels
    assert [frame.number for frame in frames] == list(range(12))


def test_another_seed_shows_others(source: Synthetic) -> None:
    other = next(iter(Synthetic(1, 1, seed=6, size=SIZE, live=False).frames()))
    assert (other.image != next(iter(Synthetic(1, 1, seed=5, size=SIZE, live=False).frames())).image).any()


def test_the_face_moves_smoothly_over_a_plain_background(source: Synthetic) -> None:
    for before, after in zip(source.film[:5], source.film[1:6], strict=True):
        assert abs(after.left - before.left) <= 2 and abs(after.top - before.top) <= 2
        assert abs(len(after.face) - len(before.face)) <= 1
    for shot, frame in zip(source.film, Synthetic(2, 6, seed=5, size=SIZE, live=False).frames(), strict=True):
        image = frame.image.copy()
        image[shot.top : shot.top + len(shot.face), shot.left : shot.left + len(shot.face)] = BACKGROUND
        assert (image == BACKGROUND).all()
        assert 0.42 * 120 - 1 <= len(shot.face) <= 0.54 * 120
    assert source.film[0].left < source.film[6].left - 40


def test_it_is_paced_as_a_camera_is() -> None:
    frames = list(Synthetic(1, 5, seed=5, fps=50, size=SIZE).frames())
    steps = np.diff([frame.captured for frame in frames]) * 50
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert frames[-1].number == 4


@pytest.mark.parametrize("wrong", [{"streams": 0}, {"frames": -1}, {"fps": 0}, {"fps": np.inf}, {"seed": -1}])
def test_a_wrong_number_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(EdgemotionError, match=next(iter(wrong))):
        Synthetic(**{"streams": 1, "frames": 1, **wrong})  # type: ignore[arg-type]
