"""Trained networks in; the answers that a smaller one learns from, and its loss against them, out."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from edgemotion.networks.network import Network, normalise


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


def distillation_loss(logits: torch.Tensor, answers: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence from the teachers' answers, times temperature squared to keep its gradients' size.

    `logits` and `answers` (probabilities) are float [N,classes]. Hinton et al. 2015, arXiv 1503.02531.
    """
    own = (logits / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(own, answers, reduction="batchmean")
