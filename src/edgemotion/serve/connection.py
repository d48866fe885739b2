"""uvicorn's HTTP connection with limits for what is not the body of a request, which no application sees."""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Of a request's line and headers or of the trailers after its body, beyond what the first read of them brings.
MAX_HEAD = 65_536


def limited(seconds: float) -> type[HttpToolsProtocol]:
    """A connection that closes where a request's head is not there in time, or its head or trailers are too large."""

    class Connection(HttpToolsProtocol):
        # Bytes since the parser last came to the begin or end of a head, or to a part of a body.
        waiting = 0
        moved = False
        deadline: TimerHandle | None = None

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.expect_head()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.moved = True

        def on_headers_complete(self) -> None:
            self.moved = True
            if self.deadline:
                self.deadline.cancel()
                self.deadline = None
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self.moved = True
            super().on_body(body)

        def data_received(self, data: bytes) -> None:
            self.moved = False
            super().data_received(data)
            self.waiting = 0 if self.moved else self.waiting + len(data)
            if self.waiting > MAX_HEAD:
                self.send_400_response(f"Head or trailers of the request are larger than {MAX_HEAD} bytes.")
            # A head that comes whole, as nearly all do, needs no timer of its own; a WebSocket is no longer among the
            # connections, and has no heads.
            elif self in self.connections and (self.cycle is None or self.cycle.response_complete):
                self.expect_head()

        def expect_head(self) -> None:
            self.deadline = self.deadline or self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    return Connection
