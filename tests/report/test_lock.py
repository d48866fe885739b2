"""A lock that is not of one whole run with its settings says so."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from edgemotion.report.lock import contradiction, current, parse_yaml

ROOT = Path(__file__).parents[2]
PARAMS: dict[str, Any] = {
    "seed": 42,
    "train": {"epochs": 3, "learning_rate": 1e-05},
    "networks": ["fp32"],
    "variants": ["fp32"],
    "prune": {},
    "quantize": {},
}
LOCK = """
schema: '2.0'
stages:
  train:
    params: {params.yaml: {seed: 42, train: {epochs: 3, learning_rate: 1e-05}}}
    outs: [{path: models/networks/fp32, md5: w1.dir}]
  export@fp32:
    deps: [{path: models/networks/fp32, md5: w1.dir}, {path: src/a.py, md5: c}]
    outs: [{path: models/variants/fp32, md5: o1.dir}]
  export@pruned:
    deps: [{path: models/networks/fp32, md5: old.dir}]
    outs: [{path: models/variants/pruned, md5: o0.dir}]
  evaluate@fp32:
    deps: [{path: models/variants/fp32, md5: o1.dir}]
    outs: [{path: reports/evaluate/fp32.json, md5: e1}]
  report:
    params: {params.yaml: {data.name: null}}
    deps: [{path: reports/evaluate, md5: r1.dir}]
    outs: [{path: reports/summary.json, md5: s1}]
"""


def lock() -> Any:
    return parse_yaml(LOCK)


def test_one_whole_run_has_no_contradiction() -> None:
    assert contradiction(lock(), PARAMS) is None


def test_stages_of_other_code_do_not_belong_together() -> None:
    changed = lock()
    changed["stages"]["evaluate@fp32"]["deps"].append({"path": "src/a.py", "md5": "d"})
    assert contradiction(changed, PARAMS) == "dvc.lock ran evaluate@fp32 with another src/a.py than export@fp32"


def test_records_of_variants_that_are_gone_do_not_count() -> None:
    assert [name for name, _ in current(lock(), PARAMS)] == ["train", "export@fp32", "evaluate@fp32", "report"]
    again = {**PARAMS, "networks": ["fp32", "pruned"]}
    assert contradiction(lock(), again) == (
        "dvc.lock ran export@pruned with another models/networks/fp32 than was made last"
    )


def test_trained_but_not_exported_again() -> None:
    found = lock()
    found["stages"]["train"]["outs"][0]["md5"] = "w2.dir"
    reason = contradiction(found, PARAMS)
    assert reason == "dvc.lock ran export@fp32 with another models/networks/fp32 than was made last"


@pytest.mark.parametrize(
    ("section", "value", "key"), [("seed", 43, "seed"), ("train", {"epochs": 4, "learning_rate": 1e-05}, "train")]
)
def test_other_settings(section: str, value: Any, key: str) -> None:
    params = deepcopy(PARAMS) | {section: value}
    assert contradiction(lock(), params) == f"dvc.lock ran train with another {key} than params.yaml has"


def test_never_reported() -> None:
    found = lock()
    del found["stages"]["report"]
    assert contradiction(found, PARAMS) == "dvc.lock has no stage 'report'"


@pytest.mark.parametrize("folder", sorted((ROOT / "reports/published").glob("*/dvc.lock")), ids=lambda p: p.parent.name)
def test_published_runs_are_whole(folder: Path) -> None:
    lock, params = (parse_yaml(folder.with_name(name).read_text()) for name in ("dvc.lock", "params.yaml"))
    assert contradiction(lock, params) is None
