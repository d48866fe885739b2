"""Names from the settings to functions in the code: one table a kind, filled by one decorator.

A new dataset, network, compression method or corruption is one decorated function in the folder of its
kind; the folder is imported on first use, so no other file changes.
"""

import copy
import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from edgemotion.errors import EdgemotionError, first_line

FOLDERS = {
    "source": "edgemotion.datasets",
    "layout": "edgemotion.datasets",
    "network": "edgemotion.networks",
    "trainer": "edgemotion.training",
    "quantize": "edgemotion.compression",
    "prune": "edgemotion.compression",
    "corruption": "edgemotion.measure",
}

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
    """Call an entry with the program's own arguments and the user's `args`, the latter checked by its signature.

    Raises EdgemotionError that names the kind, the entry and the key for an unknown name, an unknown key,
    a missing key or an ill-typed value.
    """
    if name not in (found := names(kind)):
        raise EdgemotionError(f"{kind} {name!r} does not exist; choose one of {', '.join(found)}")
    entry = _entries[kind][name]
    return entry(*given, **known, **checked(f"{kind} {name}", entry, args, skip=len(given), known=set(known)))


def checked(
    title: str, entry: Callable[..., Any], args: Mapping[str, Any], skip: int, known: set[str]
) -> dict[str, Any]:
    """Type-check `args` against the keyword parameters of `entry` that the program itself does not give."""
    hints = get_type_hints(entry.__init__ if inspect.isclass(entry) else entry)
    parameters = list(inspect.signature(entry).parameters.values())[skip:]
    fields: list[Any] = []
    for parameter in parameters:
        if parameter.name in known or parameter.kind is parameter.VAR_KEYWORD:
            continue
        name, kind, default = parameter.name, hints[parameter.name], parameter.default
        if default is parameter.empty:
            fields.append((name, kind))
        else:
            fields.append((name, kind, dataclasses.field(default_factory=functools.partial(copy.deepcopy, default))))
    schema = dataclasses.make_dataclass("Args", fields, kw_only=True)
    unknown = sorted(set(args) - {field[0] for field in fields})
    if unknown:
        allowed = ", ".join(field[0] for field in fields) or "no arguments"
        raise EdgemotionError(f"{title} has no argument {unknown[0]!r}; it takes {allowed}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), dict(args))
        return OmegaConf.to_container(merged, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise EdgemotionError(f"{title}: {first_line(error)} (key {error.full_key})") from None
