import sys
from importlib.metadata import version
from types import ModuleType

import numpy
import onnxruntime
import pytest

from edgemotion.measure import environment
from edgemotion.measure.environment import describe, made_with


def test_this_machine_is_described() -> None:
    found = describe(threads=1)
    assert found["cpu"] and found["cores"] >= 1 and found["threads"] == 1
    assert found["versions"]["onnxruntime"] == onnxruntime.__version__
    assert found["versions"]["numpy"] == numpy.__version__
    assert found["versions"]["torch"] == version("torch") and None not in found["versions"].values()
    assert found["versions"]["dvc"] == version("dvc")


def test_a_model_is_not_told_what_cannot_change_it() -> None:
    found, machine = made_with(), describe(threads=1)
    assert (found["cpu"], found["flags"]) == (machine["cpu"], machine["flags"])
    assert found["versions"].items() < machine["versions"].items()
    assert not {"dvc", "mlflow"} & set(found["versions"])


def test_an_extra_is_told_by_the_models_that_needed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "EXTRAS", ("hypothesis", "wandb"))
    monkeypatch.setitem(sys.modules, "hypothesis", ModuleType("hypothesis"))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    found = made_with()["versions"]
    assert found["hypothesis"] == version("hypothesis") and "wandb" not in found
