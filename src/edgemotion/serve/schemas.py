"""The answers of the API, as OpenAPI documents them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Scores = Annotated[
    dict[str, float], Field(description="Probability of each class", examples=[{"happy": 0.93, "neutral": 0.07}])
]
Version = Annotated[str, Field(description="SHA-256 of the model file", examples=["9f86d081884c7d65"])]


class Failure(BaseModel):
    """Why a request was refused, in one sentence."""

    detail: Any


class ProtocolFailure(BaseModel):
    """The same under /v2, as the Open Inference Protocol names it."""

    error: str


def failure(path: str, detail: Any) -> dict[str, Any]:
    """The body of a refusal of `path`."""
    return {"error" if f"{path}/".startswith("/v2/") else "detail": detail}


class State(BaseModel):
    status: str


class Times(BaseModel):
    """Milliseconds within the server."""

    decode_ms: float
    faces_ms: float
    inference_ms: float


class Emotion(BaseModel):
    """One face; `uncertain` where the label's probability is below that from which the model is right often enough."""

    label: str = Field(examples=["happy"])
    scores: Scores
    uncertain: bool


class Answer(Emotion):
    model_version: Version
    timings: Times


class Batch(BaseModel):
    predictions: list[Emotion]
    model_version: Version
    timings: Times


class Frame(BaseModel):
    """One frame of a sequence, as the model saw it and as the filter takes it."""

    raw: Emotion
    smoothed: Emotion


class Frames(BaseModel):
    frames: list[Frame]
    model_version: Version
    timings: Times


class FoundFace(BaseModel):
    """A face of a scene; `score` is the face detector's. A detecting model gives no scores of the other classes."""

    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 in pixels of the upright image")
    score: float
    label: str
    scores: Scores | None = None
    uncertain: bool | None = None


class Faces(BaseModel):
    faces: list[FoundFace]
    model_version: Version
    timings: Times


class ModelCard(BaseModel):
    """What is served, how good it is on its dataset's test split, and from which probability it is certain."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    version: Version
    classes: list[str]
    input: dict[str, Any]
    size_bytes: int
    dataset: str
    metrics: dict[str, Any]
    certain: dict[str, float]
    finds_faces: bool
