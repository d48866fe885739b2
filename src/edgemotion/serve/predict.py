"""Uploaded faces and scenes in, their emotions out."""

import json
from collections.abc import Callable
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response

from edgemotion.serve.engine import Engine, Timings
from edgemotion.serve.forms import form_boundary, form_files
from edgemotion.serve.images import UploadError, pixels
from edgemotion.serve.schemas import Answer, Batch, Faces, Failure, Frames

router = APIRouter(tags=["predict"])

BINARY = {"schema": {"type": "string", "format": "binary"}}


def form_schema(field: str, several: bool) -> dict[str, Any]:
    """OpenAPI's schema of a form with one or several files."""
    file = {"type": "string", "format": "binary"}
    content = {"type": "array", "items": file, "minItems": 1} if several else file
    return {"schema": {"type": "object", "properties": {field: content}, "required": [field]}}


ONE = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": form_schema("file", several=False),
            **dict.fromkeys(("image/jpeg", "image/png", "image/webp", "application/octet-stream"), BINARY),
        },
    }
}
MANY = {"requestBody": {"required": True, "content": {"multipart/form-data": form_schema("files", several=True)}}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "No image, or a body that is no form"},
    401: {"model": Failure, "description": "Wrong or missing X-API-Key, where the server wants one"},
    408: {"model": Failure, "description": "Not received and answered in time"},
    413: {"model": Failure, "description": "Too many bytes, pixels, images or parts of a form"},
    415: {"model": Failure, "description": "Neither JPEG, PNG nor WebP"},
    422: {"model": Failure, "description": "A damaged image, or a form without the file"},
    503: {"model": Failure, "description": "Too many requests at once; Retry-After tells when to come back"},
}
NO_FACES: dict[int | str, dict[str, Any]] = {
    503: {"model": Failure, "description": "No face detector, or too many requests at once; the answer says which"}
}


@router.post("/predict", response_model=Answer, responses=REFUSALS, openapi_extra=ONE)
async def predict(request: Request) -> Response:
    """The emotion of one face crop, sent as a form's `file` or as the body itself."""
    return await answer(request, await read_one(request), predict_one)


@router.post("/infer_form", response_model=Answer, responses=REFUSALS, openapi_extra=ONE)
async def infer_form(request: Request) -> Response:
    """As /predict; GET shows a form for it."""
    return await answer(request, await read_one(request), predict_one)


@router.post("/predict/batch", response_model=Batch, responses=REFUSALS, openapi_extra=MANY)
async def predict_batch(request: Request) -> Response:
    """The emotions of several face crops, in one inference."""
    return await answer(request, await read_many(request), predict_many)


@router.post("/predict/sequence", response_model=Frames, responses=REFUSALS, openapi_extra=MANY)
async def predict_sequence(request: Request) -> Response:
    """The emotions of a film's face crops in their order, frame by frame and smoothed over time."""
    return await answer(request, await read_many(request), predict_frames)


@router.post("/detect", response_model=Faces, responses=REFUSALS | NO_FACES, openapi_extra=ONE)
async def detect(request: Request) -> Response:
    """The faces of a scene, each with its emotion."""
    return await answer(request, await read_one(request), detect_faces)


async def answer(
    request: Request, contents: list[bytes], work: Callable[[Engine, list[bytes], Timings], dict[str, Any]]
) -> Response:
    """Do the work, in a thread where it may take long, so that the event loop goes on receiving; count its labels."""
    state, timings = request.app.state, Timings()
    if state.engine.quick and work in QUICK and sum(map(pixels, contents)) <= QUICK_PIXELS:
        result = work(state.engine, contents, timings)
    else:
        result = await anyio.to_thread.run_sync(work, state.engine, contents, timings, limiter=state.threads)
    state.metrics.count(result)
    result |= {"model_version": state.engine.version, "timings": vars(timings)}
    # The routes' models document the answer; to check it against them once more would take longer than the inference.
    return Response(json.dumps(result), media_type="application/json")


def predict_one(engine: Engine, contents: list[bytes], timings: Timings) -> dict[str, Any]:
    return engine.answer(engine.classify(engine.decode(contents, timings), timings)[0])


def predict_many(engine: Engine, contents: list[bytes], timings: Timings) -> dict[str, Any]:
    probabilities = engine.classify(engine.decode(contents, timings), timings)
    return {"predictions": [engine.answer(row) for row in probabilities]}


def predict_frames(engine: Engine, contents: list[bytes], timings: Timings) -> dict[str, Any]:
    smoother = engine.smoother()
    probabilities = engine.classify(engine.decode(contents, timings), timings)
    frames = [{"raw": engine.answer(row), "smoothed": engine.answer(smoother.update(row))} for row in probabilities]
    return {"frames": frames}


def detect_faces(engine: Engine, contents: list[bytes], timings: Timings) -> dict[str, Any]:
    return {"faces": engine.find(engine.decode(contents, timings, channels=3)[0], timings)}


# The work on a few small crops is so short that the way to a thread and back would be a tenth of the request.
QUICK = (predict_one, predict_many)
QUICK_PIXELS = 50_000


async def read_body(request: Request) -> bytes:
    """The body, which the request itself would keep beside the files in it."""
    return b"".join([part async for part in request.stream()])


async def read_one(request: Request) -> list[bytes]:
    """The image of a request: its form's `file`, or its whole body."""
    body = await read_body(request)
    boundary = form_boundary(request)
    if boundary is None:
        return [body]
    contents = form_files(body, boundary, "file", most_images(request))
    if len(contents) > 1:
        raise UploadError(422, "the form has several files named `file`; send one")
    return contents


async def read_many(request: Request) -> list[bytes]:
    """The images of a form's `files`, in their order."""
    boundary = form_boundary(request)
    if boundary is None:
        raise UploadError(415, "send a form (multipart/form-data) with one or more files named `files`")
    return form_files(await read_body(request), boundary, "files", most_images(request))


def most_images(request: Request) -> int:
    return int(request.app.state.engine.options.max_batch)
