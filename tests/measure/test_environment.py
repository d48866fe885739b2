from importlib.metadata import version

import numpy
import onnxruntime

from edgemotion.measure.environment import describe


def test_this_machine_is_described() -> None:
    found = describe(threads=1)
    assert found["cpu"] and found["cores"] >= 1 and found["threads"] == 1
    assert found["versions"]["onnxruntime"] == onnxruntime.__version__
    assert found["versions"]["numpy"] == numpy.__version__
    assert found["versions"]["torch"] == version("torch") and None not in found["versions"].values()
