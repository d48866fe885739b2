"""Structured pruning: the promised share of MACs, a smaller network that still trains and is the same twice."""

import runpy
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch_pruning as tp
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgemotion import registry
from edgemotion.compression.structured import output_sizes, weight_macs
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import build

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
EXAMPLE = torch.zeros(1, 1, 16, 16)


def prune(module: nn.Module, dense: nn.Module, share: float = 1.0, **args: Any) -> Any:
    args = {"round_to": 2, "importance": "magnitude", **args}
    return registry.call("prune", "structured", module, dense, EXAMPLE, args=args, share=share)


def pruned(macs_ratio: float, round_to: int = 2, args: dict[str, Any] = given.COMPACT) -> nn.Module:
    module = given.network_of(args=args).module
    hook = prune(module, given.network_of(args=args).module, macs_ratio=macs_ratio, round_to=round_to)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    hook(module)
    torch.testing.assert_close(module.state_dict(), state, rtol=0, atol=0)
    return module


def flops(module: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(EXAMPLE)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("macs_ratio", [0.2, 0.5, 0.8])
def test_removes_the_share_and_not_much_more(macs_ratio: float) -> None:
    left = flops(pruned(macs_ratio)) / flops(given.network_of().module)
    # Two of eight channels, in and out, are the coarsest step of this tiny network: (6 / 8) ** 2 = .56.
    assert 0.56 * (1 - macs_ratio) * 0.9 < left <= 1 - macs_ratio


def test_the_quick_count_is_torchs_own_before_and_after() -> None:
    module = given.network_of().module.eval()
    sizes = output_sizes(module, EXAMPLE)
    assert 2 * weight_macs(sizes) == flops(module)
    prune(module, given.network_of().module, macs_ratio=0.5)
    assert 2 * weight_macs(sizes) == flops(module) < flops(given.network_of().module)
    # What stops the pruning counts normalisations and activations too, so the quick count never takes it too far.
    assert weight_macs(sizes) <= tp.utils.count_ops_and_params(module, EXAMPLE)[0]


@pytest.mark.parametrize("round_to", [2, 4])
def test_widths_are_rounded_and_the_classes_stay(round_to: int) -> None:
    module = pruned(0.5, round_to)
    widths = [layer.out_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert all(width % round_to == 0 for width in widths) and sum(widths) < 8 * 3 + 16 * 3
    assert module(EXAMPLE).shape == (1, 3)


def test_keeps_the_channels_of_large_magnitude() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module.append(nn.Linear(8, 3))
    # Channels 1, 3, 5 and 7 are a hundred times smaller than the others.
    with torch.no_grad():
        module[0].weight[1::2] *= 0.01
        module[4].weight[:, 1::2] *= 0.01
    wanted = module[0].weight[0::2].clone()
    prune(module, deepcopy(module), macs_ratio=0.45, round_to=1)
    assert torch.equal(module[0].weight, wanted)


class Joined(nn.Module):
    """Two convolutions side by side, whose channels a third reads one after the other."""

    def __init__(self) -> None:
        super().__init__()
        # Of these widths both lose a channel at once after others have gone, and the left one first.
        self.left, self.right, self.both = nn.Conv2d(1, 14, 3), nn.Conv2d(1, 8, 3), nn.Conv2d(22, 8, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([self.left(images).relu(), self.right(images).relu()], 1)
        return self.head(self.both(joined).relu().mean((2, 3)))  # type: ignore[no-any-return]


def test_channels_that_are_always_zero_go_and_no_answer_changes() -> None:
    torch.manual_seed(0)
    module = Joined()
    with torch.no_grad():
        for layer in (module.left, module.right, module.both):
            layer.weight[0::2] *= 10
            layer.weight[1::2], layer.bias[1::2] = 0, 0
    images = torch.randn(4, 1, 16, 16)
    before = module(images)
    prune(module, deepcopy(module), macs_ratio=0.7, round_to=1)
    assert 7 <= module.left.out_channels < 14 and module.right.out_channels == module.both.out_channels == 4
    torch.testing.assert_close(module(images), before)


def test_the_same_network_twice() -> None:
    torch.testing.assert_close(pruned(0.5).state_dict(), pruned(0.5).state_dict(), rtol=0, atol=0)


def test_still_trains() -> None:
    # torch 2.15 breaks its heap where a CPU without AVX-512 trains strided 1x1 convolutions of four or six channels.
    module = pruned(0.5, round_to=8, args={**given.COMPACT, "widths": [16, 32]}).train()
    images, labels = given.patterned(24)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float().sub(110).div(50)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(module(batch), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("macs_ratio", "limit"),
    [(0.0, "greater than 0"), (1.0, "less than 1"), (-0.5, "greater than 0"), (30.0, "less than 1")],
)
def test_a_ratio_outside_of_0_and_1_is_refused(macs_ratio: float, limit: str) -> None:
    with pytest.raises(EdgemotionError, match=f"macs_ratio is {macs_ratio}; it should be {limit}"):
        pruned(macs_ratio)


def test_a_share_that_rounding_forbids_is_refused() -> None:
    with pytest.raises(EdgemotionError, match=r"macs_ratio 0\.9 cannot be reached with round_to 8; lower one of them"):
        pruned(0.9, round_to=8)


def test_two_rounds_end_at_the_share_of_the_dense_network() -> None:
    dense, module = given.network_of().module, given.network_of().module
    for share, most in ((0.5, 0.75), (1.0, 0.5)):
        prune(module, dense, share, macs_ratio=0.5)
        assert 0.56 * most * 0.9 < flops(module) / flops(dense) <= most


def test_wide_steps_end_close_to_the_share() -> None:
    args = {"widths": [64, 64, 96], "depths": [2, 2, 1], "stem_stride": 2, "dropout": 0.2}
    dense = build("compact", args, 3, 1, 16, 16)
    for macs_ratio in (0.3, 0.5, 0.75):
        module = deepcopy(dense)
        for share in (0.5, 1.0):
            prune(module, dense, share, macs_ratio=macs_ratio, round_to=16)
        # Of one group of layers 16 of 64 channels are at most a quarter of the network.
        assert 0.75 * (1 - macs_ratio) < flops(module) / flops(dense) <= 1 - macs_ratio


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "scale"])
def test_each_importance_prunes_the_same_share(importance: str) -> None:
    dense, module = given.network_of().module, given.network_of().module
    nn.functional.cross_entropy(module(torch.randn(4, 1, 16, 16)), torch.tensor([0, 1, 2, 0])).backward()
    prune(module, dense, macs_ratio=0.5, importance=importance)
    assert flops(module) <= 0.5 * flops(dense)


def test_taylor_keeps_the_channels_that_the_loss_depends_on() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module.append(nn.Linear(8, 3))
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    # By magnitude the even channels would go, but the loss does not change with the odd ones.
    with torch.no_grad():
        module[0].weight[0::2] *= 0.01
        module[0].weight.grad[1::2] = 0
        module[0].weight.grad[0::2] = 1000
        module[4].weight.grad[:, 1::2] = 0
    wanted = module[0].weight[0::2].clone()
    prune(module, deepcopy(module), macs_ratio=0.45, round_to=1, importance="taylor")
    assert torch.equal(module[0].weight, wanted)


def test_an_unknown_importance_is_refused() -> None:
    module = given.network_of().module
    with pytest.raises(EdgemotionError, match="importance is 'luck'; it should be 'magnitude', 'taylor' or 'scale'"):
        prune(module, module, macs_ratio=0.5, importance="luck")
