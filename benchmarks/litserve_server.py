"""The champion of EDGEMOTION_CHAMPION behind LitServe, for benchmarks/serving.py: `python litserve_server.py PORT`."""

import os
import sys
from typing import Any

import litserve
from fastapi import UploadFile

from edgemotion.runtime import Classifier
from edgemotion.serve.images import decode_image


class Emotion(litserve.LitAPI):
    """Decodes and fits an image by the code of our own server."""

    def setup(self, device: str) -> None:
        self.classifier = Classifier(os.environ["EDGEMOTION_CHAMPION"])

    def decode_request(self, request: UploadFile) -> bytes:
        return request.file.read()

    def predict(self, content: bytes) -> dict[str, Any]:
        channels = self.classifier.variant.channels
        found = self.classifier.predict(decode_image(content, max_pixels=25_000_000, channels=channels))
        return {"label": found.label, "scores": found.probabilities}

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Emotion(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
