"""Prune and train again: gradients where they are read, and what cannot be pruned told before any training."""

import copy
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from edgemotion.compression import pruning
from edgemotion.compression.pruning import plan_tuning, prune_and_tune
from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import NETWORKS, Network, save
from edgemotion.settings import Distill, Prune, load

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
detection = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/detector_fixtures.py")))
SPLITS = given.split_of(60, seed=1), given.split_of(30, seed=2)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def prune(dense: Network, method: str = "structured", **args: Any) -> nn.Module:
    args = {"macs_ratio": 0.5, "round_to": 8, "importance": "magnitude", **args}
    chosen = Prune(method, rounds=1, epochs=1, learning_rate=0.01, distill=Distill("none", 0.0, 1.0), args=args)
    identity = {"precision": "fp32", "seed": 1}
    return prune_and_tune("pruned", dense, SPLITS, chosen, given.train_settings(epochs=1), identity=identity)[0]


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "scale"])
def test_only_taylor_takes_gradients(importance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def give(module: nn.Module, *others: Any) -> None:
        taken.append(module)
        give_gradients(module, *others)

    give_gradients = pruning.give_gradients
    monkeypatch.setattr(pruning, "give_gradients", give)
    dense = given.network_of(args={**given.COMPACT, "widths": [16, 32]})
    pruned = prune(dense, importance=importance)
    assert len(taken) == (importance == "taylor")
    sizes = [sum(parameter.numel() for parameter in module.parameters()) for module in (pruned, dense.module)]
    assert sizes[0] < sizes[1]


def test_a_network_that_could_not_be_loaded_again_is_not_trained() -> None:
    args = {"patch": 4, "dim": 16, "depth": 2, "heads": 2, "mlp_ratio": 2.0, "dropout": 0.1}
    with pytest.raises(
        EdgemotionError, match=r"a LayerNorm cannot be pruned by channels; choose compression=quantized"
    ):
        prune(given.network_of("vit", args))
    assert not Path(".checkpoints").exists()


def test_a_detector_is_refused() -> None:
    with pytest.raises(EdgemotionError, match="fp32 is a detector, and pruning trains classifiers"):
        prune(detection.tiny_network())


def test_the_gradients_are_those_of_the_mean_loss() -> None:
    dense = given.network_of()
    dense.module.eval()
    pruning.give_gradients(dense.module, dense, SPLITS[0], seed=3)
    found = dense.module.head.bias.grad.clone()
    pixels = torch.from_numpy(SPLITS[0].images).permute(0, 3, 1, 2).float()
    logits = dense.module((pixels - dense.mean[0]) / dense.std[0])
    # The gradient of cross-entropy by the last bias: how far the probabilities lie from the labels, in the mean.
    wanted = (logits.softmax(1) - nn.functional.one_hot(torch.from_numpy(SPLITS[0].labels), 3)).mean(0)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("widths", [[4, 12], [16, 16]])
def test_the_gradients_are_those_of_double_precision(widths: list[int]) -> None:
    dense = given.network_of(args={**given.COMPACT, "widths": widths})
    module = dense.module.to(memory_format=torch.channels_last).eval()
    exact = copy.deepcopy(module).double()
    pruning.give_gradients(module, dense, SPLITS[0], seed=3)
    pixels = torch.from_numpy(SPLITS[0].images).permute(0, 3, 1, 2).double()
    logits = exact((pixels - dense.mean[0]) / dense.std[0])
    nn.functional.cross_entropy(logits, torch.from_numpy(SPLITS[0].labels)).backward()
    for found, wanted in zip(module.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad.float(), rtol=1e-3, atol=1e-5)


def test_each_round_prunes_its_share_and_trains_from_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []

    def fit(module: nn.Module, *_: object, seed: int, teachers: list[Network], **__: object) -> Any:
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        zero = torch.cat([layer.weight.flatten() == 0 for layer in layers]).float().mean()
        assert all(parameter.requires_grad for parameter in module.parameters())
        rounds.append((float(zero), seed, len(teachers)))
        # As the average of a training is returned.
        return module.to(memory_format=torch.channels_last).requires_grad_(False), [{"epoch": 1}]

    monkeypatch.setattr(pruning, "fit", fit)
    dense = given.network_of()
    save(NETWORKS / "fp32", dense, [])
    distill = Distill("dense", 0.5, 2.0)
    chosen = Prune("unstructured", rounds=2, epochs=1, learning_rate=0.01, distill=distill, args={"sparsity": 0.8})
    identity = {"precision": "fp32", "seed": 4}
    _, history, checkpoints = prune_and_tune("sparse", dense, SPLITS, chosen, given.train_settings(), identity=identity)
    assert rounds == [(pytest.approx(0.4, abs=1e-3), 4, 1), (pytest.approx(0.8, abs=1e-3), 5, 1)]
    assert [row["epoch"] for row in history] == [1, 2] and len(set(checkpoints)) == 2


def test_a_pruned_network_hangs_on_the_dense_one_and_learns_in_every_part() -> None:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        settings = load(compose("config", ["train.freeze=[stem]", "train.device=cpu"]))
    chosen = Prune("unstructured", rounds=1, epochs=3, learning_rate=0.02, distill=Distill("dense", 0.5, 2.0), args={})
    identities = []
    for seed in (1, 2):
        save(NETWORKS / "fp32", given.network_of(seed=seed), [])
        tuning, identity = plan_tuning(chosen, settings)
        identities.append(identity)
    assert (tuning.freeze, tuning.distill, tuning.epochs, tuning.learning_rate) == ([], chosen.distill, 3, 0.02)
    assert identities[0]["dense_sha256"] != identities[1]["dense_sha256"]
