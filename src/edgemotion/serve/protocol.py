"""The Open Inference Protocol v2 (KServe, Triton): tensors in, tensors out, as JSON or Triton's bytes."""

import json
import math
from itertools import chain
from typing import Annotated, Any

import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from edgemotion.runtime.classifier import run_session
from edgemotion.serve import VERSION
from edgemotion.serve.engine import Engine
from edgemotion.serve.images import UploadError
from edgemotion.serve.schemas import ProtocolFailure

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

# Of a request, the length of its JSON part; after it come the tensors' bytes.
LENGTH = "inference-header-content-length"
OUTPUTS = ("logits", "probabilities")
REFUSED = (400, 401, 404, 408, 413, 415, 422, 503)
REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ProtocolFailure} for status in REFUSED}
INFER = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "object"}},
                        "outputs": {"type": "array", "items": {"type": "object"}},
                    },
                }
            }
        },
    }
}


@router.get("")
async def server() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": "edgemotion", "version": VERSION, "extensions": ["binary_tensor_data"]}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """The process answers."""
    return {"live": True}


@router.get("/health/ready", responses={503: {"model": dict[str, bool]}})
async def ready(request: Request, response: Response) -> dict[str, bool]:
    """The model is loaded and has answered once."""
    now = bool(request.app.state.ready)
    response.status_code = 200 if now else 503
    return {"ready": now}


async def served(request: Request, name: str) -> Engine:
    """The engine of the model `name`, which is that of GET /model."""
    engine: Engine = request.app.state.engine
    if name != engine.variant.name:
        raise UploadError(404, f"there is no model {name!r}; this server has {engine.variant.name!r}")
    return engine


async def check_version(request: Request, version: str) -> None:
    engine: Engine = request.app.state.engine
    if version != engine.version:
        raise UploadError(404, f"there is no version {version!r}; this server has {engine.version!r}")


Served = Annotated[Engine, Depends(served)]
models = APIRouter()


@models.get("", responses={404: {"model": ProtocolFailure}})
async def model(engine: Served) -> dict[str, Any]:
    """The model's tensors."""
    variant = engine.variant
    shape = [-1, variant.height, variant.width, variant.channels]
    return {
        "name": variant.name,
        "versions": [engine.version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": shape}],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, len(variant.classes)]} for name in OUTPUTS],
    }


@models.get("/ready", responses={404: {"model": ProtocolFailure}})
async def model_ready(engine: Served) -> dict[str, Any]:
    """Whether this model answers."""
    return {"name": engine.variant.name, "ready": True}


@models.post("/infer", responses=REFUSALS, openapi_extra=INFER)
async def infer(request: Request, engine: Served) -> Response:
    """Logits and probabilities of uint8 images of the model's own size."""
    body = await request.body()
    return await anyio.to_thread.run_sync(
        answer, engine, body, request.headers.get(LENGTH), limiter=request.app.state.threads
    )


router.include_router(models, prefix="/models/{name}")
router.include_router(models, prefix="/models/{name}/versions/{version}", dependencies=[Depends(check_version)])


def answer(engine: Engine, body: bytes, length: str | None) -> Response:
    """Run one request; UploadError 400 for a body that does not follow the protocol, 413 for too large a batch."""
    call, binary = read_call(body, length)
    images = read_images(call, binary, engine)
    wanted = call.get("outputs") or [{"name": name} for name in OUTPUTS]
    parameters = dictionary(call.get("parameters", {}), "parameters")
    named = [dictionary(output, "an output") for output in listed(wanted, "outputs")]
    for output in named:
        if output.get("name") not in OUTPUTS:
            raise UploadError(400, f"there is no output {output.get('name')!r}; there are {', '.join(OUTPUTS)}")
    if len(named) > len({output["name"] for output in named}):
        raise UploadError(400, "an output is named twice; name each once")
    arrays = dict(zip(OUTPUTS, run_session(engine.classifier.session, images), strict=True))
    outputs, tail = [], b""
    for output in named:
        array, given = arrays[output["name"]], dictionary(output.get("parameters", {}), "parameters")
        entry: dict[str, Any] = {"name": output["name"], "datatype": "FP32", "shape": list(array.shape)}
        if given.get("binary_data", parameters.get("binary_data_output", False)):
            content = array.astype("<f4").tobytes()
            entry["parameters"] = {"binary_data_size": len(content)}
            tail += content
        else:
            entry["data"] = array.ravel().tolist()
        outputs.append(entry)
    result = {"model_name": engine.variant.name, "model_version": engine.version, "outputs": outputs}
    if "id" in call:
        result["id"] = str(call["id"])
    # In ASCII, because an id may hold half of a surrogate pair, which has no bytes in UTF-8.
    head = json.dumps(result).encode()
    if not tail:
        return Response(head, media_type="application/json")
    return Response(head + tail, media_type="application/octet-stream", headers={LENGTH: str(len(head))})


def read_call(body: bytes, length: str | None) -> tuple[dict[str, Any], bytes]:
    """The JSON part of a body and the bytes after it."""
    end = len(body)
    if length is not None:
        # Of thousands of digits int() makes no number.
        end = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else -1
        if not 0 <= end <= len(body):
            raise UploadError(400, f"the header {LENGTH} is {length[:20]!r}, the body has {len(body)} bytes")
    try:
        call = json.loads(body[:end])
    except (ValueError, RecursionError):
        raise UploadError(400, "the body is not valid JSON") from None
    return dictionary(call, "the body"), body[end:]


def read_images(call: dict[str, Any], binary: bytes, engine: Engine) -> np.ndarray:
    """The one input, `images` uint8 [N,H,W,C], from JSON numbers or from the bytes after the JSON part."""
    inputs = [dictionary(entry, "an input") for entry in listed(call.get("inputs"), "inputs")]
    if len(inputs) != 1 or inputs[0].get("name") != "images" or inputs[0].get("datatype") != "UINT8":
        raise UploadError(400, "give one input named 'images' with the datatype 'UINT8'")
    given, variant = inputs[0], engine.variant
    shape, expected = given.get("shape"), [variant.height, variant.width, variant.channels]
    if not isinstance(shape, list) or any(type(size) is not int or size < 1 for size in shape) or shape[1:] != expected:
        raise UploadError(400, f"the shape of 'images' is {shape}; it must be [N, {', '.join(map(str, expected))}]")
    if shape[0] > engine.options.max_batch:
        raise UploadError(413, f"{shape[0]} images are too many; send at most {engine.options.max_batch}")
    size = dictionary(given.get("parameters", {}), "parameters").get("binary_data_size")
    if size is None:
        values = read_numbers(given.get("data"))
    else:
        values = np.frombuffer(binary, np.uint8)
        if size != len(binary):
            raise UploadError(400, f"binary_data_size is {size!r}, but {len(binary)} bytes follow the JSON part")
    if values.size != math.prod(shape):
        raise UploadError(400, f"'images' has {values.size} values, but its shape {shape} needs {math.prod(shape)}")
    return values.astype(np.uint8).reshape(shape)


def read_numbers(data: Any) -> np.ndarray:
    """JSON's numbers, in nested lists or in one, as int64 of 0..255 in one row."""
    leaves = data if isinstance(data, list) else [data]
    while leaves and all(isinstance(leaf, list) for leaf in leaves):
        leaves = list(chain.from_iterable(leaves))
    try:
        # Of strings NumPy would make an array whose every element is as long as the longest.
        values = np.array(data if set(map(type, leaves)) == {int} else None)
    except (ValueError, OverflowError):
        values = np.array(None)
    if values.dtype.kind != "i" or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise UploadError(400, "the data of 'images' must be a list of whole numbers of 0 to 255")
    return values.ravel()


def dictionary(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UploadError(400, f"{what} must be a JSON object")
    return value


def listed(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise UploadError(400, f"{what} must be a JSON list")
    return value
