"""The loss against its definition in scipy, an ensemble against its members."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from edgemotion.training.distillation import Ensemble, Memory, distillation_loss

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
CPU = torch.device("cpu")


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_the_loss_is_the_divergence_from_the_teacher(temperature: float) -> None:
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(size=(2, 16, 7)) * 3
    answers = softmax(teacher / temperature, axis=1)
    expected = entropy(answers, softmax(student / temperature, axis=1), axis=1).mean() * temperature**2
    found = distillation_loss(torch.from_numpy(student), torch.from_numpy(answers), temperature)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_an_equal_student_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(8, 7, generator=torch.Generator().manual_seed(1), requires_grad=True)
    loss = distillation_loss(logits, (logits.detach() / 4).softmax(1), 4.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None and float(logits.grad.abs().max()) < 1e-6


def test_members_answer_with_their_own_normalisation() -> None:
    first, second = given.network_of(seed=1), given.network_of(seed=2)
    second.mean, second.std = [90.0], [40.0]
    images = torch.from_numpy(given.patterned(12)[0]).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        logits = [net.module((images - net.mean[0]) / net.std[0]).numpy() for net in (first, second)]
    expected = np.mean([np.exp(log_softmax(part / 3, axis=1)) for part in logits], axis=0)
    answers = Ensemble([first, second], CPU, "fp32").answer(images, 3.0)
    np.testing.assert_allclose(answers.numpy(), expected, atol=1e-5)
    assert not answers.requires_grad


def test_a_memory_forgets_slowly() -> None:
    generator = np.random.default_rng(1)
    labels = np.array([2, 0, 1, 0])
    memory, expected = Memory(torch.from_numpy(labels)), np.eye(3)[labels]
    for picked in ([0, 2], [2, 3], [0, 3], [2, 0]):
        logits = generator.normal(size=(2, 3)) * 3
        before = memory.exchange(torch.tensor(picked), torch.tensor(logits, dtype=torch.float32), 2.0)
        np.testing.assert_allclose(before, expected[picked], atol=1e-6)
        expected[picked] = 0.9 * expected[picked] + 0.1 * softmax(logits / 2, axis=1)
    # The image that never was in a batch still has its label.
    np.testing.assert_allclose(memory.answers, expected, atol=1e-6)
    assert memory.answers is not None and memory.answers[1].tolist() == [1, 0, 0]


def test_a_memory_teaches_without_a_gradient() -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    memory = Memory(torch.tensor([0, 1]))
    memory.exchange(torch.tensor([0, 1]), logits, 1.0)
    assert not memory.exchange(torch.tensor([0, 1]), logits, 1.0).requires_grad
