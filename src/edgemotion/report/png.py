"""A figure in, a PNG file out; the same content gives the same bytes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgemotion.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
# What a user has set for other figures would change ours; it is read when matplotlib is imported.
os.environ["MATPLOTLIBRC"] = os.devnull


def save(figure: "Figure", path: Path | str) -> None:
    """Write a PNG without the drawing library's version in it."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
