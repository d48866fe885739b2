"""A face, the action units of its muscles and a view in; a 48x48 gray image out, drawn procedurally.

The face is that of facs.py, after Ekman and Friesen; it is drawn at three times the size, lit and shrunk.
"""

import math
from collections.abc import Mapping
from dataclasses import fields

import cv2
import numpy as np

from edgemotion.datasets.canvas import SIZE, Canvas, View, level, oval, sample_view
from edgemotion.datasets.facs import (
    EMOTIONS,
    NEUTRAL_BELOW,
    Identity,
    bend,
    intensities,
    landmarks,
    sample_distraction,
    sample_expression,
    sample_identity,
    strongest,
)


def render(
    identity: Identity, action_units: Mapping[int, float], view: View, *, rng: np.random.Generator
) -> np.ndarray:
    """Draw a face as uint8 [48,48]; `rng` gives the sensor noise only.

    `action_units` maps keys of ACTION_UNITS to intensities in 0..1; others raise EdgemotionError.
    """
    au = intensities(action_units)
    shapes = landmarks(identity, action_units)
    canvas = Canvas(view)
    draw_head(canvas, identity, shapes)
    draw_folds(canvas, identity, shapes, au)
    for side in ("left", "right"):
        draw_eye(canvas, identity, shapes[f"{side}_upper_lid"], shapes[f"{side}_lower_lid"])
        draw_brow(canvas, identity, shapes[f"{side}_brow"])
    draw_nose(canvas, identity, shapes["nose"])
    draw_mouth(canvas, identity, shapes)
    draw_cover(canvas, identity)
    return expose(canvas.image, view, rng)


def draw_head(canvas: Canvas, identity: Identity, shapes: dict[str, np.ndarray]) -> None:
    """Hair, neck and the outline of the face, which the chin lengthens."""
    width, chin = identity.face_width, shapes["chin"][0, 1]
    canvas.fill(np.array([(-0.4, 0.6), (0.4, 0.6), (0.5, 1.6), (-0.5, 1.6)]), 0.72 * identity.skin)
    canvas.fill(oval(0, -0.32, width + 0.1, 0.85), identity.hair)
    for side in (-1, 1):
        canvas.fill(oval(side * width, identity.eye_y + 0.12, 0.08, 0.17), 0.85 * identity.skin)
    half = [(width * 0.92, -0.55), (width, -0.15), (width * 0.97, 0.2), (width * (0.55 + 0.45 * identity.jaw), 0.55)]
    half += [(width * 0.62 * identity.jaw + 0.05, 0.5 + 0.8 * (chin - 0.5)), (0.15, chin)]
    outline = np.array([*half, *((-x, y) for x, y in reversed(half)), (-width * 0.7, -0.85), (width * 0.7, -0.85)])
    canvas.fill(outline, identity.skin)
    if identity.beard > 0.75:
        lower = [(x, max(identity.mouth_y - 0.12, y)) for x, y in half if y > 0.1]
        canvas.fill(np.array([*lower, *((-x, y) for x, y in reversed(lower))]), 0.78 * identity.skin)
    canvas.fold(outline[:10], 26, 0.12)
    temple = width + 0.1
    front = bend((temple, -0.32), (0, identity.hairline), (-temple, -0.32))
    canvas.fill(np.vstack([oval(0, -0.32, temple, 0.85)[16:], front]), identity.hair)


def draw_folds(canvas: Canvas, identity: Identity, shapes: dict[str, np.ndarray], au: np.ndarray) -> None:
    """The furrows and bulges that FACS lists for each action unit, deeper on older skin."""
    skin = identity.wrinkles * identity.skin / 160
    y_eye = identity.eye_y
    brow = y_eye - identity.brow_height
    for row in range(3):
        y = brow - 0.16 - 0.07 * row
        canvas.fold(bend((-0.4, y), (0, y - 0.03), (0.4, y)), skin * 42 * au[2])
        canvas.fold(bend((-0.2, y + 0.03), (0, y), (0.2, y + 0.03)), skin * 42 * max(0, au[1] - au[2]))
    for mirror, lip_end in ((np.array([-1, 1]), 0), (np.array([1, 1]), -1)):
        wing, corner = shapes["nose"][lip_end], shapes["lip_top"][lip_end]
        frown = [(0.05, brow + 0.02), (0.04, brow + 0.12), (0.05, y_eye - 0.02)]
        canvas.fold(bend(*(mirror * point for point in frown)), skin * 60 * au[4], 0.03)
        for row in range(3):
            bridge = np.array([(0.02, y_eye + 0.02 + 0.06 * row), (0.13, y_eye - 0.02 + 0.07 * row)])
            canvas.fold(mirror * bridge, skin * 60 * au[9])
        outer = identity.eye_gap + identity.eye_width
        for turn in (-0.06, 0.0, 0.06):
            crow = np.array([(outer + 0.03, y_eye), (outer + 0.14, y_eye + turn)])
            canvas.fold(mirror * crow, skin * 55 * au[6])
        low = y_eye + 0.11 - 0.02 * au[6]
        bag = [(0.2, low - 0.02), (identity.eye_gap, low + 0.03), (outer, low - 0.02)]
        canvas.fold(bend(*(mirror * point for point in bag)), skin * (8 + 45 * max(au[6], 0.6 * au[7])))
        cheek = max(0.9 * au[12], au[9], 0.8 * au[10], 0.6 * au[6], 0.4 * au[15])
        beside = bend(wing, (wing + corner) / 2 + mirror * (0.07, -0.02), corner + mirror * (0.07, 0.03))
        canvas.fold(beside, skin * (6 + 50 * cheek), 0.03)
        below = bend(*(corner + mirror * step for step in ((0.02, 0), (0.05, 0.06), (0.03, 0.14))))
        canvas.fold(below, skin * 45 * au[15])
        stretch = bend(*(corner + mirror * step for step in ((0.06, -0.08), (0.09, 0), (0.06, 0.1))))
        canvas.fold(stretch, skin * 40 * au[20])
    bottom = shapes["lip_bottom"][6, 1]
    chin = bend((-0.16, bottom + 0.09), (0, bottom + 0.04), (0.16, bottom + 0.09))
    canvas.fold(chin, skin * (10 + 55 * au[17]), 0.04)
    canvas.fold(shapes["lip_top"] - (0, 0.05), skin * 30 * max(au[23], au[24]))
    canvas.sink_folds()


