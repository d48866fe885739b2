"""Rows of plain numbers, and a table and figure that tell what they may be used for."""

from pathlib import Path
from typing import Any

import cv2
import pytest
from omegaconf import OmegaConf

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json
from edgemotion.report.compare import DASH, compare, markdown, notes, write
from edgemotion.report.compare_figure import figure
from edgemotion.report.experiments import Experiment
from edgemotion.report.summary import read_results, summarise
from edgemotion.settings import Settings


def experiment(settings: Settings, name: str, params: dict[str, Any] | None = None, **changes: Any) -> Experiment:
    """The run of the working directory under another name, with changes of its settings and its summary."""
    summary = summarise(
        read_results(settings.variants), settings.data.name, settings.model.title, settings.seed, settings.controls
    )
    given = OmegaConf.merge(OmegaConf.load("params.yaml"), params or {})
    return Experiment(name, OmegaConf.to_container(given), summary | changes)  # type: ignore[arg-type]


@pytest.fixture
def rows(settings: Settings) -> list[dict[str, Any]]:
    """A plain run; one with pretrained weights, no int8 and no champion; a detector on another dataset."""
    plain = experiment(settings, "plain")
    for entry in plain.summary["variants"].values():
        # Runs that were published before these keys came have none.
        del entry["parameters"], entry["weights_sha256"]
    reference = plain.summary["variants"]["fp32"]
    tuned = experiment(
        settings, "tuned", {"model": {"args": {"weights": "/somewhere/resnet50.pth"}}, "train": {"epochs": 5}},
        network="resnet50", champion=None,
        variants={"fp32": reference | {"top1": 0.8, "top1_ci": [0.77, 0.83], "parameters": 23_500_000}},
    )  # fmt: skip
    detector = experiment(
        settings, "boxes", {"data": {"width": 96, "height": 64, "channels": 3}, "profile": {"threads": 2}},
        dataset="affectnet_yolo", network="yolo11n",
        variants={name: entry | {"map50": 0.61} for name, entry in plain.summary["variants"].items()},
    )  # fmt: skip
    return compare([plain, tuned, detector])


def cells(table: str, name: str) -> dict[str, str]:
    """One row of a Markdown table by its header."""
    header, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return dict(zip(header, next(line for line in lines if line[0] == name), strict=True))


def test_rows_are_sorted_by_dataset_and_accuracy(rows: list[dict[str, Any]]) -> None:
    assert [row["experiment"] for row in rows] == ["boxes", "tuned", "plain"]


def test_a_row_holds_what_was_measured(settings: Settings, rows: list[dict[str, Any]]) -> None:
    row, evaluation = rows[2], read_json("reports/evaluate/fp32.json")
    timing = read_json("reports/profile.json")["variants"]
    assert (row["top1"], row["top1_ci"], row["ece"]) == tuple(evaluation[key] for key in ("top1", "top1_ci", "ece"))
    assert (row["p50_ms"], row["int8"]["p50_ms"]) == (timing["fp32"]["p50_ms"], timing["int8_static"]["p50_ms"])
    assert row["int8"]["top1"] == read_json("reports/evaluate/int8_static.json")["top1"]
    assert (row["epochs"], row["champion"], row["start"]) == (settings.train.epochs, "pruned_int8", "scratch")
    # Neither was recorded by this run.
    assert row["parameters"] is None and row["training_minutes"] is None


