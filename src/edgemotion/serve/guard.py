"""The layer around every route: key, limits of requests, bytes and time, metrics and one log line a request."""

import json
import logging
import secrets
import sys
import time
from datetime import UTC, datetime
from functools import partial

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgemotion.errors import EdgemotionError
from edgemotion.serve.images import UploadError
from edgemotion.serve.metrics import Metrics
from edgemotion.serve.options import Options
from edgemotion.serve.schemas import failure

# json.dumps would make an encoder for each line.
ENCODE = json.JSONEncoder(ensure_ascii=False).encode
LOG = logging.getLogger("edgemotion.requests")
LEVELS = ("debug", "info", "warning", "error")
# Liveness probes carry no key and are answered under any load.
OPEN = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
# As nginx counts a client that went away before its answer.
GONE = 499
# An answer has `timeout_s` and as much time more as its bytes take at this rate, in bytes a second.
SLOWEST = 64_000
CLOSE = (b"connection", b"close")


class Guard:
    """ASGI middleware; it never reads a body itself, it counts what the route reads."""

    def __init__(self, app: ASGIApp, options: Options, metrics: Metrics) -> None:
        self.app, self.options, self.metrics = app, options, metrics
        self.working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self.permitted(scope):
            await send({"type": "websocket.close", "code": 1008, "reason": "wrong or missing X-API-Key"})
        elif scope["type"] == "websocket" and not self.invited(scope):
            reason = "pages of this origin may not call; name it with --cors"
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        elif scope["type"] == "http":
            await self.answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, within its limits, and record how it ended."""
        started, status, received, whole, finished = time.perf_counter(), 0, 0, False, False
        limit, limited = self.options.max_bytes, anyio.CancelScope()

        async def counting_receive() -> Message:
            nonlocal received, whole
            message = await receive()
            received += len(message.get("body", b""))
            whole = not message.get("more_body")
            if received > limit:
                raise UploadError(413, f"the request is larger than {limit} bytes")
            return message

        async def watching_send(message: Message) -> None:
            nonlocal status, finished
            if message["type"] == "http.response.start":
                status = message["status"]
                # Nobody reads the rest of this body, which may have no end.
                if not whole and CLOSE not in message["headers"] and header(scope, b"transfer-encoding"):
                    message["headers"] = [*message["headers"], CLOSE]
            await send(message)
            limited.deadline += len(message.get("body", b"")) / SLOWEST
            finished = message["type"] == "http.response.body" and not message.get("more_body")

        deny = partial(refuse, scope["path"], watching_send)
        self.metrics.active.inc()
        self.working += 1
        try:
            if not self.permitted(scope):
                await deny(401, "wrong or missing X-API-Key")
            elif self.working > self.options.max_requests and scope["path"] not in OPEN:
                busy = f"{self.options.max_requests} requests are being answered; try again in a second"
                await deny(503, busy, (b"retry-after", b"1"))
            elif (announced := header(scope, b"content-length")).isdigit() and int(announced) > limit:
                await deny(413, f"the request is larger than {limit} bytes")
            elif header(scope, b"content-encoding").lower() not in (b"", b"identity"):
                plain = "compressed bodies are not taken; send it without a Content-Encoding"
                await deny(415, plain, (b"accept-encoding", b"identity"))
            else:
                try:
                    with anyio.fail_after(self.options.timeout_s) as limited:
                        await self.app(scope, counting_receive, watching_send)
                except UploadError as error:
                    await deny(error.status, error.detail)
                except ClientDisconnect:
                    status = GONE
                except TimeoutError:
                    if not status:
                        await deny(408, f"not finished within {self.options.timeout_s:g} seconds")
                    elif not finished:
                        raise
        finally:
            self.working -= 1
            self.record(scope, status or 500, received, time.perf_counter() - started)

    def permitted(self, scope: Scope) -> bool:
        key = self.options.api_key
        if key is None or scope["path"] in OPEN:
            return True
        return secrets.compare_digest(header(scope, b"x-api-key"), key.encode())

    def invited(self, scope: Scope) -> bool:
        """Whether a WebSocket comes from no page, from one of this server or from one of an origin that is named.

        A browser lets any page open it, and asks for none of the headers that CORS has for other requests.
        """
        origin, named = header(scope, b"origin").decode("latin-1"), self.options.cors
        same = origin.endswith(f"://{header(scope, b'host').decode('latin-1')}")
        return not origin or same or origin in named or "*" in named

    def record(self, scope: Scope, status: int, received: int, seconds: float) -> None:
        """Count the request under its route's template, so that invented paths make no new series; log it."""
        route = "/predict" if scope["path"] == "/predict" else getattr(scope.get("route"), "path", "other")
        self.metrics.active.dec()
        self.metrics.requests.labels(route, status).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if LOG.isEnabledFor(logging.INFO):
            LOG.info(
                "request",
                extra={
                    "fields": {
                        "request": header(scope, b"x-request-id").decode("latin-1")[:64] or secrets.token_hex(8),
                        "method": scope["method"],
                        "route": route,
                        "status": status,
                        "bytes": received,
                        "ms": round(seconds * 1000, 2),
                    }
                },
            )


def header(scope: Scope, name: bytes) -> bytes:
    """The value of a request's header, empty where it is not given."""
    return next((value for key, value in scope["headers"] if key == name), b"")


async def refuse(path: str, send: Send, status: int, detail: str, *more: tuple[bytes, bytes]) -> None:
    """Answer as the routes do, and close: the rest of a body that nobody reads would block the connection."""
    body = json.dumps(failure(path, detail)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *more, CLOSE]})
    await send({"type": "http.response.body", "body": body})


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event and the fields that the caller gave."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        entry = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return ENCODE(entry)


def log_as_json(level: str) -> None:
    """Send every logger's lines to stderr as JSON, but for those that repeat ours or that garbage fills.

    Raises EdgemotionError for another level than debug, info, warning and error.
    """
    if level not in LEVELS:
        raise EdgemotionError(f"--log-level is {level!r}; choose one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    # No line tells its thread, process or place in the code; to find them out takes longer than to write it.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
