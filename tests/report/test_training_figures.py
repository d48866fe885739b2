"""Histories of classifiers and detectors become curves; the same histories give the same bytes."""

from pathlib import Path

import cv2
import pytest
from matplotlib.figure import Figure

from edgemotion.errors import EdgemotionError
from edgemotion.files import write_csv
from edgemotion.report.training_figures import curves, draw_training, read_history
from edgemotion.settings import Settings

CLASSIFIER = [
    {
        "epoch": epoch,
        "train_loss": 2 / epoch,
        "train_top1": 0.2 * epoch,
        "val_loss": 1 / epoch,
        "val_top1": 0.25 * epoch,
    }
    for epoch in (1, 2, 3)
]
DETECTOR = [{"epoch": epoch, "val_map50": 0.1 * epoch, "val_top1": 0.3 * epoch} for epoch in (1, 2)]


def drawn(figure: Figure) -> dict[str, list[list[float]]]:
    """The values of every curve of a panel, by the panel's label; keys of the legend have no values."""
    return {
        axes.get_ylabel(): [list(line.get_ydata()) for line in axes.get_lines() if len(line.get_ydata())]
        for axes in figure.axes
    }


def test_a_classifier_has_losses_and_scores() -> None:
    found = drawn(curves({"fp32": CLASSIFIER, "pruned": CLASSIFIER[:1]}))
    assert found == {
        "loss": [[2.0, 1.0, 2 / 3], [2.0], [1.0, 0.5, 1 / 3], [1.0]],
        "score": [[0.2, 0.4, pytest.approx(0.6)], [0.2], [0.25, 0.5, 0.75], [0.25]],
    }


def test_a_detector_has_what_it_has() -> None:
    assert drawn(curves({"fp32": DETECTOR})) == {"score": [[0.3, 0.6], [0.1, 0.2]]}


def test_draws_the_networks_of_a_run(settings: Settings, tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_training(settings.networks, tmp_path / name)
    first, again = ((tmp_path / name / "training.png").read_bytes() for name in "ab")
    assert first == again
    assert min(cv2.imread(str(tmp_path / "a/training.png")).shape[:2]) > 300


def test_reads_numbers_and_names_a_missing_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "history.csv", ("epoch", "val_top1"), [(1, "0.5"), (2, "6e-1")])
    assert read_history(tmp_path / "history.csv") == [{"epoch": 1, "val_top1": 0.5}, {"epoch": 2, "val_top1": 0.6}]
    with pytest.raises(EdgemotionError, match=r"missing/history\.csv is missing; run `dvc repro`"):
        read_history(tmp_path / "missing/history.csv")
