"""Names from the settings to functions in the code: one table a kind, filled by one decorator.

A new dataset, network, compression method or corruption is one decorated function in the folder of its
kind; the folder is imported on first use, so no other file changes.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from edgemotion.errors import EdgemotionError

FOLDERS = {
    "source": "edgemotion.datasets",
    "layout": "edgemotion.datasets",
    "network": "edgemotion.networks",
    "trainer": "edgemotion.training",
    "quantize": "edgemotion.compression",
    "prune": "edgemotion.compression",
    "corruption": "edgemotion.measure",
}

# What arguments of many entries may be.
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Widths = Annotated[list[Positive], Field(min_length=1)]

Entry = TypeVar("Entry", bound=Callable[..., Any])

_entries: dict[str, dict[str, Callable[..., Any]]] = {kind: {} for kind in FOLDERS}


def register(kind: str, name: str | None = None) -> Callable[[Entry], Entry]:
    """Register a function or class as `name` (default: its own name) of a kind of FOLDERS."""

    def add(entry: Entry) -> Entry:
        _entries[kind][name or entry.__name__] = entry
        return entry

    return add


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted."""
    package = importlib.import_module(FOLDERS[kind])
    for module in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{module}")
    return sorted(_entries[kind])


def call(kind: str, name: str, *given: Any, args: Mapping[str, Any], **known: Any) -> Any:
    """Call an entry with the program's own arguments and the user's `args`; EdgemotionError as in `check`."""
    checked = check(kind, name, args, known)
    return _entries[kind][name](*given, **known, **checked)


def check(kind: str, name: str, args: Mapping[str, Any], known: Iterable[str] = ()) -> dict[str, Any]:
    """The user's `args` and the defaults of an entry: its keyword-only parameters without those that are `known`.

    Raises EdgemotionError that names the kind, the entry and the key for an unknown name, an unknown key,
    a missing key and a value that the parameter's annotation does not allow.
    """
    if name not in (found := names(kind)):
        raise EdgemotionError(f"{kind} {name!r} does not exist; choose one of {', '.join(found)}")
    entry = _entries[kind][name]
    hints = get_type_hints(entry.__init__ if inspect.isclass(entry) else entry, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (hints[parameter.name], ... if parameter.default is parameter.empty else parameter.default)
        for parameter in inspect.signature(entry).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in known
    }
    if unknown := sorted(set(args) - set(fields)):
        allowed = ", ".join(fields) or "no arguments"
        raise EdgemotionError(f"{kind} {name} has no argument {unknown[0]!r}; it takes {allowed}")
    try:
        return create_model("Args", __config__=ConfigDict(strict=True), **fields)(**args).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise EdgemotionError(f"{kind} {name} needs the argument {key!r}") from None
        reason = first["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
        raise EdgemotionError(f"{kind} {name}: {key} is {first['input']!r}; {reason}") from None
