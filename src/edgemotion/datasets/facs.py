"""An identity and the action units of its muscles in; the landmark curves of the face out.

Action units: P. Ekman and W. V. Friesen, Facial Action Coding System (1978); the combinations that make an
emotion follow their EMFACS. Shapes are in face units: x to the image's right, y down, half a face height is 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from edgemotion.errors import EdgemotionError

ACTION_UNITS = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
    43: "eye closure",
}

# The prototypes of an emotion: the action units that show it together.
EMOTIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "angry": ((4, 5, 7, 23), (4, 7, 17, 24), (4, 5, 7, 10, 23, 25)),
    "disgust": ((9, 15, 16), (9, 10, 17), (9, 10, 15, 16, 25)),
    "fear": ((1, 2, 4, 5, 20, 25), (1, 2, 4, 5, 20, 25, 26), (1, 2, 4, 5, 7, 20)),
    "happy": ((6, 12), (6, 12, 25), (12, 25), (6, 12, 25, 26)),
    "neutral": ((),),
    "sad": ((1, 4, 15), (1, 4, 15, 17), (1, 4, 7, 15)),
    "surprise": ((1, 2, 5, 25, 26), (1, 2, 5, 25, 27), (1, 2, 25, 26)),
}

# An expression weaker than this is labelled neutral; no image of another class is weaker.
NEUTRAL_BELOW = 0.25

# Of a quadratic Bezier curve at 13 places along it: what its three points count there.
ALONG = np.linspace(0, 1, 13)[:, None]
BERNSTEIN = ((1 - ALONG) ** 2, 2 * ALONG * (1 - ALONG), ALONG**2)

Sampled = TypeVar("Sampled")


def span(low: float, high: float) -> Any:
    """A dataclass field that `sample` draws uniformly between two limits."""
    return field(metadata={"span": (low, high)})


def sample(kind: type[Sampled], rng: np.random.Generator) -> Sampled:
    """Draw every field of a dataclass of spans."""
    return kind(**{entry.name: float(rng.uniform(*entry.metadata["span"])) for entry in fields(kind)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Identity:
    """What stays with a person; lengths in face units, tones in gray levels."""

    face_width: float = span(0.66, 0.82)
    jaw: float = span(0.55, 0.92)
    skin: float = span(120, 210)
    hair: float = span(15, 90)
    hairline: float = span(-0.82, -0.62)
    eye_gap: float = span(0.29, 0.37)
    eye_width: float = span(0.15, 0.19)
    eye_height: float = span(0.07, 0.105)
    eye_y: float = span(-0.20, -0.12)
    iris: float = span(15, 80)
    brow_thickness: float = span(0.04, 0.09)
    brow_height: float = span(0.19, 0.27)
    brow_slant: float = span(-0.035, 0.035)
    nose_length: float = span(0.28, 0.38)
    nose_width: float = span(0.10, 0.17)
    mouth_y: float = span(0.47, 0.56)
    mouth_width: float = span(0.29, 0.37)
    mouth_curve: float = span(-0.035, 0.035)
    lip_thickness: float = span(0.045, 0.095)
    lip_tone: float = span(35, 75)
    wrinkles: float = span(0.5, 1.0)
    # The share by which one side moves more than the other.
    asymmetry: float = span(-0.2, 0.2)
    # Worn above 0.8, 0.8 and 0.75.
    glasses: float = span(0, 1)
    fringe: float = span(0, 1)
    beard: float = span(0, 1)


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw a person."""
    return sample(Identity, rng)


def sample_expression(emotion: str, intensity: float, rng: np.random.Generator) -> dict[int, float]:
    """Draw a prototype of an emotion and its action units around an intensity in 0..1."""
    prototypes = EMOTIONS[emotion]
    units = prototypes[rng.integers(len(prototypes))]
    return {unit: float(np.clip(intensity * rng.uniform(0.75, 1.25), 0, 1)) for unit in units}


def sample_distraction(rng: np.random.Generator) -> dict[int, float]:
    """Draw up to two action units below NEUTRAL_BELOW that belong to no emotion, as faces at rest show them."""
    units = rng.choice(list(ACTION_UNITS), size=rng.integers(3), replace=False)
    return {int(unit): float(rng.uniform(0.05, 0.95 * NEUTRAL_BELOW)) for unit in units}


def strongest(*layers: Mapping[int, float]) -> dict[int, float]:
    """Merge action units; one that several layers name keeps its highest intensity."""
    return {unit: max(layer.get(unit, 0.0) for layer in layers) for unit in sorted(set().union(*layers))}


