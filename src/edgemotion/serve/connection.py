"""uvicorn's HTTP connection with limits for what comes before a body, which no application sees."""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Of a request's line and headers, beyond what the first read brings.
MAX_HEAD = 65_536


def limited(seconds: float) -> type[HttpToolsProtocol]:
    """A connection that closes where the head of a request is not there in time, or too large."""

    class Connection(HttpToolsProtocol):
        in_head, head = False, 0
        deadline: TimerHandle | None = None

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.deadline = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.in_head, self.head = True, 0

        def on_headers_complete(self) -> None:
            self.in_head = False
            if self.deadline:
                self.deadline.cancel()
                self.deadline = None
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            begun = self.in_head
            super().data_received(data)
            # A head that comes whole, as nearly all do, needs no timer of its own.
            if self.in_head:
                self.deadline = self.deadline or self.loop.call_later(seconds, self.timeout_keep_alive_handler)
                self.head += len(data) if begun else 0
                if self.head > MAX_HEAD:
                    self.send_400_response(f"The head of the request is larger than {MAX_HEAD} bytes.")

    return Connection
