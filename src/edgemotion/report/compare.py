"""Finished experiments in; one table, one JSON file and one figure that compare them out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgemotion.errors import EdgemotionError
from edgemotion.files import write_json, write_text
from edgemotion.report.compare_figure import figure
from edgemotion.report.experiments import Experiment
from edgemotion.report.lock import lookup
from edgemotion.report.png import save
from edgemotion.report.tables import interval, megabytes, millions, milliseconds, percent, points, times
from edgemotion.report.training_time import training_minutes

INT8 = "int8_static"
FIGURE = "comparison.png"
DASH = "\N{EN DASH}"
Row = dict[str, Any]


def compare(experiments: Sequence[Experiment], root: Path | str = ".") -> list[Row]:
    """One row of plain numbers an experiment, by dataset and falling top-1; `root` is the project they belong to.

    Raises EdgemotionError when there is no experiment.
    """
    if not experiments:
        raise EdgemotionError("there is no finished experiment to compare; make one with `dvc exp run`")
    rows = [row_of(experiment, root) for experiment in experiments]
    return sorted(rows, key=lambda row: (row["dataset"], -row["top1"], row["experiment"]))


def row_of(experiment: Experiment, root: Path | str) -> Row:
    """The numbers of the fp32 variant, and beside them those of int8_static and the champion's name."""
    params, summary = experiment.params, experiment.summary
    fp32, int8 = summary["variants"]["fp32"], summary["variants"].get(INT8)
    cost = ("parameters", "size_bytes", "macs", "p50_ms")
    quality = ("top1", "top1_ci", "top1_leak_free", "macro_f1", "ece", "map50")
    return {
        "experiment": experiment.name,
        "dataset": summary["dataset"],
        # An earlier version told no device.
        "trained_on": summary.get("trained_on", "cpu"),
        "drop_leaks": lookup(params, "data.drop_leaks"),
        "val_kept": lookup(params, "data.args.val_kept"),
        "pixels": [lookup(params, f"data.{key}") for key in ("height", "width", "channels")],
        "network": summary["network"],
        "start": Path(lookup(params, "model.args.weights") or "scratch").name,
        "epochs": lookup(params, "train.epochs"),
        **{key: fp32.get(key) for key in (*cost, *quality)},
        "int8": int8 and {key: int8[key] for key in ("top1", "top1_ci", "drop", "p50_ms", "speedup", "speedup_ci")},
        "champion": summary["champion"],
        "training_minutes": training_minutes(params.get("tracking") or {}, fp32.get("weights_sha256"), root),
        "threads": lookup(params, "profile.threads"),
    }


def markdown(rows: Sequence[Row]) -> str:
    """The table, and under it what may and may not be read from it."""
    detects = any(row["map50"] is not None for row in rows)
    header = [
        "experiment", "dataset", "network", "start", "epochs", "parameters", "size", "MACs", "top-1 [95 % CI]",
        "leak-free", "macro-F1", "ECE", *(["mAP50"] if detects else []), "p50 ms", "int8 top-1",
        "int8 drop, points [95 % CI]", "int8 speed-up [95 % CI]", "champion", "training min",
    ]  # fmt: skip
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * 4 + " ---: |" * (len(header) - 6) + " --- | ---: |"]
    lines += ["| " + " | ".join(cells(row, detects)) + " |" for row in rows]
    return "\n".join(lines) + "\n\n" + notes(rows) + "\n"


def cells(row: Row, detects: bool) -> list[str]:
    int8 = row["int8"]
    height, width, channels = row["pixels"]
    return [
        row["experiment"],
        f"{row['dataset']} {width}x{height} {'gray' if channels == 1 else 'RGB'}",
        row["network"],
        row["start"],
        str(row["epochs"]),
        told(row["parameters"], millions),
        megabytes(row["size_bytes"]),
        millions(row["macs"]),
        f"{percent(row['top1'])} {interval(row['top1_ci'], percent)}",
        told(row["top1_leak_free"], percent),
        f"{row['macro_f1']:.3f}",
        f"{row['ece']:.3f}",
        *([told(row["map50"], "{:.3f}".format)] if detects else []),
        milliseconds(row["p50_ms"]),
        percent(int8["top1"]) if int8 else DASH,
        f"{points(int8['drop']['top1'])} {interval(int8['drop']['ci'], points)}" if int8 else DASH,
        f"{times(int8['speedup'])} {interval(int8['speedup_ci'], times)}" if int8 else DASH,
        row["champion"] or "none keeps the budget",
        told(row["training_minutes"], "{:.1f}".format),
    ]


def told(value: float | None, form: Callable[[Any], str]) -> str:
    """A number in its form; a dash for what was not recorded."""
    return DASH if value is None else form(value)


def notes(rows: Sequence[Row]) -> str:
    """What a reader must know before comparing two rows."""
    threads = sorted({row["threads"] for row in rows})
    pinned = f"{threads[0]} thread{'s' * (threads[0] != 1)}" if len(threads) == 1 else "different numbers of threads"
    parts = [
        "Top-1, macro-F1, ECE, size, MACs and p50 are those of fp32; int8 is int8_static. Its drop and speed-up are "
        "over fp32 of the same row, paired on the same images and measured interleaved in one run. Leak-free is the "
        "top-1 on test images without a copy in the training split before any is dropped.",
        f"Latencies of different rows come from separate runs of the same protocol (one image, {pinned}) on the CPU "
        "that each run's report names, so between rows they compare only roughly.",
    ]
    if len({row["epochs"] for row in rows}) > 1:
        parts.append(
            "The networks trained for different numbers of epochs, so a row is a recipe and not its network's best."
        )
    trained: dict[str, list[str]] = {}
    for row in rows:
        data = ["with the copies of test images"] * (row["drop_leaks"] is False)
        data += [f"with all of val but a share of {row['val_kept']}"] * (row["val_kept"] is not None)
        data += [f"on {row['trained_on']}"] * (row["trained_on"] != "cpu")
        if data:
            trained.setdefault(" and ".join(data), []).append(row["experiment"])
    parts += [f"Trained {data}: {', '.join(names)}." for data, names in trained.items()]
    if any(row["training_minutes"] is not None for row in rows):
        parts.append("Training minutes are wall-clock, on whatever machine ran that training, and include teachers.")
    if any(row["map50"] is not None for row in rows):
        parts.append("A detector sees whole images and is scored by its best box, a classifier sees the cut-out faces.")
    if len({row["dataset"] for row in rows}) > 1:
        parts.append("Accuracies on different datasets do not compare.")
    return " ".join(parts)


def write(folder: Path | str, rows: Sequence[Row]) -> None:
    """Write comparison.md, comparison.json and comparison.png."""
    folder = Path(folder)
    text = markdown(rows)
    write_json(folder / "comparison.json", {"rows": list(rows), "notes": notes(rows)})
    write_text(folder / "comparison.md", f"{text}\n![Accuracy, latency and cost of each experiment]({FIGURE})\n")
    save(figure(rows), folder / FIGURE)