def intensities(action_units: Mapping[int, float]) -> np.ndarray:
    """Intensities float64 [44] indexed by action unit; EdgemotionError for an unknown unit or one outside 0..1."""
    found = np.zeros(max(ACTION_UNITS) + 1)
    for unit, intensity in action_units.items():
        if unit not in ACTION_UNITS:
            raise EdgemotionError(f"action unit {unit} is not drawn; choose from {', '.join(map(str, ACTION_UNITS))}")
        if not 0 <= intensity <= 1:
            raise EdgemotionError(f"action unit {unit} has the intensity {intensity}; give one in 0..1")
        found[unit] = intensity
    return found


def bend(start: Any, middle: Any, end: Any) -> np.ndarray:
    """Points float64 [13,2] of the quadratic Bezier curve through three points."""
    start, middle, end = (np.asarray(point, dtype=float) for point in (start, middle, end))
    first, second, third = BERNSTEIN
    return first * start + second * (2 * middle - (start + end) / 2) + third * end


def landmarks(identity: Identity, action_units: Mapping[int, float]) -> dict[str, np.ndarray]:
    """Curves float64 [13,2] in face units; the sides are the image's.

    Brows and lids run from the inner to the outer end, lips from the left to the right corner.
    """
    found = {}
    for name, side in (("left", -1), ("right", 1)):
        au = intensities(action_units) * (1 + side * identity.asymmetry)
        x, y, half = identity.eye_gap, identity.eye_y, identity.eye_width
        up = identity.eye_height * max(0, 1 + 0.6 * au[5] - 0.4 * au[7] - 0.2 * au[6] - 0.1 * au[4] - 0.25 * au[9])
        low = 0.6 * identity.eye_height * max(0, 1 - 0.6 * au[6] - 0.6 * au[7] - 0.3 * au[9])
        open_share = max(0, 1 - au[43])
        inner, outer = (side * (x - half), y + 0.01), (side * (x + half), y)
        found[f"{name}_upper_lid"] = bend(inner, (side * (x - 0.04 * au[1]), y - up * open_share), outer)
        found[f"{name}_lower_lid"] = bend(inner, (side * x, y + low), outer)
        brow = y - identity.brow_height
        raised = -0.19 * au[1] + 0.16 * au[4] + 0.08 * au[9] + identity.brow_slant
        found[f"{name}_brow"] = bend(
            (side * (x - half - 0.03 - 0.05 * au[4]), brow + 0.03 + raised),
            (side * x, brow - 0.03 - 0.07 * au[1] - 0.12 * au[2] + 0.09 * au[4] + 0.04 * au[9]),
            (side * (x + half + 0.07), brow + 0.05 - 0.19 * au[2] + 0.04 * au[4] - identity.brow_slant),
        )
    return found | mouth_landmarks(identity, intensities(action_units))


def mouth_landmarks(identity: Identity, au: np.ndarray) -> dict[str, np.ndarray]:
    """The four lip curves, the nose wings (a point each side) and the chin."""
    y = identity.mouth_y
    width = 1 + 0.32 * au[12] + 0.34 * au[20] - 0.14 * au[23] - 0.08 * au[24] - 0.15 * au[26] - 0.30 * au[27]
    drop = 0.10 * au[26] + 0.24 * au[27]
    gap = 0.08 * au[25] + 0.16 * au[26] + 0.36 * au[27] + 0.05 * au[16]
    corners = []
    for side in (-1, 1):
        own = 1 + side * identity.asymmetry
        lift = -0.22 * au[12] + 0.19 * au[15] + 0.06 * au[20] + identity.mouth_curve
        corners.append((side * identity.mouth_width * width, y + own * lift + 0.45 * gap))
    top = y - 0.08 * au[10] - 0.05 * au[9] + 0.03 * au[12] - 0.03 * au[15] - 0.04 * au[17] - 0.12 * gap
    lip = identity.lip_thickness * max(0.25, 1 - 0.5 * au[23] - 0.6 * au[24] - 0.3 * au[12])
    meet = top + gap
    nose = identity.eye_y + identity.nose_length + 0.08 - 0.06 * au[9]
    return {
        "lip_top": bend(corners[0], (0, top - 0.8 * lip), corners[1]),
        "lip_upper_edge": bend(corners[0], (0, top), corners[1]),
        "lip_lower_edge": bend(corners[0], (0, meet), corners[1]),
        "lip_bottom": bend(corners[0], (0, meet + lip * (1.2 + 0.5 * au[16])), corners[1]),
        "nose": np.array([(side * identity.nose_width * (1 + 0.25 * au[9] + 0.1 * au[12]), nose) for side in (-1, 1)]),
        "chin": np.array([(0.0, 0.97 + drop - 0.03 * au[17])]),
    }
