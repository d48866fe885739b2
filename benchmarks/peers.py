"""One trained network through this project's int8 and through its peers': accuracy, size and latency from one run.

    uv run --group peers python benchmarks/peers.py --network models/networks/fp32 --variants models/variants \
        --data data/prepared --output reports/peers

Each candidate is written to a file and measured from it. It takes the same uint8 images [1,H,W,C] and answers with
probabilities; normalisation, temperature and softmax are inside the measured call, in the peers' graphs as in ours.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from candidates import FLOAT, PACKAGES, Call, Candidate, build

from edgemotion.compression.static import draw
from edgemotion.datasets.splits import Split, read_split, split_sha256
from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file, write_json, write_text
from edgemotion.measure.accuracy import top1
from edgemotion.measure.environment import describe
from edgemotion.measure.latency import cut, interleave, percentiles, pinned
from edgemotion.measure.statistics import bootstrap_ratio, mcnemar, paired_bootstrap
from edgemotion.report.tables import interval, milliseconds, percent, points, times
from edgemotion.runtime.variant import Variant, load_variant

GOAL = "openvino_int8"
# Of our int8's latency to OpenVINO's.
GOAL_RATIO = 1.05
PROTOCOLS = ("interleaved", "in_a_row")
IN_A_ROW = 10
NOTE = (
    "One image a call, one thread, one core. Interleaved: every candidate once a round, so each finds the caches "
    f"filled by the others. In a row: {IN_A_ROW} calls of one candidate before the next has its turn, so the caches "
    "are its own. Ratios are of median latencies in the same rounds. The peers' batch is fixed to one, ours is not."
)

Arrays = Mapping[str, np.ndarray]


def same_network(folder: Path, reference: str) -> dict[str, Variant]:
    """The fp32 variant and all int8 ones made from it; EdgemotionError without the `reference` among them."""
    found = {path.parent.name: load_variant(path.parent) for path in sorted(folder.glob("*/model_info.json"))}
    chosen = {
        name: variant
        for name, variant in found.items()
        if name == FLOAT or (variant.info["parent"] == FLOAT and str(variant.info["method"]).endswith("_int8"))
    }
    for name in (FLOAT, reference):
        if name not in chosen:
            raise EdgemotionError(f"{folder} has no {name!r} of the network fp32; make it with `dvc repro quantize`")
    if chosen[FLOAT].detects:
        raise EdgemotionError(f"{folder / FLOAT} is a detector; this comparison is of classifiers")
    return {FLOAT: chosen.pop(FLOAT), **chosen}


def calibration_images(reference: Variant, train: np.ndarray) -> np.ndarray:
    """The training images, uint8 [N,H,W,C], that the reference was calibrated with."""
    settings = reference.info["settings"]
    args = settings["args"].get("static", settings["args"])
    if "calibration_images" not in args:
        raise EdgemotionError(f"{reference.folder} was quantized without calibration images; choose another reference")
    return draw(train, args["calibration_images"], settings["seed"])


def repeat(call: Call) -> Callable[[np.ndarray], None]:
    """Call it IN_A_ROW times."""

    def run(batch: np.ndarray) -> None:
        for _ in range(IN_A_ROW):
            call(batch)

    return run


def measure(
    candidates: Mapping[str, Candidate], test: Split, rounds: int, warmup: int
) -> tuple[Arrays, dict[str, Arrays]]:
    """Which test images each candidate has right, bool [N], and its nanoseconds [rounds] by each of PROTOCOLS."""
    batches = cut(test.images, 1)
    calls = {name: candidate.call for name, candidate in candidates.items()}
    correct = {
        name: np.concatenate([call(batch).argmax(1) for batch in batches]) == test.labels
        for name, call in calls.items()
    }
    rows = interleave({name: repeat(call) for name, call in calls.items()}, batches, max(20, rounds // IN_A_ROW), 1)
    return correct, {
        "interleaved": interleave(calls, batches, rounds, warmup),
        "in_a_row": {name: found / IN_A_ROW for name, found in rows.items()},
    }


def tabulate(
    described: Mapping[str, Mapping[str, Any]],
    correct: Arrays,
    measured: Mapping[str, Arrays],
    reference: str,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """One row of plain numbers a candidate, with what it differs by from the reference and from our fp32.

    `correct` is bool [N] on the same images; `measured` holds the nanoseconds [rounds] of each of PROTOCOLS.
    """

    def against(name: str, other: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "top1": round(float(correct[name].mean() - correct[other].mean()), 6),
            "top1_ci": paired_bootstrap(correct[name], correct[other], seed),
            "mcnemar_p": round(mcnemar(correct[name], correct[other]), 6),
            "size": round(described[name]["size_bytes"] / described[other]["size_bytes"], 6),
        }
        for protocol in PROTOCOLS:
            mine, theirs = measured[protocol][name], measured[protocol][other]
            found[protocol] = round(float(np.median(mine) / np.median(theirs)), 6)
            found[f"{protocol}_ci"] = bootstrap_ratio(mine, theirs, seed)
        return found

    return {
        name: {
            **entry,
            **top1(correct[name]),
            **{protocol: percentiles(measured[protocol][name]) for protocol in PROTOCOLS},
            "against": {other: against(name, other) for other in (reference, FLOAT) if other != name},
        }
        for name, entry in described.items()
    }


def goal(rows: Mapping[str, Mapping[str, Any]], reference: str) -> dict[str, Any]:
    """Whether our int8 is as accurate as OpenVINO's and takes at most GOAL_RATIO times its latency, both ways."""
    found = rows[GOAL]["against"][reference]
    latency = {protocol: round(1 / found[protocol], 6) for protocol in PROTOCOLS}
    ends = {f"{name}_ci": [round(1 / end, 6) for end in reversed(found[f"{name}_ci"])] for name in PROTOCOLS}
    as_accurate = found["top1_ci"][0] <= 0
    kept = as_accurate and max(latency.values()) <= GOAL_RATIO
    return {"limit": GOAL_RATIO, **latency, **ends, "as_accurate": as_accurate, "kept": kept}


