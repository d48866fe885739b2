"""A variant and the test split in; its accuracy report, predictions and confusion matrix out."""

from pathlib import Path

import numpy as np

from edgemotion.datasets.splits import read_split
from edgemotion.files import replacing, write_json
from edgemotion.measure.accuracy import evaluate, recalls, top1
from edgemotion.measure.certainty import certain_from
from edgemotion.measure.detection import evaluate_detections
from edgemotion.report.measure_figures import confusion_figure
from edgemotion.runtime.classifier import Classifier, check_images, run_session
from edgemotion.runtime.detector import validation_boxes
from edgemotion.settings import Settings
from edgemotion.stages import stage


@stage
def main(settings: Settings) -> None:
    classifier = Classifier(Path("models/variants") / settings.item, settings.threads)
    variant, name = classifier.variant, settings.item
    test, val = (read_split(f"data/prepared/{split}", variant.detects, variant.classes) for split in ("test", "val"))

    check_images(variant, test.images)
    names = ["probabilities", *(["boxes", "scores"] if variant.detects else [])]
    probabilities, *candidates = run_session(classifier.session, test.images, names=names)
    scores = evaluate(probabilities, test.labels, test.leaked, variant.classes)
    val_probabilities = classifier.run(val.images)[1]
    val_predicted = val_probabilities.argmax(axis=1)
    report = {
        "variant": name,
        "split": "test",
        **scores,
        "certain": certain_from(val_probabilities, val.labels, settings.certain_accuracy),
        "val": top1(val_predicted == val.labels) | {"per_class": recalls(val_predicted, val.labels, variant.classes)},
        "size_bytes": variant.info["size_bytes"],
        "macs": variant.info["macs"],
    }

    if candidates:
        found = evaluate_detections(validation_boxes(*candidates), test.boxes, test.labels, variant.classes)
        report |= {key: round(found[key], 6) for key in ("map50", "map50_95")}
        report["per_class_ap50"] = {key: round(value, 6) for key, value in found["per_class_ap50"].items()}

    write_json(f"reports/evaluate/{name}.json", report)
    with replacing(f"reports/predictions/{name}.npy") as partial, partial.open("wb") as stream:
        np.save(stream, probabilities.argmax(axis=1).astype(np.int16))
    title = f"{name}: top-1 {scores['top1']:.1%} of {scores['n']} test images"
    confusion_figure(f"reports/figures/confusion/{name}.png", scores["confusion"], variant.classes, title)
    print(f"{name}: top-1 {scores['top1']:.4f}, macro-F1 {scores['macro_f1']:.4f}, ECE {scores['ece']:.4f}")


if __name__ == "__main__":
    main()
