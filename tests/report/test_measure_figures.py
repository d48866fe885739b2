from pathlib import Path

import cv2
import numpy as np

from edgemotion.report.measure_figures import confusion_figure, temporal_figure

CLASSES = ["angry", "disgust", "happy"]


def test_figures_repeat_byte_for_byte_and_show_the_data(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2, 0], 20)
    raw = np.random.default_rng(0).dirichlet(np.ones(3), size=80)
    for name in ("a", "b"):
        confusion_figure(tmp_path / f"confusion_{name}.png", [[9, 1, 0], [2, 5, 3], [0, 0, 0]], CLASSES, "title")
        temporal_figure(tmp_path / f"temporal_{name}.png", labels, raw, raw, CLASSES, "title")
    confusion_figure(tmp_path / "confusion_c.png", [[8, 2, 0], [2, 5, 3], [0, 0, 0]], CLASSES, "title")
    temporal_figure(tmp_path / "temporal_c.png", labels, raw, raw[::-1], CLASSES, "title")
    for kind in ("confusion", "temporal"):
        first, again, other = ((tmp_path / f"{kind}_{name}.png").read_bytes() for name in "abc")
        assert first == again != other
        assert min(cv2.imread(str(tmp_path / f"{kind}_a.png")).shape[:2]) > 300
