"""Measured trials in; reports/pareto/ with table and figure, and a compression config of the kept variants, out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from edgemotion.files import write_json, write_text
from edgemotion.measure.environment import describe
from edgemotion.report.pareto_figure import figure
from edgemotion.report.png import save
from edgemotion.report.tables import interval, megabytes, millions, percent
from edgemotion.search.bench import Bench
from edgemotion.search.front import Row, compression, judge, keep
from edgemotion.search.networks import FP32, choices

FOLDER = Path("reports/pareto")
FIGURE = "pareto.png"
CONFIG = Path("configs/compression/pareto.yaml")
HEAD = """\
# @package _global_
# Written by `invoke pareto`, which overwrites it: variants of the front that were chosen on val. The pipeline makes and
# measures them with `dvc exp run -S compression=pareto`, after the `-S` choices that the search was made with.
"""
NOTE = (
    "Latencies are ratios to fp32's p50, both timed in turn in one process at batches of one, so that trials of "
    "different hours compare. A front of many trials holds lucky ones: val has chosen them, and what they are worth "
    "is told by the test split of `dvc exp run -S compression=pareto`, after the `-S` choices of this run."
)


def write(bench: Bench, rows: Sequence[Row]) -> list[Row]:
    """Write front.json, front.md, pareto.png and configs/compression/pareto.yaml; return the judged rows.

    A row gains `front`, `passed`, `rank` and `reason` by the gates of select, and `kept`.
    """
    settings = bench.settings
    judged = judge(rows, settings.select)
    kept = keep(judged, settings.pareto.keep)
    judged = [{**row, "kept": row in kept} for row in judged]
    content: dict[str, Any] = {
        "split": "val",
        "weights_sha256": bench.parents[FP32].variant.info["weights_sha256"],
        "environment": describe(settings.profile.threads),
        "select": asdict(settings.select),
        "protocol": {"rounds": settings.pareto.rounds, "warmup": settings.profile.warmup, "note": NOTE},
        "networks": {
            name: {
                "macs": parent.variant.info["macs"],
                "epochs": own_epochs(parent.variant.info),
                "layers": parent.layers,
            }
            for name, parent in bench.parents.items()
        },
        "trials": judged,
    }
    write_json(FOLDER / "front.json", content)
    epochs = ", ".join(f"{name} {network['epochs']}" for name, network in content["networks"].items())
    write_text(
        FOLDER / "front.md",
        f"{markdown(judged)}\n"
        f"Epochs of training: {epochs}; `structured` goes on from fp32's weights and has lost at least "
        "the share of the MACs that its name tells, `slim` starts from fresh ones.\n\n"
        f"![Accuracy against latency and size]({FIGURE})\n",
    )
    save(figure(judged), FOLDER / FIGURE)
    config = compression(kept, choices(settings.pareto), settings.pareto.quantize)
    write_text(CONFIG, HEAD + OmegaConf.to_yaml(OmegaConf.create(config)))
    return judged


def own_epochs(info: Mapping[str, Any]) -> int:
    """For how many epochs a network was trained, after its parent where it has one; `info` is its variant's record."""
    made = info["settings"]
    return int(made["train"]["epochs"]) * int(made.get("prune", {}).get("rounds", 1))


def markdown(rows: Sequence[Row]) -> str:
    """The front as a table, the fastest first and what is kept of it in bold, and how to read it."""
    header = ("variant", "MACs", "size", "val top-1 [95 % CI]", "p50 of fp32's [95 % CI]", "float layers", "budget")
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * 4 + " --- | --- |"]
    front = sorted((row for row in rows if row["front"]), key=lambda row: (row["p50_ratio"], row["trial"]))
    lines += ["| " + " | ".join(cells(row)) + " |" for row in front]
    kept = sum(row["kept"] for row in rows)
    counts = f"{len(rows)} trials, {len(front)} of them on the front, {kept} kept (bold)."
    return "\n".join([*lines, "", f"{counts} {NOTE}", ""])


def cells(row: Row) -> list[str]:
    floats = len(row["float_layers"])
    return [
        f"**{row['variant']}**" if row["kept"] else row["variant"],
        millions(row["macs"]),
        megabytes(row["size_bytes"]),
        f"{percent(row['top1'])} {interval(row['top1_ci'], percent)}",
        f"{row['p50_ratio']:.3f} {interval(row['p50_ratio_ci'], '{:.3f}'.format)}",
        f"all {floats}" if floats == row["layers"] else ", ".join(row["float_layers"]) or "none",
        row["reason"] or "within",
    ]
