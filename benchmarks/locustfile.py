"""What Locust's users do to a server: mostly single faces, some batches and sequences; see `invoke loadtest`."""

import random

import cv2
import numpy as np
from locust import HttpUser, constant_throughput, task


def jpeg(seed: int, side: int = 96) -> bytes:
    """A smooth picture, about as large a file as a face."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))[1].tobytes()


FACES = [jpeg(seed) for seed in range(64)]


class Client(HttpUser):
    """Sends 20 requests a second; the number of users sets the load."""

    wait_time = constant_throughput(20)

    @task(18)
    def predict(self) -> None:
        self.client.post("/predict", data=random.choice(FACES), headers={"Content-Type": "image/jpeg"})

    @task(1)
    def batch(self) -> None:
        files = [("files", ("face.jpg", face)) for face in random.sample(FACES, 4)]
        self.client.post("/predict/batch", files=files)

    @task(1)
    def sequence(self) -> None:
        files = [("files", ("frame.jpg", face)) for face in random.sample(FACES, 4)]
        self.client.post("/predict/sequence", files=files)
