"""The body of a form (multipart/form-data, RFC 7578) in, the contents of its files out.

The body's size is limited before, so it is parsed at once; a parser that spools each file to disk takes longer than
the inference.
"""

from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from edgemotion.serve.images import UploadError


def form_boundary(request: Request) -> bytes | None:
    """What parts a form's body; None for a body that is none. UploadError 400 where a form names no boundary."""
    given = request.headers.get("content-type", "")
    if not given.lower().startswith("multipart/form-data"):
        return None
    boundary = parse_options_header(given)[1].get(b"boundary")
    if not boundary:
        raise UploadError(400, "the form cannot be read: its Content-Type names no boundary")
    return boundary


class Parts:
    """Collects the parts of one name while a form is parsed."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.contents: list[bytes] = []
        self.ended = False
        self.header, self.value, self.disposition = b"", b"", b""
        self.chunks: list[bytes] | None = None

    def on_part_begin(self) -> None:
        self.disposition, self.chunks = b"", None

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def on_header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            self.disposition = self.value
        self.header, self.value = b"", b""

    def on_headers_finished(self) -> None:
        options = parse_options_header(self.disposition)[1]
        if options.get(b"name") == self.name and b"filename" in options:
            self.chunks = []

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.chunks is not None:
            self.chunks.append(data[start:end])

    def on_part_end(self) -> None:
        if self.chunks is not None:
            self.contents.append(b"".join(self.chunks))

    def on_end(self) -> None:
        self.ended = True


# Parts of a form beside its files.
FIELDS = 16
CALLBACKS = [name for name in vars(Parts) if name.startswith("on_")]


def form_files(body: bytes, boundary: bytes, name: str, most: int) -> list[bytes]:
    """The contents of the files of one name, in their order.

    Raises UploadError: 400 for a body that is broken or has no end, 413 for more than `most` files and a few fields,
    422 for a form without such a file.
    """
    # Each costs the parser some microseconds, so those of a body full of them would hold up all other requests.
    if body.count(b"\r\n--" + boundary) > most + FIELDS:
        raise UploadError(413, f"the form has more than {most + FIELDS} parts; send fewer")
    parts = Parts(name)
    try:
        callbacks: Any = {callback: getattr(parts, callback) for callback in CALLBACKS}
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise UploadError(400, f"the form cannot be read: {error}") from None
    if not parts.ended:
        raise UploadError(400, "the form cannot be read: its end is missing")
    if not parts.contents:
        raise UploadError(422, f"the form has no file named `{name}`")
    return parts.contents
