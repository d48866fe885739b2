"""A summary in; its results table in Markdown and its numbers as text out."""

from collections.abc import Mapping, Sequence
from typing import Any

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
