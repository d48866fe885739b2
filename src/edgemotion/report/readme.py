"""What is published in; the README of each published run and the results blocks of the project's README out."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, write_text
from edgemotion.report.lock import lookup, parse_yaml
from edgemotion.report.summary import control_verdicts
from edgemotion.report.tables import instructions, percent, points, results_table

PUBLISHED = Path("reports/published")
# `<!-- results of a, b -->` shows these runs in full and links the others.
RESULTS_OF = re.compile("<!-- results of ([a-z0-9_., -]+) -->")
RESULTS = ("<!-- results -->", "<!-- /results -->")
# What may lie beside a run's reports.
STUDIES = {
    "ablation.md": "what each choice of the recipe is worth on val",
    "front.md": "accuracy, latency and size of pruned, slimmer and partly quantized networks on val",
    "peers.md": "the same network through other tools",
}
COMPARISON = ("<!-- comparison:start -->", "<!-- comparison:end -->")


def results_block(published: Path | str = PUBLISHED, names: Sequence[str] = ()) -> str:
    """The results block of the README: the published runs `names` in full and links to the others; all without names.

    Raises EdgemotionError for a name under which nothing is published.
    """
    found = {folder.name: folder for folder in published_runs(published)}
    if unknown := [name for name in names if name not in found]:
        raise EdgemotionError(f"the README shows {unknown[0]!r}, which is not in {published}; name a published run")
    shown = list(names) or list(found)
    sections = [section(f"### [{name}]({PUBLISHED}/{name}/)", found[name]) for name in shown]
    links = ", ".join(f"[{name}]({PUBLISHED}/{name}/)" for name in found if name not in shown)
    return "\n".join(sections) + (f"\nAlso published: {links}.\n" if links else "")


def published_runs(published: Path | str = PUBLISHED) -> list[Path]:
    """The folders of the published runs, by name."""
    return sorted(path.parent for path in Path(published).glob("*/summary.json"))


def section(name: str, folder: Path) -> str:
    """A published run under the heading `name`: dataset, network and epochs, the table, the machine and verdicts."""
    summary, machine, data = (read_json(folder / f"{part}.json") for part in ("summary", "environment", "data_report"))
    threads = f"{machine['threads']} thread" + ("" if machine["threads"] == 1 else "s")
    chosen = "The champion is in bold." if summary["champion"] else "No variant keeps the budget, so none is champion."
    notes = (
        f"*Leak-free* leaves out test images that also stand in the training split before any is dropped; "
        f"{leaks(summary['variants']['fp32'], data['drop_leaks'])}. {chosen} "
        f"Latency of one image on {machine['cpu']}, {threads}; "
        f"{instructions(machine['flags'])} Speed-up is over fp32, measured interleaved in one run."
    )
    slower = [name for name, entry in summary["variants"].items() if entry["speedup_ci"][1] < 1]
    if slower:
        notes += f" Slower than fp32 here: {', '.join(slower)}."
    # An earlier version told no device.
    if (device := summary.get("trained_on", "cpu")) != "cpu":
        notes += f" Trained on {device}."
    if data["layout_errors"]:
        told = ", ".join(f"{kind} ({count:,})" for kind, count in data["layout_errors"].items())
        notes += f" Found in the data: {told}."
    choices = "".join(f"- {sentence}\n" for sentence in control_verdicts(summary))
    params = parse_yaml((folder / "params.yaml").read_text(encoding="utf-8"))
    epochs = lookup(params, "train.epochs")
    title = f"{name}: {summary['dataset']}, network {summary['network']}, {epochs} epochs"
    return f"{title}\n\n{results_table(summary)}\n{notes}\n" + (f"\n{choices}" if choices else "")


def run_page(name: str, folder: Path) -> str:
    """The README of a published run: its section, and links to the studies that lie beside it."""
    links = "".join(f"- [{path}]({path}): {title}\n" for path, title in STUDIES.items() if (folder / path).is_file())
    return section(f"# {name}", folder) + (f"\n{links}" if links else "")


def leaks(fp32: Mapping[str, Any], dropped: bool) -> str:
    """How training treated the copies of test images, and what it is worth to fp32 where it saw them."""
    if not fp32["n_leaked"]:
        return "there are none"
    on_them = f"{fp32['n_leaked']} images, of which fp32 gets {percent(fp32['top1_leaked'])}"
    if dropped:
        return f"training did without their copies ({on_them})"
    if fp32["top1_leak_free"] is None:
        return f"training saw their copies ({on_them}), and there are no others"
    worth = points(fp32["top1"] - fp32["top1_leak_free"])
    return f"training saw their copies ({on_them}), which is worth up to {worth} points on the whole split"


def comparison_block(published: Path | str = PUBLISHED) -> str:
    """The comparison block of the README: comparison/comparison.md, its figure found from there; empty before it."""
    path = Path(published) / "comparison/comparison.md"
    if not path.is_file():
        return ""
    return path.read_text(encoding="utf-8").replace("](comparison.png)", f"]({PUBLISHED}/comparison/comparison.png)")


def updated(text: str, block: str, markers: tuple[str, str] = RESULTS) -> str:
    """Put a block between the markers of a README; EdgemotionError when there is not exactly one pair."""
    start, end = markers
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise EdgemotionError(f"the README needs one line {start!r} and, after it, one line {end!r}")
    before, rest = text.split(start)
    middle = f"\n{block}\n" if block else ""
    return f"{before}{start}\n{middle}{end}{rest.split(end)[1]}"


def current_readme(text: str, published: Path | str = PUBLISHED) -> str:
    """A README with the results block, and the comparison block where it has the markers of one, made anew."""
    named = RESULTS_OF.search(text)
    names = re.split("[, ]+", named[1]) if named else []
    text = updated(text, results_block(published, names), (named[0] if named else RESULTS[0], RESULTS[1]))
    if COMPARISON[0] in text:
        text = updated(text, comparison_block(published), COMPARISON)
    return text


def update_readme(readme: Path | str = "README.md", published: Path | str = PUBLISHED) -> None:
    """Regenerate the blocks of the README and the README of each published run from what is published."""
    readme = Path(readme)
    for folder in published_runs(published):
        write_text(folder / "README.md", run_page(folder.name, folder))
    write_text(readme, current_readme(readme.read_text(encoding="utf-8"), published))
