"""One step of each optimizer by hand, the course of the rate, and what stays frozen."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn
from torchvision.models import VisionTransformer

from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import build
from edgemotion.training.optimizer import build_optimizer, decay_groups, freeze, rate_schedule

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))


def module_of() -> nn.Module:
    return build("compact", given.COMPACT, classes=3, channels=1, height=16, width=16)


@pytest.mark.parametrize(
    ("name", "weight", "bias"),
    [
        # With decay the gradient is .5 + .05 * 2 = .6, and Nesterov's first step .6 + .9 * .6; the bias has no decay.
        ("sgd", 2 - 0.1 * 1.14, 1 - 0.1 * 0.95),
        # Adam's first step has the length of the rate; the decay is apart from it: 2 * (1 - .1 * .05).
        ("adamw", 2 * (1 - 0.1 * 0.05) - 0.1, 1 - 0.1),
    ],
)
def test_one_step_by_hand(name: str, weight: float, bias: float) -> None:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 2.0)
    nn.init.constant_(layer.bias, 1.0)
    optimizer = build_optimizer(layer, name, learning_rate=0.1, momentum=0.9, weight_decay=0.05)
    (0.5 * (layer.weight + layer.bias)).sum().backward()
    optimizer.step()
    assert (layer.weight.item(), layer.bias.item()) == pytest.approx((weight, bias), abs=1e-6)


def test_no_momentum_is_plain_descent() -> None:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 2.0)
    optimizer = build_optimizer(layer, "sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.0)
    (0.5 * layer.weight).sum().backward()
    optimizer.step()
    assert layer.weight.item() == pytest.approx(2 - 0.1 * 0.5)


def test_an_unknown_optimizer_is_named() -> None:
    with pytest.raises(EdgemotionError, match=r"^optimizer is 'adam'; choose one of sgd, adamw$"):
        build_optimizer(nn.Linear(1, 1), "adam", learning_rate=0.1, momentum=0.9, weight_decay=0.0)


def test_weight_decay_spares_biases_and_normalisations() -> None:
    module = module_of()
    kernels, others = decay_groups(module, 0.1)
    assert (kernels["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    decayed = {names[id(parameter)] for parameter in kernels["params"]}
    spared = {names[id(parameter)] for parameter in others["params"]}
    layers = dict(module.named_modules())
    assert decayed == {f"{name}.weight" for name in layers if isinstance(layers[name], nn.Conv2d | nn.Linear)}
    assert decayed | spared == set(names.values()) and not decayed & spared


def test_weight_decay_spares_the_embeddings_of_a_transformer() -> None:
    module = VisionTransformer(16, 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3)
    kernels, others = decay_groups(module, 0.1)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    spared = {names[id(parameter)] for parameter in others["params"] if parameter.ndim > 1}
    assert spared == {"class_token", "encoder.pos_embedding"}
    assert "encoder.layers.encoder_layer_0.self_attention.in_proj_weight" in {names[id(p)] for p in kernels["params"]}


@pytest.mark.parametrize(
    ("step", "factor"),
    # Eight steps, a quarter of them rising: 1/2, 2/2, then (1 + cos(pi (step - 2) / 6)) / 2.
    [(0, 0.5), (1, 1.0), (2, 1.0), (4, 0.75), (5, 0.5), (6, 0.25), (8, 0.0)],
)
def test_the_rate_rises_and_falls(step: int, factor: float) -> None:
    assert rate_schedule(8, 0.25)(step) == pytest.approx(factor, abs=1e-12)


def test_the_rate_starts_at_its_peak_without_warmup() -> None:
    assert [rate_schedule(4, 0.0)(step) for step in (0, 1)] == [1.0, 1.0]


def test_frozen_parts_are_not_given_to_the_optimizer() -> None:
    module = nn.Sequential(*[nn.Linear(2, 2) for _ in range(11)])
    assert freeze(module, ["1", "2.bias"]) == [module[1]]
    fixed = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    # 10 begins with the same digit and is another part.
    assert fixed == ["1.weight", "1.bias", "2.bias"]
    optimizer = build_optimizer(module, "sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.1)
    assert [len(group["params"]) for group in optimizer.param_groups] == [10, 9]


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        (["1", "backbone"], r"freeze names 'backbone', .* its parts are 0, 1$"),
        (["1.weigh"], r"freeze names '1\.weigh', .* its parts are 0, 1$"),
        ([""], r"freeze names '', "),
        (["0", "1"], r"^freeze \['0', '1'\] leaves no parameter to train"),
    ],
)
def test_a_wrong_freeze_is_one_line(prefixes: list[str], message: str) -> None:
    with pytest.raises(EdgemotionError, match=message):
        freeze(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), prefixes)


def test_nothing_frozen_leaves_the_module_alone() -> None:
    module = module_of()
    assert freeze(module, []) == []
    assert all(parameter.requires_grad for parameter in module.parameters())
