"""Slim networks: the architecture at a share of its channels, with weights that owe nothing to the dense network."""

import dataclasses
import runpy
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from edgemotion import registry
from edgemotion.errors import EdgemotionError
from edgemotion.networks import network

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
EXAMPLE = torch.zeros(1, 1, 16, 16)


def slim(module: nn.Module, width: float, round_to: int = 1, seed: int = 0) -> nn.Module:
    """The module made slim, after what the method returns to be called at each step."""
    torch.manual_seed(seed)
    dense, args = deepcopy(module), {"width": width, "round_to": round_to}
    hook = registry.call("prune", "slim", module, dense, EXAMPLE, 1.0, args=args)
    state = deepcopy(module.state_dict())
    hook(module)
    torch.testing.assert_close(module.state_dict(), state, rtol=0, atol=0)
    return module


def compact(*widths: int) -> nn.Module:
    module: nn.Module = given.network_of(args={**given.COMPACT, "widths": list(widths)}).module
    return module


def shapes(module: nn.Module) -> dict[str, Any]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    ("widths", "width", "round_to", "expected"),
    [
        ((8, 16), 0.5, 1, (4, 8)),
        ((8, 16), 0.75, 4, (4, 12)),
        # What is left after 1 - 0.2 has gone is in floating point less than 0.2.
        ((10, 20), 0.2, 1, (2, 4)),
        # Four of eight channels would round to none.
        ((8, 16), 0.5, 8, (8, 8)),
    ],
)
def test_equals_the_architecture_built_with_these_widths(
    widths: tuple[int, ...], width: float, round_to: int, expected: tuple[int, ...]
) -> None:
    assert shapes(slim(compact(*widths), width, round_to)) == shapes(compact(*expected))


def test_weights_are_fresh_and_come_from_the_seed() -> None:
    # No fresh weight can be as large, so that one which is left would show.
    module = compact(8, 16)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(7)
    first, again, other = (slim(deepcopy(module), 0.5, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(tensor.abs().max() <= 1 for tensor in first.values())
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])
    assert first["stem.1.running_mean"].eq(0).all() and first["stem.1.running_var"].eq(1).all()


def test_a_network_s_own_initialisation_is_kept() -> None:
    # He's for ReLU: a variance of 2 over the inputs of a weight; torch's own for these layers would be of 1/3.
    module = slim(network.build("lenet", {"dropout": 0.2}, classes=3, channels=1, height=16, width=16), 0.5)
    hidden = module[7].weight
    assert hidden.shape == (60, 32) and hidden.var().item() * 32 == pytest.approx(2, rel=0.1)
    assert module[7].bias.eq(0).all()


def test_is_read_back(tmp_path: Path) -> None:
    dense = given.network_of()
    made = dataclasses.replace(dense, module=slim(dense.module, 0.5).eval())
    network.save(tmp_path / "slim", made, [])
    images = torch.randn(4, 1, 16, 16)
    read = network.load(tmp_path / "slim").module
    torch.testing.assert_close(read(images), made.module(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("width", "limit"),
    [(0.0, "greater than 0"), (1.0, "less than 1"), (1.5, "less than 1"), (-0.5, "greater than 0")],
)
def test_a_width_outside_of_0_and_1_is_refused(width: float, limit: str) -> None:
    with pytest.raises(EdgemotionError, match=f"width is {width}; it should be {limit}"):
        slim(compact(8, 16), width)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(EdgemotionError, match=r"width 0\.5 changes no layer with round_to 32; lower one of them"):
        slim(compact(8, 16), 0.5, round_to=32)
    module = compact(8, 16)
    module.register_parameter("positions", nn.Parameter(torch.zeros(3)))
    with pytest.raises(EdgemotionError, match=r"cannot draw fresh weights for the network \(Compact\)"):
        slim(module, 0.5)
