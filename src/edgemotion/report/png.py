"""A figure in, a PNG file out; the same content gives the same bytes."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgemotion.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def save(figure: "Figure", path: Path | str) -> None:
    """Write a PNG without the drawing library's version in it."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
