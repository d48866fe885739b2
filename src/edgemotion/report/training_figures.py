"""The histories of a run's networks in; the figure of their trainings out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_csv
from edgemotion.report.figures import FOLDER, colours, tidy
from edgemotion.report.png import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = Path("models/networks")
History = Sequence[Mapping[str, float]]
# What a history may hold; a detector has other columns than a classifier.
PANELS = {"loss": ("train_loss", "val_loss"), "score": ("train_top1", "val_top1", "val_map50")}
LINES = {
    "train_loss": ("--", "train loss (augmented images)"),
    "val_loss": ("-", "val loss (averaged weights)"),
    "train_top1": ("--", "train top-1 (augmented images)"),
    "val_top1": ("-", "val top-1 (averaged weights)"),
    "val_map50": (":", "val mAP50"),
}


def draw_training(networks: Sequence[str], folder: Path = FOLDER) -> None:
    """Write training.png from the histories of these networks."""
    save(curves({name: read_history(NETWORKS / name / "history.csv") for name in networks}), folder / "training.png")


def read_history(path: Path) -> list[dict[str, float]]:
    """One row an epoch; EdgemotionError names a missing file."""
    if not path.is_file():
        raise EdgemotionError(f"{path} is missing; run `dvc repro` for the stage that trains the network")
    return [{key: float(value) for key, value in row.items()} for row in read_csv(path)]


def curves(histories: Mapping[str, History]) -> "Figure":
    """Loss and accuracy over the epochs, a colour a network; a measure that a history lacks is left out."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    held = {key for history in histories.values() for key in history[0]}
    panels = {title: [key for key in keys if key in held] for title, keys in PANELS.items()}
    panels = {title: keys for title, keys in panels.items() if keys}
    figure = Figure(figsize=(1 + 4.5 * len(panels), 4), layout="constrained")
    hues = dict(zip(histories, colours(len(histories)), strict=True))
    for axes, (title, keys) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for key in keys:
            style, label = LINES[key]
            for name, history in histories.items():
                if key in history[0]:
                    epochs, values = [row["epoch"] for row in history], [row[key] for row in history]
                    axes.plot(epochs, values, style, marker="o", markersize=2.5, color=hues[name], linewidth=1.3)
            axes.plot([], [], style, color="#52606d", label=label)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.set(xlabel="epoch", ylabel=title)
        axes.legend(frameon=False, fontsize=9)
        tidy(figure, axes, "both")
    handles = [Line2D([], [], color=hue, linewidth=4, label=name) for name, hue in hues.items()]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    return figure
