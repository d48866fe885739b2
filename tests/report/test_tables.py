"""Numbers read the same in the README and in the report."""

import pytest

from edgemotion.report import tables
from edgemotion.report.summary import read_results, summarise
from edgemotion.settings import Settings


def test_results_table(settings: Settings) -> None:
    summary = summarise(read_results(settings.variants), "synthetic", "compact", 0)
    lines = tables.results_table(summary).splitlines()
    assert lines[0].startswith("| variant | top-1 [95 % CI] | leak-free | macro-F1 | ECE | size | MACs | p50 ms |")
    assert len(lines) == 2 + len(settings.variants)
    assert len({line.count("|") for line in lines}) == 1
    assert lines[6].startswith("| **pruned_int8** | 68.0 % [64.7, 71.1] |")
    assert lines[6].endswith("| 0.26 MB | 21.0 M | 0.220 | 3.18x [3.12, 3.25] |")


@pytest.mark.parametrize(
    ("difference", "text"), [(0.012, "+1.2"), (-0.012, "\N{MINUS SIGN}1.2"), (-0.0001, "+0.0"), (0.0, "+0.0")]
)
def test_points(difference: float, text: str) -> None:
    assert tables.points(difference) == text


def test_no_images() -> None:
    assert tables.percent(None) == "none"
    assert tables.interval(None, tables.percent) == ""
