"""A summary, the reports behind it and the figures in; one self-contained HTML page out."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgemotion.errors import EdgemotionError
from edgemotion.measure.selection import GATES
from edgemotion.report import tables
from edgemotion.report.figures import FOLDER, figure_names
from edgemotion.report.flips import count_by_class
from edgemotion.report.summary import Results, control_verdicts, leak_verdict, p_value, verdicts

FORMS = {
    "percent": tables.percent,
    "points": tables.points,
    "megabytes": tables.megabytes,
    "millions": tables.millions,
    "milliseconds": tables.milliseconds,
    "times": tables.times,
    "p_value": p_value,
}


def render(summary: Mapping[str, Any], results: Results, folder: Path = FOLDER) -> str:
    """Fill template.html; the page needs no other file, no script and no network.

    Raises EdgemotionError that names a figure of the run that is missing in `folder`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FORMS | {
        "instructions": tables.instructions,
        "interval": lambda ends, form: tables.interval(ends, FORMS[form]),
    }
    champion = summary["champion"]
    shown = champion or "fp32"
    return environment.get_template("template.html").render(
        summary=summary,
        champion=champion,
        shown=shown,
        best=summary["variants"][shown],
        others=[name for name in summary["variants"] if name != shown],
        verdicts=verdicts(summary),
        controls=control_verdicts(summary),
        leak=leak_verdict(results.evaluations[shown], results.data["drop_leaks"]),
        gates=GATES,
        limit=tables.limit,
        reached=tables.reached,
        flips={
            name: count_by_class(results.labels, results.predictions["fp32"], predicted, summary["classes"])
            for name, predicted in results.predictions.items()
            if name != "fp32"
        },
        results=results,
        findings=findings(results.data),
        figures=embed(folder, figure_names(list(summary["variants"]))),
    )


def embed(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Read PNG figures as data URIs."""
    figures = {}
    for name in names:
        path = folder / f"{name}.png"
        if not path.is_file():
            raise EdgemotionError(f"{path} is missing; run the stage that makes it with `dvc repro`")
        figures[name] = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    return figures


def findings(data: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The counts of data_report.json in words."""
    duplicates, leaks = data["duplicates"], data["leaks"]
    return [
        ("groups of identical images", duplicates["groups"]),
        ("surplus copies in these groups", duplicates["surplus_images"]),
        ("groups that span several splits", duplicates["groups_across_splits"]),
        ("groups whose labels contradict each other", duplicates["groups_with_label_conflict"]),
        ("test images that also stand in train (leaks)", leaks["test_in_train"]),
        ("val images that also stand in train (leaks)", leaks["val_in_train"]),
        ("val images that also stand in test (leaks)", leaks["val_in_test"]),
        ("nearly constant images", data["constant"]),
        ("unreadable images", data["unreadable"]),
        *((f"layout: {kind}", count) for kind, count in data["layout_errors"].items() if kind != "unreadable"),
    ]
