"""A champion folder in; its variant and its card, which says how far it can be trusted, out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json
from edgemotion.runtime.variant import load_variant

# Trained by the published FER2013 run; what the commands use where no other folder is given.
SHIPPED = Path(__file__).parents[1] / "champion"
CARD = "card.json"
NEEDED = ("dataset", "metrics", "certain", "face_side")


@dataclass(frozen=True)
class Card:
    """What select recorded of a champion beside its model.

    `metrics` are those of the test split. A prediction is certain from the probability `certain_from` on, above which
    a known share of the val images was right. `face_side` is the side of a crop in heights of YuNet's box.
    """

    dataset: str
    metrics: dict[str, Any]
    certain: dict[str, float]
    face_side: float

    @property
    def certain_from(self) -> float:
        return self.certain["probability"]

    def uncertain(self, probabilities: np.ndarray) -> bool:
        """Whether the label of one face's probabilities [classes] is uncertain."""
        return bool(probabilities.max() < self.certain_from)

    def answer(self, classes: Sequence[str], probabilities: np.ndarray) -> dict[str, Any]:
        """Label, all scores and whether the label is uncertain, of one face's probabilities [classes], for JSON."""
        scores = dict(zip(classes, np.round(probabilities.astype(np.float64), 6).tolist(), strict=True))
        label = classes[int(probabilities.argmax())]
        return {"label": label, "scores": scores, "uncertain": self.uncertain(probabilities)}


def load_card(folder: Path | str) -> Card:
    """Read the card of a champion folder; EdgemotionError names what is missing, also where the model is none."""
    folder = Path(folder)
    load_variant(folder)
    if not (folder / CARD).is_file():
        raise EdgemotionError(f"{folder / CARD} is missing; give a folder that select made, such as models/champion")
    card = read_json(folder / CARD)
    for key in NEEDED:
        if not isinstance(card, dict) or key not in card:
            raise EdgemotionError(f"{folder / CARD} has no key {key!r}; run `dvc repro select` again")
    return Card(**{key: card[key] for key in NEEDED})
