"""models/networks/fp32, test and training faces in; reports/figures/gradcam.png and augmentation.png out."""

from dataclasses import asdict
from pathlib import Path

import torch

from edgemotion.datasets.splits import Split, read_split
from edgemotion.measure import gradcam
from edgemotion.networks import network
from edgemotion.networks.detector import Detector
from edgemotion.report.augmentation_figure import augmentations
from edgemotion.report.png import save
from edgemotion.settings import Settings
from edgemotion.stages import stage
from edgemotion.training.augment import augment

FIGURES = Path("reports/figures")
FACES_A_CLASS = 4
CHANGES_A_FACE = 8
AUGMENTED_FACES = 8


@stage
def main(settings: Settings) -> None:
    torch.set_num_threads(settings.threads)
    trained = network.load(network.NETWORKS / "fp32")
    whole = isinstance(trained.module, Detector)
    train, test = (read_split(f"data/prepared/{split}", whole, trained.classes) for split in ("train", "test"))
    explain(trained, test)
    preview(train, settings)


def explain(trained: network.Network, test: Split) -> None:
    """Draw some test images of each class and where the network looks."""
    names = trained.classes
    chosen = gradcam.pick(test.labels, len(names), FACES_A_CLASS)
    scale = torch.tensor([trained.mean, trained.std]).view(2, 1, -1, 1, 1)
    images = network.normalise(network.nchw(torch.from_numpy(test.images[chosen])), scale)
    heat = gradcam.grad_cam(trained.module, images, torch.from_numpy(test.labels[chosen]))
    with torch.no_grad():
        found = [names[label] for label in trained.module(images).argmax(1).tolist()]
    truth = [names[label] for label in test.labels[chosen]]
    save(gradcam.draw(test.images[chosen], heat, truth, found, 2 * FACES_A_CLASS), FIGURES / "gradcam.png")


def preview(train: Split, settings: Settings) -> None:
    """Draw a training image of each class beside random changes of it, as the network sees them in training."""
    chosen = gradcam.pick(train.labels, len(train.classes), 1)[:AUGMENTED_FACES]
    images = network.nchw(torch.from_numpy(train.images[chosen])).repeat_interleave(CHANGES_A_FACE, 0)
    changed = augment(images, torch.Generator().manual_seed(settings.seed), **asdict(settings.train.augment))
    pixels = changed.permute(0, 2, 3, 1).round().byte().numpy()
    rows = pixels.reshape(len(chosen), CHANGES_A_FACE, *pixels.shape[1:])
    names = [train.classes[label] for label in train.labels[chosen]]
    save(augmentations(train.images[chosen], rows, names), FIGURES / "augmentation.png")


if __name__ == "__main__":
    main()
