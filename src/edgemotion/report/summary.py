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
from edgemotion.report.flips import count_flips
from edgemotion.report.tables import interval, percent, points

RESAMPLES = 10_000


@dataclass(frozen=True)
class Results:
    """All reports of one pipeline run; the mappings go from the variant's name, in the order of the settings.

    `labels` int64 [N] and `ids` are those of the test split, `predictions` int16 [N] the classes a variant answers.
    """

    evaluations: dict[str, dict[str, Any]]
    robustness: dict[str, dict[str, Any]]
    temporal: dict[str, dict[str, Any]]
    infos: dict[str, dict[str, Any]]
    labels: np.ndarray
    ids: list[str]
    predictions: dict[str, np.ndarray]
    profile: dict[str, Any]
    selection: dict[str, Any]
    data: dict[str, Any]

    def correct(self, name: str) -> np.ndarray:
        """Which images of the test split a variant gets right, bool [N]."""
        return self.predictions[name] == self.labels


def read_results(variants: Sequence[str]) -> Results:
    """Read what the stages before wrote for these variants; EdgemotionError names a missing or contradicting file."""
    test = read_split("data/prepared/test")
    results = Results(
        evaluations={name: read_json(f"reports/evaluate/{name}.json") for name in variants},
        robustness={name: read_json(f"reports/robustness/{name}.json") for name in variants},
        temporal={name: read_json(f"reports/temporal/{name}.json") for name in variants},
        infos={name: read_json(f"models/variants/{name}/model_info.json") for name in variants},
        labels=test.labels,
        ids=test.ids,
        predictions={name: read_predictions(Path(f"reports/predictions/{name}.npy"), len(test)) for name in variants},
        profile=read_json("reports/profile.json"),
        selection=read_json("reports/select.json"),
        data=read_json("data/prepared/data_report.json"),
    )
    for name in variants:
        found, told = results.correct(name).mean(), results.evaluations[name]["top1"]
        if abs(found - told) > 1e-6:
            raise EdgemotionError(
                f"reports/predictions/{name}.npy gives a top-1 of {found:.6f}, reports/evaluate/{name}.json says "
                f"{told:.6f}; they are of different runs, so run `dvc repro`"
            )
        for path, part in (("profile", results.profile), ("select", results.selection)):
            if name not in part["variants"]:
                raise EdgemotionError(f"reports/{path}.json has no variant {name!r}; run `dvc repro {path}`")
    return results


def read_predictions(path: Path, count: int) -> np.ndarray:
    """Read the classes int16 [count] that a variant answers on the test split."""
    if not path.is_file():
        raise EdgemotionError(f"{path} is missing; run the stage evaluate with `dvc repro`")
    predictions = np.load(path)
    if predictions.shape != (count,):
        raise EdgemotionError(f"{path} has {len(predictions)} predictions for {count} labels; run `dvc repro`")
    return predictions


def summarise(results: Results, dataset: str, network: str, seed: int, controls: Mapping[str, str]) -> dict[str, Any]:
    """Join all reports into the content of reports/summary.json; a drop above 0 means less accurate than fp32.

    `controls` gives a variant the one that it is compared with in `controls`, where a drop is against that one.
    """
    return {
        "dataset": dataset,
        "network": network,
        "trained_on": results.infos["fp32"]["settings"]["device"],
        "champion": results.selection["champion"],
        "classes": results.infos["fp32"]["classes"],
        "variants": {name: join(results, name, seed) for name in results.evaluations},
        "controls": {
            name: {"control": control, **compare(results.correct(control), results.correct(name), seed)}
            for name, control in controls.items()
        },
    }


def join(results: Results, name: str, seed: int) -> dict[str, Any]:
    """Everything measured on one variant."""
    evaluation, info, timing = results.evaluations[name], results.infos[name], results.profile["variants"][name]
    temporal, parent = results.temporal[name], info["parent"]
    correct = results.correct(name)
    return {
        **{key: info[key] for key in ("method", "parent", "temperature", "sha256", "weights_sha256", "parameters")},
        **{key: info[key] for key in ("size_bytes", "compressed_bytes", "macs")},
        "top1": evaluation["top1"],
        "top1_ci": evaluation["top1_ci"],
        "top1_leak_free": evaluation["leak_free"]["top1"],
        "top1_leak_free_ci": evaluation["leak_free"]["top1_ci"],
        "n_leaked": evaluation["leaked"]["n"],
        "top1_leaked": evaluation["leaked"]["top1"],
        "macro_f1": evaluation["macro_f1"],
        "ece": evaluation["ece"],
        **{key: evaluation[key] for key in ("map50", "map50_95") if key in evaluation},
        **{key: timing[key] for key in ("p50_ms", "p95_ms", "p99_ms", "speedup", "speedup_ci")},
        "drop": compare(results.correct("fp32"), correct, seed),
        # fp32 is the parent of most, and what `drop` compares with.
        **(
            {"drop_parent": compare(results.correct(parent), correct, seed)}
            if parent in results.predictions and parent != "fp32"
            else {}
        ),
        "flips": count_flips(results.labels, results.predictions["fp32"], results.predictions[name]),
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


def control_verdicts(summary: Mapping[str, Any]) -> list[str]:
    """One plain sentence for each variant that has a control, on what the choice between the two is worth."""
    return [
        f"Against {entry['control']}, {name} {accuracy_verdict(entry)}." for name, entry in summary["controls"].items()
    ]


def leak_verdict(evaluation: Mapping[str, Any], dropped: bool) -> str:
    """One sentence on what the test images that also stand in the training split before any is dropped change in top-1.

    `dropped` says that training did without their copies: then they can be easier, but not learned by heart.
    """
    leaked, rest = evaluation["leaked"], evaluation["leak_free"]
    if not leaked["n"] or not rest["n"]:
        share = "All" if leaked["n"] else "None"
        return f"{share} of the {evaluation['n']} test images stand in the training split before any is dropped."
    seen, unseen = (f"{percent(part['top1'])} {interval(part['top1_ci'], percent)}" for part in (leaked, rest))
    worth = points(evaluation["top1"] - rest["top1"])
    end = (
        f"training did without their copies, so the {worth} points between the whole split and the others tell how "
        "easy these images are, not what a leak is worth"
        if dropped
        else f"training saw their copies, and that is worth up to {worth} points of top-1 on the whole split"
    )
    return (
        f"Top-1 is {seen} on the {leaked['n']} test images that also stand in the training split before any is "
        f"dropped and {unseen} on the other {rest['n']}; {end}."
    )


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
    """What a drop in top-1 shows: nothing without McNemar's test, as few changed images make a narrow interval."""
    low, high = (100 * end for end in drop["ci"])
    lost, test = 100 * drop["top1"], f"McNemar p {p_value(drop['mcnemar_p'])}"
    shown = drop["mcnemar_p"] < 0.05
    if shown and low > 0:
        return f"loses {lost:.1f} points of top-1 (95 % interval {low:.1f} to {high:.1f}, {test})"
    if shown and high < 0:
        return f"gains {-lost:.1f} points of top-1 (95 % interval {-high:.1f} to {-low:.1f}, {test})"
    return (
        "shows no measurable difference in top-1 "
        f"({points(-drop['top1'])} points, 95 % interval {points(-drop['ci'][1])} to {points(-drop['ci'][0])}, {test})"
    )


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
