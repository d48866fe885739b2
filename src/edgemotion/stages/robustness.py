"""A variant and the test split in; its accuracy under every scenario out."""

from pathlib import Path

import numpy as np

from edgemotion import registry
from edgemotion.datasets.splits import read_split
from edgemotion.files import write_json
from edgemotion.measure.accuracy import top1
from edgemotion.runtime.classifier import Classifier
from edgemotion.settings import Settings
from edgemotion.stages import stage


@stage
def main(settings: Settings) -> None:
    classifier = Classifier(Path("models/variants") / settings.item, settings.threads)
    test = read_split("data/prepared/test", classifier.variant.detects, classifier.variant.classes)

    scenarios = {}
    for scenario in settings.robustness.scenarios:
        # Seeded anew, so that every variant sees the same pixels whatever scenarios stand beside.
        rng = np.random.default_rng(settings.seed)
        images = registry.call("corruption", scenario.corruption, test.images, rng, args=scenario.args)
        score = top1(classifier.run(images)[1].argmax(axis=1) == test.labels)
        scenarios[scenario.name] = {"top1": score["top1"], "top1_ci": score["top1_ci"]}
        print(f"{settings.item}: {scenario.name} top-1 {score['top1']:.4f}")

    report = {"variant": settings.item, "split": "test", "n": len(test), "scenarios": scenarios}
    write_json(f"reports/robustness/{settings.item}.json", report)


if __name__ == "__main__":
    main()
