"""What Locust's users do to a server: mostly single faces, some batches and sequences; see `invoke loadtest`."""

import random

from load import EACH
from locust import HttpUser, constant_throughput, task
from serving import jpeg

FACES = [jpeg(seed) for seed in range(64)]


class Client(HttpUser):
    """Sends so many requests a second; the number of users sets the load."""

    wait_time = constant_throughput(EACH)

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
