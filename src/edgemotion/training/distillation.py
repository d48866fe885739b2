"""Networks or a training's own past in; the answers that a network learns from, and its loss against them, out."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from edgemotion.networks.network import Network, normalise

# Of a mean answer, the share that stays when an epoch adds its own.
KEPT = 0.9


class Ensemble:
    """Networks that answer together, each with its own normalisation."""

    def __init__(self, networks: Sequence[Network], device: torch.device, precision: str) -> None:
        self.members = []
        for network in networks:
            module = network.module.to(device).to(memory_format=torch.channels_last).eval()
            scale = torch.tensor([network.mean, network.std], device=device).view(2, 1, -1, 1, 1)
            self.members.append((module, scale))
        self.precision = precision

    @torch.no_grad()
    def answer(self, images: torch.Tensor, temperature: float) -> torch.Tensor:
        """The mean of the members' softened probabilities, float [N,classes], for images [N,C,H,W] of 0 to 255."""
        answers = []
        for module, scale in self.members:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                logits = module(normalise(images, scale))
            answers.append((logits.float() / temperature).softmax(1))
        return torch.stack(answers).mean(0)


class Memory:
    """What a network answered to each training image in the epochs before: a mean that forgets slowly.

    Labels that most of its augmented views contradict so lose their weight. Temporal ensembling, Laine and Aila 2017,
    arXiv 1610.02242; against false labels, Huang et al. 2020, arXiv 2002.10319.
    """

    def __init__(self, labels: torch.Tensor) -> None:
        self.labels = labels
        # float [N,classes] from the first batch on.
        self.answers: torch.Tensor | None = None

    @torch.no_grad()
    def exchange(self, picked: torch.Tensor, logits: torch.Tensor, temperature: float) -> torch.Tensor:
        """The answers so far to the images at places `picked`, float [B,classes]; their new logits are remembered.

        An image that was never answered starts from its label.
        """
        if self.answers is None:
            self.answers = F.one_hot(self.labels, logits.shape[1]).float()
        before = self.answers[picked]
        self.answers[picked] = before.lerp((logits / temperature).softmax(1), 1 - KEPT)
        return before

    def load(self, answers: torch.Tensor | None) -> None:
        """Take the answers of a training that was killed."""
        self.answers = None if answers is None else answers.to(self.labels.device)


def distillation_loss(logits: torch.Tensor, answers: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence from the teachers' answers, times temperature squared to keep its gradients' size.

    `logits` and `answers` (probabilities) are float [N,classes]. Hinton et al. 2015, arXiv 1503.02531.
    """
    own = (logits / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(own, answers, reduction="batchmean")