def takes(found: Mapping[str, Any], protocol: str) -> str:
    """A latency in parts of another's, with its interval."""
    return f"{times(found[protocol])} {interval(found[f'{protocol}_ci'], times)}"


def outcome(found: Mapping[str, Any], protocol: str) -> str:
    """A latency in parts of another's, and what its interval shows."""
    low, high = found[f"{protocol}_ci"]
    word = "wins" if high < 1 else "loses" if low > 1 else "neither wins nor loses"
    return f"{takes(found, protocol)} the latency and {word}"


def sentence(name: str, row: Mapping[str, Any], other: str) -> str:
    """Who wins by how much, of a peer and one of our variants."""
    found = row["against"][other]
    shown = "a difference" if found["mcnemar_p"] < 0.05 else "no difference shown"
    return (
        f"{row['toolkit']} ({name}) against our {other}: interleaved it takes {outcome(found, 'interleaved')}, in a "
        f"row {outcome(found, 'in_a_row')}; its top-1 is {points(found['top1'])} points "
        f"{interval(found['top1_ci'], points)} (p = {found['mcnemar_p']:.3f}, {shown}); its file has "
        f"{times(found['size'])} the bytes."
    )


def made_with(args: Mapping[str, Any]) -> str:
    """The arguments of one of our quantizations in words, those of its static part among them."""
    return ", ".join(
        made_with(value) if isinstance(value, Mapping) else f"{key} {json.dumps(value)}" for key, value in args.items()
    )


