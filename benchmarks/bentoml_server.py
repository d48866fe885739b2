"""The champion behind BentoML, for benchmarks/serving.py: `bentoml serve bentoml_server:Emotion`."""

import os
from pathlib import Path
from typing import Any

import bentoml

from edgemotion.runtime import Classifier
from edgemotion.serve.images import decode_image


@bentoml.service(workers=1, traffic={"timeout": 30})
class Emotion:
    """Decodes and fits an image by the code of our own server; a path is BentoML's way of taking a file's bytes."""

    def __init__(self) -> None:
        self.classifier = Classifier(os.environ["EDGEMOTION_CHAMPION"])

    @bentoml.api
    def predict(self, file: Path) -> dict[str, Any]:
        channels = self.classifier.variant.channels
        found = self.classifier.predict(decode_image(file.read_bytes(), max_pixels=25_000_000, channels=channels))
        return {"label": found.label, "scores": found.probabilities}
