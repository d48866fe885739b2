"""Options in, the ASGI application out: routes, limits, metrics and logs put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from edgemotion.serve import VERSION, health, pages, predict, protocol, stream
from edgemotion.serve.engine import Engine
from edgemotion.serve.guard import Guard
from edgemotion.serve.images import UploadError
from edgemotion.serve.metrics import Metrics
from edgemotion.serve.options import Options
from edgemotion.serve.schemas import failure

NOTICE = (
    "Reads the expression of faces as people perceive it, not what a person feels. Images are not kept and not logged. "
    "The EU AI Act (Article 5) bans inferring emotions of people at work and in education."
)


def create_app(options: Options) -> FastAPI:
    """Open the champion and build the application; EdgemotionError where it, the detector or the page does not load."""
    engine, metrics = Engine(options), Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # More threads than `workers` would decode at once what the processor can only finish one after the other.
        app.state.threads = anyio.CapacityLimiter(options.workers)
        app.state.ready = True
        yield
        app.state.ready = False

    app = FastAPI(title="edgemotion", version=VERSION, description=NOTICE, lifespan=lifespan)
    app.state.engine, app.state.metrics, app.state.ready = engine, metrics, False
    for router in (health.router, predict.router, protocol.router, stream.router):
        app.include_router(router)
    # The same function once more in front, without FastAPI's resolution of its arguments, a tenth of a request's time;
    # the route behind documents it.
    app.router.routes.insert(0, Route("/predict", predict.predict, methods=["POST"]))
    pages.mount(app, options.page)

    @app.exception_handler(UploadError)
    async def refuse(request: Request, error: UploadError) -> JSONResponse:
        return JSONResponse(failure(request.scope["path"], error.detail), error.status)

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(failure(request.scope["path"], error.detail), error.status_code, error.headers)

    app.add_middleware(Guard, options=options, metrics=metrics)
    if options.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=options.cors, allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    return app