def markdown(report: Mapping[str, Any]) -> str:
    """The table, a sentence a peer, the goal, and what the figures were measured on."""
    rows, reference, environment = report["candidates"], report["reference"], report["environment"]
    header = [
        "candidate", "toolkit", "method", "top-1 [95 % CI]", f"points to {reference} [95 % CI]", "McNemar p", "bytes",
        "p50 ms", "p99 ms", f"latency to {reference} [95 % CI]", "in a row p50 ms", "in a row to it [95 % CI]",
    ]  # fmt: skip
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * 3 + " ---: |" * (len(header) - 3)]
    for name, row in rows.items():
        found = row["against"].get(reference)
        cells = [
            f"**{name}**" if row["ours"] else name,
            row["toolkit"],
            row["method"],
            f"{percent(row['top1'])} {interval(row['top1_ci'], percent)}",
            f"{points(found['top1'])} {interval(found['top1_ci'], points)}" if found else "",
            f"{found['mcnemar_p']:.3f}" if found else "",
            f"{row['size_bytes']:,}",
            milliseconds(row["interleaved"]["p50_ms"]),
            milliseconds(row["interleaved"]["p99_ms"]),
            takes(found, "interleaved") if found else times(1),
            milliseconds(row["in_a_row"]["p50_ms"]),
            takes(found, "in_a_row") if found else times(1),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    peers = {name: row for name, row in rows.items() if not row["ours"]}
    said = [f"- {sentence(name, row, reference if row['int8'] else FLOAT)}" for name, row in peers.items()]
    reached = report["goal"]
    versions = ", ".join(f"{package} {number}" for package, number in environment["versions"].items())
    protocol = report["protocol"]
    return "\n".join(
        [
            *lines,
            "",
            *said,
            f"- Goal {'kept' if reached['kept'] else 'missed'}: {reference} takes {takes(reached, 'interleaved')} the "
            f"latency of OpenVINO's int8 interleaved and {takes(reached, 'in_a_row')} in a row, at most "
            f"{times(reached['limit'])} is wanted, and it is {'not ' if reached['as_accurate'] else ''}shown to be "
            "less accurate.",
            *(f"- Our {name} was made with {made_with(args)}." for name, args in report["settings"].items()),
            "",
            f"{protocol['note']} {protocol['rounds']} rounds. The peers' static int8 is calibrated with the "
            f"{protocol['calibration_images']} training images of {reference}.",
            "",
            f"{environment['cpu']} ({', '.join(environment['flags'])}); {versions}.",
            "",
        ]
    )


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Build all candidates, measure them and return the report."""
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise EdgemotionError(
            f"{', '.join(missing)} not installed; run `uv run --group peers python benchmarks/peers.py` "
            "with Python 3.11"
        )
    variants = same_network(given.variants, given.reference)
    parent = variants[FLOAT]
    if sha256_file(given.network / "model.safetensors") != parent.info["weights_sha256"]:
        raise EdgemotionError(f"{given.network} is not the network that {parent.folder} was exported from")
    if split_sha256(given.data / "train") != parent.info["data_sha256"]:
        raise EdgemotionError(f"{given.data / 'train'} is not the training split that {parent.folder} was made with")
    train, test = (read_split(given.data / name, classes=parent.classes) for name in ("train", "test"))
    images = calibration_images(variants[given.reference], train.images)
    environment = describe(threads=1)
    # Before any toolkit starts its threads.
    with pinned(1), TemporaryDirectory() as scratch:
        candidates = build(variants, given.network, images, Path(scratch))
        correct, measured = measure(candidates, test, given.rounds, given.warmup)
    environment["versions"] |= {package: version(package) for package in ("torch", *PACKAGES)}
    described = {name: candidate.description() for name, candidate in candidates.items()}
    rows = tabulate(described, correct, measured, given.reference, given.seed)
    protocol = {
        "rounds": given.rounds, "warmup": given.warmup, "in_a_row": IN_A_ROW, "calibration_images": len(images),
        "note": NOTE,
    }  # fmt: skip
    return {
        "environment": environment,
        "protocol": protocol,
        "network": {"weights_sha256": parent.info["weights_sha256"], "data_sha256": parent.info["data_sha256"]},
        "reference": given.reference,
        "settings": {name: variant.info["settings"]["args"] for name, variant in variants.items() if name != FLOAT},
        "candidates": rows,
        "goal": goal(rows, given.reference),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare this project's int8 with OpenVINO, ExecuTorch and plain ORT.")
    parser.add_argument("--network", type=Path, default=Path("models/networks/fp32"))
    parser.add_argument("--variants", type=Path, default=Path("models/variants"))
    parser.add_argument("--data", type=Path, default=Path("data/prepared"))
    parser.add_argument("--output", type=Path, default=Path("reports/peers"), help="folder of peers.json and peers.md")
    parser.add_argument("--reference", default="int8_static", help="the variant that the peers are compared with")
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--seed", type=int, default=42, help="of the bootstrap")
    given = parser.parse_args()
    try:
        report = compare(given)
    except EdgemotionError as error:
        sys.exit(f"error: {error}")
    write_json(given.output / "peers.json", report)
    write_text(given.output / "peers.md", markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
