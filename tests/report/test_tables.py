"""Numbers read the same in the README and in the report."""

import pytest

from edgemotion.files import read_json
from edgemotion.report import tables
from edgemotion.report.summary import read_results, summarise
from edgemotion.settings import Settings


def test_results_table(settings: Settings) -> None:
    summary = summarise(read_results(settings.variants), "synthetic", "compact", 0, {})
    lines = tables.results_table(summary).splitlines()
    assert lines[0].startswith("| variant | top-1 [95 % CI] | leak-free | macro-F1 | ECE | size | MACs | p50 ms |")
    assert len(lines) == 2 + len(settings.variants)
    assert len({line.count("|") for line in lines}) == 1
    assert lines[6].startswith("| **pruned_int8** | 68.0 % [64.7, 71.1] |")
    assert lines[6].endswith("| 0.26 MB | 21.0 M | 0.220 | 3.18x [3.12, 3.25] |")


def test_gates_table_names_what_stopped_a_variant(settings: Settings) -> None:
    lines = tables.gates_table(read_json("reports/select.json")).splitlines()
    assert lines[0].startswith("| variant | outcome | size (MB), at most 1.5 | p95 of fp32's, at most 1.1 | speed-up")
    assert len(lines) == 2 + len(settings.variants)
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| fp32 | stopped by size (MB) | **1.96** | 1.00 | 1.00 |")
    assert lines[4].startswith("| int8_dynamic | stopped by p95 of fp32's, speed-up of p50, top-1 lost on val | 0.52 |")
    assert lines[4].endswith(" | **4.14** | **0.24** | **0.050** | 0.05 angry | 1.000 |")
    assert lines[6].startswith("| pruned_int8 | passes, rank 1 | 0.26 |")


def test_a_value_is_told_apart_from_the_limit_it_fails() -> None:
    gate = {"value": 0.8999, "limit": 0.9, "passed": False}
    assert tables.reached("agreement", gate) == "0.8999"
    assert tables.reached("accuracy_drop", {"value": -0.0001, "limit": 0.01, "passed": True}) == "0.000"


@pytest.mark.parametrize(
    ("difference", "text"), [(0.012, "+1.2"), (-0.012, "\N{MINUS SIGN}1.2"), (-0.0001, "+0.0"), (0.0, "+0.0")]
)
def test_points(difference: float, text: str) -> None:
    assert tables.points(difference) == text


def test_a_cpu_without_vnni_is_told_what_makes_int8_fast() -> None:
    assert tables.instructions(["avx2", "avx_vnni"]) == "int8 instructions: avx2, avx_vnni."
    assert tables.instructions([]) == "int8 instructions: none found."
    assert tables.instructions(["avx2"]).startswith(
        "int8 instructions: avx2. Without VNNI only int8 variants quantized"
    )


def test_no_images() -> None:
    assert tables.percent(None) == "none"
    assert tables.interval(None, tables.percent) == ""