def draw_eye(canvas: Canvas, identity: Identity, upper: np.ndarray, lower: np.ndarray) -> None:
    """The eye between its lids: sclera, iris, lashes and the fold of the upper lid."""
    outline = np.vstack([upper, lower[::-1]])
    canvas.fill(outline, 0.4 * identity.skin + 130)
    inside = np.zeros_like(canvas.image)
    cv2.fillPoly(inside, [canvas.place(outline)], 255, shift=4)
    middle = (upper[0, 0] + upper[-1, 0]) / 2 + canvas.view.gaze * identity.eye_width
    x, y = canvas.place(np.array([(middle, identity.eye_y - 0.005)]))[0, 0].tolist()
    radius = round(canvas.length(0.95 * identity.eye_height) * 16)
    open_eye = canvas.image.copy()
    cv2.circle(open_eye, (x, y), radius, level(identity.iris), cv2.FILLED, cv2.LINE_AA, shift=4)
    np.copyto(canvas.image, open_eye, where=inside > 0)
    canvas.stroke(upper, 0.25 * identity.skin, 0.025)
    canvas.stroke(lower, 0.68 * identity.skin, 0.012)
    canvas.stroke(upper - (0, 0.05), 0.8 * identity.skin, 0.012)


def draw_brow(canvas: Canvas, identity: Identity, curve: np.ndarray) -> None:
    """A brow as thick at its inner end as the identity has it, thinner outside."""
    taper = identity.brow_thickness * np.linspace(0.5, 0.2, len(curve))[:, None] * (0, 1)
    canvas.fill(np.vstack([curve - taper, (curve + taper)[::-1]]), min(identity.hair, 0.6 * identity.skin))


def draw_nose(canvas: Canvas, identity: Identity, wings: np.ndarray) -> None:
    """The shadow beside the bridge, the wings and the nostrils."""
    (left, y), (right, _) = wings
    canvas.fold(bend((0.05, identity.eye_y), (0.07, y - 0.2), (right, y - 0.02)), 22, 0.04, lift=0.12)
    canvas.fold(bend((left, y - 0.05), (0, y + 0.05), (right, y - 0.05)), 45, 0.035, lift=0.15)
    canvas.sink_folds()
    for x in (0.5 * left, 0.5 * right):
        canvas.fill(oval(x, y - 0.01, 0.035, 0.02), 0.35 * identity.skin, lift=0.18)


def draw_mouth(canvas: Canvas, identity: Identity, shapes: dict[str, np.ndarray]) -> None:
    """The lips, and between them the dark of an open mouth with the upper teeth."""
    top, upper, lower, bottom = (shapes[f"lip_{name}"] for name in ("top", "upper_edge", "lower_edge", "bottom"))
    canvas.fill(np.vstack([top, bottom[::-1]]), identity.skin - identity.lip_tone)
    gap = lower[6, 1] - upper[6, 1]
    if gap > 0.01:
        canvas.fill(np.vstack([upper, lower[::-1]]), 0.2 * identity.skin)
        teeth = upper + (lower - upper) * min(0.85, 0.09 / gap)
        canvas.fill(np.vstack([upper[2:-2], teeth[2:-2][::-1]]), 0.35 * identity.skin + 130)
    canvas.stroke(upper, 0.38 * identity.skin, 0.02)


