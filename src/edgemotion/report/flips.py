"""The predictions of fp32 and of other variants in; the images that they put into different classes out."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

HEADER = ("variant", "id", "label", "fp32", "predicted")


def count_flips(labels: np.ndarray, reference: np.ndarray, predicted: np.ndarray) -> dict[str, int]:
    """Count the images of which only the reference is right (lost), only the other (gained), and all that changed.

    All are classes [N] of the same images. An image that goes from one wrong class to another has only changed.
    """
    return {
        "lost": int(((reference == labels) & (predicted != labels)).sum()),
        "gained": int(((reference != labels) & (predicted == labels)).sum()),
        "changed": int((reference != predicted).sum()),
    }


def count_by_class(
    labels: np.ndarray, reference: np.ndarray, predicted: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Count the flips among the images of each true class, by its name."""
    return {
        name: count_flips(labels[labels == number], reference[labels == number], predicted[labels == number])
        for number, name in enumerate(classes)
    }


def list_flips(
    ids: Sequence[str], labels: np.ndarray, predictions: Mapping[str, np.ndarray], classes: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Rows of HEADER, one for each variant and image whose class is not fp32's; `predictions` [N] go by variant."""
    reference = predictions["fp32"]
    for name, predicted in predictions.items():
        for row in np.flatnonzero(predicted != reference).tolist():
            yield name, ids[row], *(classes[of[row]] for of in (labels, reference, predicted))
