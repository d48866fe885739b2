"""Whether the server lives and is ready, what model it serves, and its metrics."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from edgemotion.serve.schemas import Failure, ModelCard, State

router = APIRouter()


@router.get("/health/live", tags=["health"])
async def live() -> State:
    """The process answers."""
    return State(status="live")


@router.get("/health/ready", tags=["health"], responses={503: {"model": Failure}})
async def ready(request: Request) -> Any:
    """The model is loaded and has answered once."""
    if not request.app.state.ready:
        return JSONResponse({"detail": "not ready"}, 503)
    return State(status="ready")


@router.get("/model", tags=["model"])
async def model(request: Request) -> ModelCard:
    """Classes, version, input and measured quality of the champion."""
    engine = request.app.state.engine
    info = engine.variant.info
    return ModelCard(
        name=engine.variant.name,
        version=engine.version,
        classes=engine.variant.classes,
        input=info["input"],
        size_bytes=info["size_bytes"],
        dataset=engine.card.dataset,
        metrics=engine.card.metrics,
        certain=engine.card.certain,
        finds_faces=bool(engine.finder or engine.detector),
    )


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(request.app.state.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