def draw_cover(canvas: Canvas, identity: Identity) -> None:
    """What hides a part of the face: glasses, a fringe, a hand."""
    if identity.glasses > 0.8:
        for side in (-1, 1):
            lens = oval(side * identity.eye_gap, identity.eye_y + 0.03, identity.eye_width + 0.07, 0.17)
            canvas.stroke(lens, 0.6 * identity.hair, 0.03, lift=0.05, closed=True)
        inner = identity.eye_gap - identity.eye_width - 0.07
        canvas.stroke(
            np.array([(-inner, identity.eye_y), (inner, identity.eye_y)]), 0.6 * identity.hair, 0.03, lift=0.05
        )
    if identity.fringe > 0.8:
        y = identity.eye_y - identity.brow_height + 0.25 * (identity.fringe - 0.8)
        lock = bend((-0.6, y + 0.04), (0.1, y - 0.12), (0.65, y - 0.02))
        canvas.fill(np.vstack([lock, [(0.6, -0.95), (-0.6, -0.95)]]), identity.hair)
    if abs(canvas.view.hand) > 0.9:
        reach = (abs(canvas.view.hand) - 0.9) / 0.1
        hand = oval(math.copysign(1.0 - 0.45 * reach, canvas.view.hand), 0.75, 0.32, 0.5)
        canvas.fill(hand, 0.9 * identity.skin, lift=0.2)


def expose(image: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """Light, shrink, blur and record a canvas as uint8 [48,48] with fresh sensor noise."""
    small = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    small = cv2.LUT(small, np.rint(255 * np.linspace(0, 1, 256) ** view.gamma).astype(np.uint8))
    if view.blur > 0.1:
        small = cv2.GaussianBlur(small, (5, 5), view.blur)
    axis = np.linspace(-1, 1, SIZE)
    angle = math.radians(view.light_angle)
    light = view.gain * (1 + view.light_slope * (math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]))
    noisy = small * light + rng.normal(0, view.noise, small.shape)
    return np.rint(noisy.clip(0, 255)).astype(np.uint8)


def mix(first: View, second: View, share: float) -> View:
    """The view between two, all fields moved linearly."""
    ends = ((getattr(first, entry.name), getattr(second, entry.name)) for entry in fields(View))
    return View(*((1 - share) * start + share * end for start, end in ends))


def render_stream(rng: np.random.Generator, frames: int, dwell: int = 30) -> tuple[np.ndarray, list[str]]:
    """Film one person through changing emotions: images uint8 [F,48,48] and a label a frame.

    An apex lasts about `dwell` frames, onset and offset 3 to 8. Pose and lighting move smoothly, eyes blink, sensor
    noise is fresh in each frame. A frame whose intensity is below NEUTRAL_BELOW is labelled neutral.
    """
    identity = sample_identity(rng)
    plan = plan_expressions(rng, frames, dwell)
    period = 3 * dwell
    after = sample_view(rng)
    images: list[np.ndarray] = []
    labels: list[str] = []
    for frame, (emotion, peak, units, share) in enumerate(plan):
        phase = frame % period / period
        if phase == 0:
            before, after = after, sample_view(rng)
            distraction = sample_distraction(rng)
            blink = int(rng.integers(period))
        swell = math.sin(math.pi * phase) ** 2
        shown = strongest(
            {unit: share * intensity for unit, intensity in units.items()},
            {unit: swell * intensity for unit, intensity in distraction.items()},
            {43: 0.9} if frame % period in (blink, blink + 1) else {},
        )
        images.append(render(identity, shown, mix(before, after, ease(phase)), rng=rng))
        labels.append(emotion if share * peak >= NEUTRAL_BELOW else "neutral")
    return np.array(images, np.uint8).reshape(-1, SIZE, SIZE), labels


def plan_expressions(
    rng: np.random.Generator, frames: int, dwell: int
) -> list[tuple[str, float, dict[int, float], float]]:
    """Emotion, peak intensity, action units at the peak and the share of it in 0..1, for each frame."""
    plan: list[tuple[str, float, dict[int, float], float]] = []
    order: list[str] = []
    while len(plan) < frames:
        order = order or rng.permutation([name for name in EMOTIONS if name != "neutral"]).tolist()
        emotion, peak = order.pop(), float(rng.uniform(0.4, 1))
        units = sample_expression(emotion, peak, rng)
        rest, apex = rng.integers(dwell // 4, 1 + 3 * dwell // 4), rng.integers(dwell // 2, 1 + 3 * dwell // 2)
        onset, offset = (int(length) for length in rng.integers(3, 9, size=2))
        rise, fall = ([ease(step / (length + 1)) for step in range(1, length + 1)] for length in (onset, offset))
        shares = [0.0] * int(rest) + rise + [1.0] * int(apex) + fall[::-1]
        plan += [(emotion, peak, units, share) for share in shares]
    return plan[:frames]


def ease(share: float) -> float:
    """A smooth step from 0 to 1 that starts and ends at rest."""
    return 0.5 - 0.5 * math.cos(math.pi * share)
