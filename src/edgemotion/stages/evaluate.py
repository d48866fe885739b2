"""A variant and the test split in; its accuracy report, predictions and confusion matrix out."""

from pathlib import Path

import numpy as np

from edgemotion.datasets.splits import read_split
from edgemotion.files import replacing, write_json
from edgemotion.measure.accuracy import evaluate, top1
from edgemotion.measure.detection import evaluate_detections
from edgemotion.report.measure_figures import confusion_figure
from edgemotion.runtime.classifier import Classifier
from edgemotion.runtime.detector import Detector, validation_boxes
from edgemotion.settings import Settings
from edgemotion.stages import stage


@stage
def main(settings: Settings) -> None:
    classifier = Classifier(Path("models/variants") / settings.item, settings.threads)
    variant, name = classifier.variant, settings.item
    test, val = (read_split(f"data/prepared/{split}", variant.detects, variant.classes) for split in ("test", "val"))

    probabilities = classifier.run(test.images)[1]
    scores = evaluate(probabilities, test.labels, test.leaked, variant.classes)
    val_correct = classifier.run(val.images)[1].argmax(axis=1) == val.labels
    report = {
        "variant": name,
        "split": "test",
        **scores,
        "val": top1(val_correct),
        "size_bytes": variant.info["size_bytes"],
        "macs": variant.info["macs"],
    }

    if variant.detects:
        detections = validation_boxes(*Detector(variant.folder, settings.threads).run(test.images))
        report |= evaluate_detections(detections, test.boxes, test.labels, variant.classes)

    write_json(f"reports/evaluate/{name}.json", report)
    with replacing(f"reports/predictions/{name}.npy") as partial, partial.open("wb") as stream:
        np.save(stream, probabilities.argmax(axis=1).astype(np.int16))
    title = f"{name}: top-1 {scores['top1']:.1%} of {scores['n']} test images"
    confusion_figure(f"reports/figures/confusion/{name}.png", scores["confusion"], variant.classes, title)
    print(f"{name}: top-1 {scores['top1']:.4f}, macro-F1 {scores['macro_f1']:.4f}, ECE {scores['ece']:.4f}")


if __name__ == "__main__":
    main()
