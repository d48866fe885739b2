"""What one core must keep up with: 640x480 at 30 frames a second, each within 33 ms."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemotion.camera import describe, main
from edgemotion.runtime.champion import CARD, SHIPPED

# The champion of the synthetic data knows the faces of the synthetic source.
FOLDERS = (Path("models/champion"), SHIPPED)


@pytest.fixture
def one_core(worker_id: str) -> Iterator[None]:
    if worker_id != "master":
        pytest.skip("needs an idle core; run this file without -n")
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to a core")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.slow
def test_one_core_keeps_up_with_a_camera(yunet: Path, one_core: None, tmp_path: Path) -> None:
    """`pytest -m slow -s` shows the figures."""
    champion = next((folder for folder in FOLDERS if (folder / CARD).is_file()), None)
    if champion is None:
        pytest.skip("there is no champion; run `uv run dvc repro`")
    report = main("synthetic", champion=champion, faces=yunet, film=tmp_path / "film.mp4", frames=225)
    print(describe(report))
    assert report.dropped == 0 and report.processed == 450
    # The source gives 30 and no frame was dropped; the ends of the measured span move by a result's own delay.
    assert report.fps == pytest.approx(30, abs=0.2)
    assert report.busy_fps is not None and report.busy_fps > 30
    assert report.latency_ms is not None and report.latency_ms["p95"] < 33
    assert report.faces_found is not None and report.faces_found > 0.95