def test_table(rows: list[dict[str, Any]]) -> None:
    table = markdown(rows).split("\n\n")[0]
    assert len({line.count("|") for line in table.splitlines()}) == 1
    plain = cells(table, "plain")
    leak_free = read_json("reports/evaluate/fp32.json")["leak_free"]["top1"]
    assert plain["leak-free"] == f"{100 * leak_free:.1f} %"
    assert plain["top-1 [95 % CI]"].startswith("69.8 % [") and plain["size"] == "1.96 MB"
    assert plain["int8 top-1"] == "68.8 %" and plain["int8 drop, points [95 % CI]"].startswith("+1.0 [+")
    assert plain["int8 speed-up [95 % CI]"] == "2.26x [2.21, 2.30]"
    assert (plain["parameters"], plain["mAP50"], plain["training min"]) == (DASH, DASH, DASH)
    tuned = cells(table, "tuned")
    assert (tuned["network"], tuned["start"], tuned["parameters"]) == ("resnet50", "resnet50.pth", "23.5 M")
    assert tuned["champion"] == "none keeps the budget"
    assert {tuned[key] for key in tuned if key.startswith("int8")} == {DASH}
    boxes = cells(table, "boxes")
    assert (boxes["dataset"], boxes["mAP50"]) == ("affectnet_yolo 96x64 RGB", "0.610")


def test_notes_say_what_does_not_compare(rows: list[dict[str, Any]]) -> None:
    told = notes(rows)
    for words in (
        "come from separate runs of the same protocol (one image, different numbers of threads)",
        "between rows they compare only roughly",
        "trained for different numbers of epochs",
        "Accuracies on different datasets do not compare",
        "A detector sees whole images",
    ):
        assert words in told, words
    alone = notes(rows[2:])
    assert "(one image, 1 thread)" in alone
    assert "epochs" not in alone and "datasets" not in alone and "detector" not in alone and "minutes" not in alone
    kept = rows[2] | {"drop_leaks": False, "val_kept": 0.2, "trained_on": "cpu"}
    told = notes([kept, kept | {"experiment": "other"}])
    assert "Trained with the copies of test images and with all of val but a share of 0.2: plain, other." in told
    assert "Trained on Example GPU: plain." in alone and "Example GPU" not in told
    assert "copies of test images" not in alone and "of val" not in alone
    assert "wall-clock" in notes([rows[2] | {"training_minutes": 3.0}])
    assert "mAP50" not in markdown(rows[2:])


def test_files_repeat_byte_for_byte(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, rows)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["comparison.json", "comparison.md", "comparison.png"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    assert read_json(tmp_path / "a/comparison.json")["rows"] == rows
    assert (tmp_path / "a/comparison.md").read_text().endswith("(comparison.png)\n")
    assert min(cv2.imread(str(tmp_path / "a/comparison.png")).shape[:2]) > 300


def test_figure_has_a_line_an_experiment_and_every_number(rows: list[dict[str, Any]]) -> None:
    panels = figure(rows).axes
    names = [[label.get_text() for label in panel.get_yticklabels()] for panel in panels[::3]]
    assert names == [["boxes (yolo11n, 1.96 MB)"], ["tuned (resnet50, 1.96 MB)", "plain (compact, 1.96 MB)"]]

    def marks(panel: Any) -> dict[tuple[int, str], float]:
        points = [line.get_xydata()[0] for line in panel.lines if len(line.get_xdata())]
        # The fp32 mark stands above the middle of its line, int8 below it.
        return {(round(y), "int8" if y > round(y) else "fp32"): x for x, y in points}

    accuracy, latency, cost = (marks(panel) for panel in panels[3:])
    plain = rows[2]
    assert accuracy.keys() == latency.keys() == {(0, "fp32"), (1, "fp32"), (1, "int8")} and len(cost) == 2
    assert accuracy[1, "fp32"] == 100 * plain["top1"] and accuracy[1, "int8"] == 100 * plain["int8"]["top1"]
    assert latency[1, "fp32"] == plain["p50_ms"] and latency[1, "int8"] == plain["int8"]["p50_ms"]
    assert cost[1, "fp32"] == plain["macs"] / 1e6
    spans = [segment[:, 0].tolist() for bars in panels[3].collections for segment in bars.get_segments()]  # type: ignore[attr-defined]
    assert [100 * end for end in plain["top1_ci"]] in spans


def test_nothing_to_compare() -> None:
    with pytest.raises(EdgemotionError, match="no finished experiment to compare"):
        compare([])
