"""A WebSocket of frames in, the emotion of each, smoothed over time, out."""

import json

import anyio.to_thread
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from edgemotion.runtime.smoothing import KalmanSmoother
from edgemotion.serve.engine import Engine, Timings
from edgemotion.serve.images import UploadError

router = APIRouter()


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Answer each binary message, one face crop, with its frame's number, raw and smoothed emotion.

    A frame that cannot be used is answered with its status and detail and leaves the filter as it was; the text message
    `reset` starts another film. Frames are answered in their order, so a client that waits for each never queues.
    """
    state = socket.app.state
    engine: Engine = state.engine
    await socket.accept()
    smoother, number = engine.smoother(), 0
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (content := message.get("bytes")) is None:
                if message.get("text") == "reset":
                    smoother.reset()
                    number = 0
                    answer = {"status": 200, "detail": "the next frame starts another film"}
                else:
                    answer = {"status": 400, "detail": "send frames as binary messages, or the text `reset`"}
            else:
                try:
                    answer = await anyio.to_thread.run_sync(
                        answer_frame, engine, smoother, content, limiter=state.threads
                    )
                    state.metrics.count({"frames": [answer]})
                    answer |= {"frame": number}
                    number += 1
                except UploadError as error:
                    answer = {"status": error.status, "detail": error.detail}
            await socket.send_text(json.dumps(answer))
    except WebSocketDisconnect:
        return


def answer_frame(engine: Engine, smoother: KalmanSmoother, content: bytes) -> dict[str, object]:
    """One frame through the model and the filter."""
    timings = Timings()
    if len(content) > engine.options.max_bytes:
        raise UploadError(413, f"the frame is larger than {engine.options.max_bytes} bytes")
    row = engine.classify(engine.decode([content], timings), timings)[0]
    return {
        "raw": engine.answer(row),
        "smoothed": engine.answer(smoother.update(row)),
        "model_version": engine.version,
        "timings": {"decode_ms": timings.decode_ms, "inference_ms": timings.inference_ms},
    }
