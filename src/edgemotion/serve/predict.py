"""Uploaded faces and scenes in, their emotions out."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from edgemotion.serve.engine import Engine, Timings
from edgemotion.serve.images import UploadError
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
    413: {"model": Failure, "description": "Too many bytes, pixels or images"},
    415: {"model": Failure, "description": "Neither JPEG, PNG nor WebP"},
    422: {"model": Failure, "description": "A damaged image, or a form without the file"},
}
NO_FACES: dict[int | str, dict[str, Any]] = {
    503: {"model": Failure, "description": "No face detector; the answer says how to get it"}
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
    """Do the work in a thread, so that the event loop goes on receiving; count what was predicted."""
    state, timings = request.app.state, Timings()
    result = await anyio.to_thread.run_sync(work, state.engine, contents, timings, limiter=state.threads)
    state.metrics.count(result)
    result |= {"model_version": state.engine.version, "timings": dataclasses.asdict(timings)}
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
    return {"faces": engine.find(engine.decode(contents, timings)[0], timings)}


async def read_one(request: Request) -> list[bytes]:
    """The image of a request: its form's `file`, or its whole body."""
    if not is_form(request):
        return [await request.body()]
    contents = await read_files(request, "file")
    if len(contents) > 1:
        raise UploadError(422, "the form has several files named `file`; send one")
    return contents


async def read_many(request: Request) -> list[bytes]:
    """The images of a form's `files`, in their order."""
    if not is_form(request):
        raise UploadError(415, "send a form (multipart/form-data) with one or more files named `files`")
    return await read_files(request, "files")


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_files(request: Request, name: str) -> list[bytes]:
    """The contents of a form's files of one name; UploadError 400 for a broken form, 422 for one without them."""
    most = request.app.state.engine.options.max_batch
    try:
        # One more is read than is taken, so that the refusal can name the limit.
        async with request.form(max_files=most + 1, max_fields=16) as form:
            files = [part for part in form.getlist(name) if isinstance(part, UploadFile)]
            contents = [await file.read() for file in files]
    except HTTPException as error:
        status = 413 if str(error.detail).startswith("Too many") else 400
        raise UploadError(status, f"the form cannot be read: {error.detail}") from None
    if not contents:
        raise UploadError(422, f"the form has no file named `{name}`")
    return contents
