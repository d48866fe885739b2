"""The reports of all variants in; one summary with every variant compared to fp32 on the same images out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgemotion.datasets.splits import read_split
from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json
from edgemotion.measure.statistics import mcnemar, paired_bootstrap

RESAMPLES = 10_000


@dataclass(frozen=True)
class Results:
    """All reports of one pipeline run; the mappings go from the variant's name, in the order of the settings.

    `correct` bool [N] says which images of the test split a variant gets right.
    """

    evaluations: dict[str, dict[str, Any]]
    robustness: dict[str, dict[str, Any]]
    temporal: dict[str, dict[str, Any]]
    infos: dict[str, dict[str, Any]]
    correct: dict[str, np.ndarray]
    profile: dict[str, Any]
    selection: dict[str, Any]
    data: dict[str, Any]


def read_results(variants: Sequence[str]) -> Results:
    """Read what the stages before wrote for these variants; EdgemotionError names a missing or contradicting file."""
    labels = read_split("data/prepared/test").labels
    results = Results(
        evaluations={name: read_json(f"reports/evaluate/{name}.json") for name in variants},
        robustness={name: read_json(f"reports/robustness/{name}.json") for name in variants},
        temporal={name: read_json(f"reports/temporal/{name}.json") for name in variants},
        infos={name: read_json(f"models/variants/{name}/model_info.json") for name in variants},
        correct={name: read_correct(Path(f"reports/predictions/{name}.npy"), labels) for name in variants},
        profile=read_json("reports/profile.json"),
        selection=read_json("reports/select.json"),
        data=read_json("data/prepared/data_report.json"),
    )
    for name in variants:
        found, told = results.correct[name].mean(), results.evaluations[name]["top1"]
        if abs(found - told) > 1e-6:
            raise EdgemotionError(
                f"reports/predictions/{name}.npy gives a top-1 of {found:.6f}, reports/evaluate/{name}.json says "
                f"{told:.6f}; they are of different runs, so run `dvc repro`"
            )
        for path, part in (("profile", results.profile), ("select", results.selection)):
            if name not in part["variants"]:
                raise EdgemotionError(f"reports/{path}.json has no variant {name!r}; run `dvc repro {path}`")
    return results


def read_correct(path: Path, labels: np.ndarray) -> np.ndarray:
    """Compare the predictions int16 [N] of a variant with the labels [N]."""
    if not path.is_file():
        raise EdgemotionError(f"{path} is missing; run the stage evaluate with `dvc repro`")
    predictions = np.load(path)
    if predictions.shape != labels.shape:
        raise EdgemotionError(f"{path} has {len(predictions)} predictions for {len(labels)} labels; run `dvc repro`")
    return predictions == labels


def summarise(results: Results, dataset: str, network: str, seed: int) -> dict[str, Any]:
    """Join all reports into the content of reports/summary.json; a drop above 0 means less accurate than fp32."""
    return {
        "dataset": dataset,
        "network": network,
        "champion": results.selection["champion"],
        "classes": results.infos["fp32"]["classes"],
        "variants": {name: join(results, name, seed) for name in results.evaluations},
    }


def join(results: Results, name: str, seed: int) -> dict[str, Any]:
    """Everything measured on one variant."""
    evaluation, info, timing = results.evaluations[name], results.infos[name], results.profile["variants"][name]
    temporal = results.temporal[name]
    return {
        **{key: info[key] for key in ("method", "parent", "temperature", "sha256", "weights_sha256", "parameters")},
        **{key: info[key] for key in ("size_bytes", "compressed_bytes", "macs")},
        "top1": evaluation["top1"],
        "top1_ci": evaluation["top1_ci"],
        "top1_leak_free": evaluation["leak_free"]["top1"],
        "top1_leak_free_ci": evaluation["leak_free"]["top1_ci"],
        "macro_f1": evaluation["macro_f1"],
        "ece": evaluation["ece"],
        **{key: evaluation[key] for key in ("map50", "map50_95") if key in evaluation},
        **{key: timing[key] for key in ("p50_ms", "p95_ms", "p99_ms", "speedup", "speedup_ci")},
        "drop": compare(results.correct["fp32"], results.correct[name], seed),
        "robust": {scenario: score["top1"] for scenario, score in results.robustness[name]["scenarios"].items()},
        "temporal": {kind: temporal[kind] for kind in ("raw", "smoothed")},
        "gates": {gate: entry["passed"] for gate, entry in results.selection["variants"][name]["gates"].items()},
    }


def compare(reference: np.ndarray, other: np.ndarray, seed: int) -> dict[str, Any]:
    """Accuracy lost against the reference, both bool [N] on the same images, with its 95 % interval and p-value."""
    return {
        "top1": round(float(reference.mean() - other.mean()), 6),
        "ci": paired_bootstrap(reference, other, seed, RESAMPLES),
        "mcnemar_p": round(mcnemar(reference, other), 6),
    }


def verdicts(summary: Mapping[str, Any]) -> list[str]:
    """One plain sentence for each compressed variant on whether it is faster, and as accurate, as fp32."""
    return [
        f"{name} {speed_verdict(entry)} and {accuracy_verdict(entry['drop'])}; {size_verdict(entry)}."
        for name, entry in summary["variants"].items()
        if name != "fp32"
    ]


def size_verdict(entry: Mapping[str, Any]) -> str:
    """Zeroed weights stay in the file and only show under compression, so both sizes are told."""
    return f"{entry['size_bytes'] / 1e6:.2f} MB, {entry['compressed_bytes'] / 1e6:.2f} MB under gzip"


def speed_verdict(entry: Mapping[str, Any]) -> str:
    low, high = entry["speedup_ci"]
    interval = f"(95 % interval {low:.2f} to {high:.2f})"
    if high < 1:
        return f"is slower than fp32: {entry['speedup']:.2f} times its speed {interval}"
    if low <= 1:
        return f"is not measurably faster than fp32: {entry['speedup']:.2f} times its speed {interval}"
    return f"is {entry['speedup']:.2f} times as fast as fp32 {interval}"


def accuracy_verdict(drop: Mapping[str, Any]) -> str:
    low, high = (100 * end for end in drop["ci"])
    lost, test = 100 * drop["top1"], f"McNemar p {p_value(drop['mcnemar_p'])}"
    if low > 0:
        return f"loses {lost:.1f} points of top-1 (95 % interval {low:.1f} to {high:.1f}, {test})"
    if high < 0:
        return f"gains {-lost:.1f} points of top-1 (95 % interval {-high:.1f} to {-low:.1f}, {test})"
    return (
        "shows no measurable difference in top-1 "
        f"({-lost:+.1f} points, 95 % interval {-high:+.1f} to {-low:+.1f}, {test})"
    )


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
