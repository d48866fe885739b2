"""models/networks/fp32 and test faces in; reports/figures/gradcam.png out."""

from pathlib import Path

import torch

from edgemotion.datasets.splits import read_split
from edgemotion.measure import gradcam
from edgemotion.networks import network
from edgemotion.report.png import save
from edgemotion.settings import Settings
from edgemotion.stages import stage
from edgemotion.training.loop import nchw, normalise

FACES_A_CLASS = 4


@stage
def main(settings: Settings) -> None:
    torch.set_num_threads(settings.threads)
    trained = network.load(network.NETWORKS / "fp32")
    test = read_split("data/prepared/test")
    chosen = gradcam.pick(test.labels, len(trained.classes), FACES_A_CLASS)
    scale = torch.tensor([trained.mean, trained.std]).view(2, 1, -1, 1, 1)
    images = normalise(nchw(torch.from_numpy(test.images[chosen])), scale)
    heat = gradcam.grad_cam(trained.module, images, torch.from_numpy(test.labels[chosen]))
    with torch.no_grad():
        found = trained.module(images).argmax(1).tolist()
    names = trained.classes
    truth = [names[label] for label in test.labels[chosen]]
    figure = gradcam.draw(
        test.images[chosen], heat, truth, [names[label] for label in found], columns=2 * FACES_A_CLASS
    )
    save(figure, Path("reports/figures/gradcam.png"))


if __name__ == "__main__":
    main()
