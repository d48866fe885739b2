"""A summary or a selection in; its table in Markdown and its numbers as text out."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgemotion.cpu import slow_int8
from edgemotion.measure.selection import GATES, distinct

HEADER = (
    "variant",
    "top-1 [95 % CI]",
    "leak-free",
    "macro-F1",
    "ECE",
    "size",
    "MACs",
    "p50 ms",
    "speed-up [95 % CI]",
)


def results_table(summary: Mapping[str, Any]) -> str:
    """The results of all variants as a Markdown table, the champion in bold; detectors have a column more."""
    detects = all("map50" in entry for entry in summary["variants"].values())
    header = [*HEADER[:5], *(["mAP50"] if detects else []), *HEADER[5:]]
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" + " ---: |" * (len(header) - 1)]
    for name, entry in summary["variants"].items():
        cells = [
            f"**{name}**" if name == summary["champion"] else name,
            f"{percent(entry['top1'])} {interval(entry['top1_ci'], percent)}",
            percent(entry["top1_leak_free"]),
            f"{entry['macro_f1']:.3f}",
            f"{entry['ece']:.3f}",
            *([f"{entry['map50']:.3f}"] if detects else []),
            megabytes(entry["size_bytes"]),
            millions(entry["macs"]),
            milliseconds(entry["p50_ms"]),
            f"{times(entry['speedup'])} {interval(entry['speedup_ci'], times)}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def gates_table(selection: Mapping[str, Any]) -> str:
    """Every variant with its gates as a Markdown table: which of them stopped it, and in bold by what value."""
    variants = selection["variants"]
    titles = [
        f"{GATES[name].title}, {limit(name, gate)}" for name, gate in next(iter(variants.values()))["gates"].items()
    ]
    lines = ["| variant | outcome | " + " | ".join(titles) + " |", "| --- | --- |" + " ---: |" * len(titles)]
    for variant, entry in variants.items():
        values = [(reached(name, gate), gate["passed"]) for name, gate in entry["gates"].items()]
        cells = [variant, outcome(entry), *(value if passed else f"**{value}**" for value, passed in values)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def outcome(entry: Mapping[str, Any]) -> str:
    """The rank of a variant of a selection, or the gates that stopped it."""
    stopped = [GATES[name].title for name, gate in entry["gates"].items() if not gate["passed"]]
    return f"stopped by {', '.join(stopped)}" if stopped else f"passes, rank {entry['rank']}"


def limit(name: str, gate: Mapping[str, Any]) -> str:
    """The limit of a gate and its side."""
    return f"{GATES[name].side} {gate['limit']}"


def reached(name: str, gate: Mapping[str, Any]) -> str:
    """The value at a gate, in as many digits as tell it from a limit that it fails, and the class it is of, if any."""
    value, digits = gate["value"], GATES[name].digits
    # Adding zero turns a rounded -0.0 into 0.0.
    text = f"{round(value, digits) + 0.0:.{digits}f}" if gate["passed"] else distinct(value, gate["limit"], digits)[0]
    return f"{text} {gate['class']}" if "class" in gate and value > 0 else text


def instructions(flags: Sequence[str]) -> str:
    """The int8 instructions of the CPU that measured, and what to change where they leave int8 slow."""
    found = f"int8 instructions: {', '.join(flags) or 'none found'}."
    if not slow_int8(flags):
        return found
    return f"{found} Without VNNI only int8 variants quantized with reduce_range: true take the fast kernels."


def percent(share: float | None) -> str:
    """A share as percent; the leak-free part of a split may hold no image."""
    return "none" if share is None else f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")


def megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"


def milliseconds(time: float) -> str:
    return f"{time:.3f}"


def times(ratio: float) -> str:
    return f"{ratio:.2f}x"


def interval(ends: Sequence[float] | None, form: Any) -> str:
    """[low, high] in the form of one number, without repeating its unit."""
    if ends is None:
        return ""
    low, high = (form(end).removesuffix(" %").removesuffix("x") for end in ends)
    return f"[{low}, {high}]"
