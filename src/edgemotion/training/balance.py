"""The labels of a training split in; how much each image counts and which an epoch draws out."""

import torch
import torch.nn.functional as F

from edgemotion.errors import EdgemotionError

BALANCES = ("none", "weights", "sampling")


def check_balance(balance: str) -> None:
    """Raise EdgemotionError for an unknown way of balancing."""
    if balance not in BALANCES:
        raise EdgemotionError(f"balance is {balance!r}; choose one of {', '.join(BALANCES)}")


def image_weights(labels: torch.Tensor) -> torch.Tensor:
    """The inverse frequency of each image's class: float64 [N] on the CPU, of mean 1, the same sum for every class."""
    labels = labels.cpu()
    counts = torch.bincount(labels).double()
    return len(labels) / (int((counts > 0).sum()) * counts[labels])


def draw_epoch(labels: torch.Tensor, balance: str, generator: torch.Generator) -> torch.Tensor:
    """The order of an epoch's images, int64 [N]: each once, or with `sampling` drawn so that classes are as likely."""
    if balance == "sampling":
        return torch.multinomial(image_weights(labels), len(labels), replacement=True, generator=generator)
    return torch.randperm(len(labels), generator=generator)


def classification_loss(
    logits: torch.Tensor, target: torch.Tensor, smoothing: float, weights: torch.Tensor | None
) -> torch.Tensor:
    """Mean cross-entropy of a batch; `weights` float [N] let each image count as much as they say."""
    if weights is None:
        return F.cross_entropy(logits, target, label_smoothing=smoothing)
    return (weights * F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")).mean()
