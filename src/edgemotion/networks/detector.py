"""What every detector is: a module that finds boxes, and that classifies a whole image by its best box."""

import torch
from torch import nn


class Detector(nn.Module):
    """A network that answers with A candidate boxes an image.

    Its `forward` gives the class logits of the best box, so all that is measured on a classifier's logits
    is measured on a detector's too.
    """

    def detect(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Find boxes [N,A,4] as x1, y1, x2, y2 in shares of the image and their class logits [N,A,classes]."""
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return best_box(self.detect(images)[1])


def best_box(class_logits: torch.Tensor) -> torch.Tensor:
    """The logits [N,classes] of the box that has the largest logit of all in [N,A,classes]."""
    best = class_logits.amax(2).argmax(1)
    return class_logits.gather(1, best.view(-1, 1, 1).expand(-1, 1, class_logits.shape[2])).squeeze(1)
