"""What the server is told: the champion, its limits and who may call it."""

from dataclasses import dataclass, field
from pathlib import Path

from edgemotion.runtime.champion import SHIPPED
from edgemotion.runtime.smoothing import MEASUREMENT_NOISE, PROCESS_NOISE


@dataclass(frozen=True)
class Options:
    """Everything that `edgemotion serve` may be given, with what holds where it is not."""

    champion: Path = SHIPPED
    # YuNet's file; None takes that of EDGEMOTION_FACES or the downloaded one; without any, /detect says so.
    faces: Path | None = None
    # The built browser page; None shows the form in its place.
    page: Path | None = None
    # Of ONNX Runtime, for one inference.
    threads: int = 1
    # Requests that are decoded and inferred at once; more only wait in the processor's queue.
    workers: int = 2
    # Of a request's body.
    max_bytes: int = 10_000_000
    # Of all images of one request, before they are decoded.
    max_pixels: int = 25_000_000
    # Images of one request.
    max_batch: int = 64
    # Requests that are received or answered at once; each may hold max_bytes of memory.
    max_requests: int = 64
    # To receive a request and to answer it.
    timeout_s: float = 30.0
    api_key: str | None = None
    # Origins whose pages may call the API.
    cors: list[str] = field(default_factory=list)
    # Of the Kalman filter.
    process_noise: float = PROCESS_NOISE
    measurement_noise: float = MEASUREMENT_NOISE
