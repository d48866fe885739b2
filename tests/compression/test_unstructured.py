"""Unstructured pruning: the exact share of zeros, and zeros that stay through training and averaging."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from edgemotion import registry
from edgemotion.errors import EdgemotionError
from edgemotion.training.loop import fit

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
EXAMPLE = torch.zeros(1, 1, 16, 16)


def pruned(sparsity: float) -> tuple[nn.Module, Any]:
    module = given.network_of().module
    return module, registry.call(
        "prune", "unstructured", module, module, EXAMPLE, args={"sparsity": sparsity}, share=1.0
    )


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: layer.weight.detach().clone()
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.8])
def test_zeroes_the_smallest_weights_of_all_layers(sparsity: float) -> None:
    before = torch.cat([weight.flatten() for weight in weights(given.network_of().module).values()])
    after = torch.cat([weight.flatten() for weight in weights(pruned(sparsity)[0]).values()])
    kept = after != 0
    assert int((~kept).sum()) == round(sparsity * len(before))
    assert torch.equal(after[kept], before[kept])
    assert before[~kept].abs().max() <= before[kept].abs().min()


def test_leaves_a_plain_module() -> None:
    dense, (sparse, _) = given.network_of().module, pruned(0.5)
    assert dense.state_dict().keys() == sparse.state_dict().keys()
    biases = [name for name in dense.state_dict() if "norm" in name or name.endswith("bias")]
    for name in biases:
        assert torch.equal(dense.state_dict()[name], sparse.state_dict()[name])


def test_zeros_stay_zero_in_training_and_in_the_average(tmp_path: Path) -> None:
    module, hook = pruned(0.7)
    before = weights(module)
    arrays = given.patterned(48)
    trained: list[dict[str, torch.Tensor]] = []

    def after_step(stepped: nn.Module) -> None:
        hook(stepped)
        trained.append(weights(stepped))

    average, _ = fit(
        module, arrays, arrays, mean=[110.0], std=[50.0], settings=given.train_settings(epochs=2),
        precision="fp32", seed=0, checkpoint=tmp_path / "sparse.pt", after_step=after_step,
    )  # fmt: skip
    assert len(trained) == 6
    for found in (trained[-1], weights(average)):
        for name, weight in before.items():
            assert torch.equal(weight == 0, found[name] == 0), name
            assert not torch.equal(weight, found[name]), name


@pytest.mark.parametrize(("sparsity", "limit"), [(0.0, "greater than 0"), (1.0, "less than 1"), (80.0, "less than 1")])
def test_a_share_outside_of_0_and_1_is_refused(sparsity: float, limit: str) -> None:
    with pytest.raises(EdgemotionError, match=f"sparsity is {sparsity}; it should be {limit}"):
        pruned(sparsity)


def test_a_share_of_the_way_zeroes_a_share_of_the_weights() -> None:
    module = given.network_of().module
    for share in (0.5, 1.0):
        registry.call("prune", "unstructured", module, module, EXAMPLE, args={"sparsity": 0.8}, share=share)
        found = torch.cat([weight.flatten() for weight in weights(module).values()])
        assert float((found == 0).float().mean()) == pytest.approx(0.8 * share, abs=1e-3)
