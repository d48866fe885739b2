"""Faces: what an action unit moves, what a seed fixes, what a stream shows."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemotion.datasets.canvas import SIZE, View, sample_view
from edgemotion.datasets.facs import (
    ACTION_UNITS,
    EMOTIONS,
    NEUTRAL_BELOW,
    Identity,
    landmarks,
    sample_distraction,
    sample_expression,
    sample_identity,
)
from edgemotion.datasets.rendering import plan_expressions, render, render_stream
from edgemotion.errors import EdgemotionError

# Facing the camera in flat light, without blur or noise: pixels differ by the expression alone.
STUDIO = View(
    roll=0, yaw=0, pitch=0, scale=0.48, shift_x=0, shift_y=-0.07, gaze=0, light_angle=0, light_slope=0, gain=1,
    gamma=1, background=120, background_slope=0, blur=0, noise=0, hand=0,
)  # fmt: skip


def person(seed: int = 0, **changes: float) -> Identity:
    plain = {"asymmetry": 0.0, "glasses": 0.0, "fringe": 0.0, "beard": 0.0} | changes
    return dataclasses.replace(sample_identity(np.random.default_rng(seed)), **plain)


def photograph(identity: Identity, units: dict[int, float], seed: int = 0) -> np.ndarray:
    return render(identity, units, STUDIO, rng=np.random.default_rng(seed))


def moved(unit: int, curve: str, point: int) -> np.ndarray:
    """How far a landmark of a person moves by a full action unit: x to the right, y down."""
    return landmarks(person(), {unit: 1.0})[curve][point] - landmarks(person(), {})[curve][point]


@pytest.mark.parametrize(
    ("unit", "curve", "point", "axis", "sign"),
    [
        (1, "left_brow", 0, 1, -1),  # inner end up
        (2, "left_brow", -1, 1, -1),  # outer end up
        (4, "right_brow", 0, 1, 1),  # inner end down
        (4, "right_brow", 0, 0, -1),  # and towards the nose
        (5, "left_upper_lid", 6, 1, -1),
        (7, "left_lower_lid", 6, 1, -1),
        (43, "left_upper_lid", 6, 1, 1),
        (9, "nose", 0, 1, -1),
        (10, "lip_top", 6, 1, -1),
        (12, "lip_top", 0, 1, -1),  # left corner up
        (12, "lip_top", 0, 0, -1),  # and outwards
        (15, "lip_top", -1, 1, 1),
        (20, "lip_top", -1, 0, 1),
        (23, "lip_top", -1, 0, -1),
        (25, "lip_lower_edge", 6, 1, 1),
        (26, "chin", 0, 1, 1),
        (27, "chin", 0, 1, 1),
    ],
)
def test_action_unit_moves_its_landmark_as_facs_says(unit: int, curve: str, point: int, axis: int, sign: int) -> None:
    assert sign * moved(unit, curve, point)[axis] > 0.01


@pytest.mark.parametrize("unit", [1, 2, 4])
def test_brow_units_leave_the_mouth_alone(unit: int) -> None:
    before, after = landmarks(person(), {}), landmarks(person(), {unit: 1.0})
    for curve in ("lip_top", "lip_bottom", "chin"):
        np.testing.assert_array_equal(before[curve], after[curve])


@pytest.mark.parametrize(
    ("unit", "upper_half"), [(1, True), (2, True), (4, True), (12, False), (15, False), (27, False)]
)
def test_pixels_change_where_the_muscle_is(unit: int, upper_half: bool) -> None:
    for seed in range(5):
        before, after = photograph(person(seed), {}).astype(int), photograph(person(seed), {unit: 1.0}).astype(int)
        change = np.abs(after - before)
        top, bottom = change[: SIZE // 2].sum(), change[SIZE // 2 :].sum()
        assert (top > 5 * bottom) == upper_half and (bottom > 5 * top) == (not upper_half), (seed, top, bottom)


def test_smile_bends_the_dark_line_between_the_lips_upwards() -> None:
    def corner_below_middle(units: dict[int, float]) -> float:
        """Rows by which the darkest pixels right of the middle lie below those in the middle."""
        mouth = photograph(person(mouth_curve=0.0), units)[28:39].astype(int)
        return float(mouth[:, 28:30].sum(1).argmin() - mouth[:, 23:25].sum(1).argmin())

    assert corner_below_middle({12: 1.0}) < corner_below_middle({}) < corner_below_middle({15: 1.0})


def test_open_mouth_is_darker_than_a_closed_one() -> None:
    mouth = (slice(32, 44), slice(18, 30))
    assert photograph(person(), {26: 1, 27: 1})[mouth].mean() < photograph(person(), {})[mouth].mean() - 20


@pytest.mark.parametrize(
    "field", [*dataclasses.fields(View), *dataclasses.fields(Identity)], ids=lambda field: field.name
)
def test_everything_that_is_drawn_by_lot_is_seen(field: dataclasses.Field[float]) -> None:
    def drawn(value: float) -> np.ndarray:
        # The angle of the light is seen where it falls off.
        view, identity = dataclasses.replace(STUDIO, light_slope=0.2), person()
        if field in dataclasses.fields(View):
            view = dataclasses.replace(view, **{field.name: value})
        else:
            identity = dataclasses.replace(identity, **{field.name: value})
        return render(identity, {12: 0.5}, view, rng=np.random.default_rng(0)).astype(int)

    low, high = field.metadata["span"]
    middle = drawn((low + high) / 2)
    assert max(np.abs(drawn(end) - middle).max() for end in (low, high)) > 3


@given(
    seed=st.integers(0, 2**32),
    units=st.dictionaries(st.sampled_from(sorted(ACTION_UNITS)), st.floats(0, 1), max_size=len(ACTION_UNITS)),
)
def test_any_face_with_any_action_units_is_drawn(seed: int, units: dict[int, float]) -> None:
    rng = np.random.default_rng(seed)
    identity = sample_identity(rng)
    image = render(identity, units, sample_view(rng), rng=rng)
    assert image.shape == (SIZE, SIZE) and image.dtype == np.uint8 and image.std() > 3
    shapes = landmarks(identity, units)
    assert (shapes["lip_lower_edge"][:, 1] >= shapes["lip_upper_edge"][:, 1] - 1e-9).all(), "lips cross"
    for side in ("left", "right"):
        assert (shapes[f"{side}_lower_lid"][:, 1] >= shapes[f"{side}_upper_lid"][:, 1] - 1e-9).all(), "lids cross"


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({3: 0.5}, "action unit 3 "),
        ({12: 1.01}, "12 has the intensity 1.01"),
        ({12: -0.1}, "-0.1"),
        ({12: float("nan")}, "nan"),
    ],
)
def test_bad_action_units_are_named(units: dict[int, float], message: str) -> None:
    with pytest.raises(EdgemotionError, match=message):
        photograph(person(), units)


def test_same_rng_same_pixels_and_noise_is_fresh() -> None:
    view = dataclasses.replace(STUDIO, noise=5.0)
    first, again, other = (render(person(), {12: 0.7}, view, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    # Two independent noises of 5 gray levels differ by 5 * sqrt(2) = 7.07; a little is lost where pixels saturate.
    assert 6 < (first.astype(float) - other).std() < 7.5


@given(st.sampled_from(sorted(EMOTIONS)), st.floats(NEUTRAL_BELOW, 1), st.integers(0, 1000))
def test_expressions_use_one_prototype_near_the_intensity(emotion: str, intensity: float, seed: int) -> None:
    units = sample_expression(emotion, intensity, np.random.default_rng(seed))
    assert tuple(units) in EMOTIONS[emotion]
    assert all(0.75 * intensity <= value <= min(1, 1.25 * intensity) for value in units.values())


def test_prototypes_are_known_and_belong_to_one_emotion() -> None:
    prototypes = [frozenset(units) for prototypes in EMOTIONS.values() for units in prototypes]
    assert len(prototypes) == len(set(prototypes))
    assert set().union(*prototypes) <= set(ACTION_UNITS)


def test_distractions_stay_below_the_neutral_threshold() -> None:
    rng = np.random.default_rng(0)
    drawn = [value for _ in range(500) for value in sample_distraction(rng).values()]
    assert len(drawn) > 100 and min(drawn) > 0 and max(drawn) < NEUTRAL_BELOW


def test_stream_label_follows_the_threshold() -> None:
    _, labels = render_stream(np.random.default_rng(3), 300, dwell=12)
    sampled = np.random.default_rng(3)
    sample_identity(sampled)
    for label, (emotion, peak, _, share) in zip(labels, plan_expressions(sampled, 300, 12), strict=True):
        assert label == (emotion if peak * share >= 0.25 else "neutral")
    assert len(set(labels)) >= 5 and "neutral" in labels


def test_stream_moves_smoothly_and_is_deterministic() -> None:
    images, labels = render_stream(np.random.default_rng(5), 120)
    again, _ = render_stream(np.random.default_rng(5), 120)
    np.testing.assert_array_equal(images, again)
    assert images.shape == (120, SIZE, SIZE) and images.dtype == np.uint8 and len(labels) == 120
    steps = np.abs(np.diff(images.astype(float), axis=0)).mean((1, 2))
    apart = np.abs(images[:60].astype(float) - images[60:]).mean()
    assert steps.max() < apart and steps.min() > 0


def test_empty_stream_is_an_empty_array() -> None:
    images, labels = render_stream(np.random.default_rng(0), 0)
    assert images.shape == (0, SIZE, SIZE) and labels == []
