"""The champion behind HTTP: a FastAPI application over edgemotion.runtime; it needs the extra `serve`."""

from importlib.metadata import version

VERSION = version("edgemotion")
