"""Numbers of images and streams in; one archive of rendered faces out, the same bytes for the same numbers."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from edgemotion.datasets.archive import write_member
from edgemotion.datasets.canvas import sample_view
from edgemotion.datasets.facs import EMOTIONS, sample_distraction, sample_expression, sample_identity, strongest
from edgemotion.datasets.rendering import NEUTRAL_BELOW, render, render_stream
from edgemotion.errors import EdgemotionError
from edgemotion.files import replacing
from edgemotion.registry import register

SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
# As in FER2013, where disgust is rare; macro-F1 then differs from top-1.
WEIGHTS = {emotion: 1 / 3 if emotion == "disgust" else 1.0 for emotion in EMOTIONS}
IMAGES_A_PERSON = 8


@register("source")
def synthetic(target: Path, *, images: int, streams: int, frames: int, seed: int) -> None:
    """Render `images` labelled faces in three splits and `streams` films of `frames` frames into the ZIP `target`.

    Members are {train,val,test}/<class>/<id>.png and streams/<stream>/<frame>_<class>.png, 48x48 gray. No person is in
    two splits, nor in a split and a stream. Raises EdgemotionError where a split would miss a class.
    """
    counts = {split: class_counts(round(images * share)) for split, share in SHARES.items()}
    poor = [f"{split}/{emotion}" for split, count in counts.items() for emotion in count if not count[emotion]]
    if poor:
        raise EdgemotionError(f"data.sources.synthetic.images={images} leaves {poor[0]} empty; give at least 300")
    total = sum(sum(count.values()) for count in counts.values()) + streams * frames
    with (
        replacing(target) as partial,
        zipfile.ZipFile(partial, "w") as zipped,
        tqdm(total=total, desc="rendering faces", unit="image") as progress,
    ):
        for name, image in render_members(counts, streams, frames, seed):
            write_member(zipped, name, cv2.imencode(".png", image)[1].tobytes())
            progress.update()


def class_counts(images: int) -> dict[str, int]:
    """How many of `images` fall to each class, by the largest remainders of its weight."""
    exact = {emotion: images * weight / sum(WEIGHTS.values()) for emotion, weight in WEIGHTS.items()}
    counts = {emotion: int(share) for emotion, share in exact.items()}
    for emotion in sorted(exact, key=lambda emotion: counts[emotion] - exact[emotion])[: images - sum(counts.values())]:
        counts[emotion] += 1
    return counts


def render_members(
    counts: dict[str, dict[str, int]], streams: int, frames: int, seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield member names in sorted order with their images uint8 [48,48]."""
    for stream in range(streams):
        film, labels = render_stream(np.random.default_rng([seed, 0, stream]), frames)
        for frame, (image, label) in enumerate(zip(film, labels, strict=True)):
            yield f"streams/{stream:03d}/{frame:04d}_{label}.png", image
    for place, split in enumerate(sorted(counts), start=1):
        faces = render_split(counts[split], seed, place)
        yield from ((f"{split}/{name}", image) for name, image in sorted(faces, key=lambda face: face[0]))


def render_split(counts: dict[str, int], seed: int, place: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield <class>/<id>.png with its image; every person poses for IMAGES_A_PERSON of them, in any classes."""
    labels = np.random.default_rng([seed, place]).permutation(np.repeat(list(counts), list(counts.values())))
    for number, emotion in enumerate(labels.tolist()):
        person, pose = divmod(number, IMAGES_A_PERSON)
        identity = sample_identity(np.random.default_rng([seed, place, person]))
        rng = np.random.default_rng([seed, place, person, 1 + pose])
        expression = sample_expression(emotion, float(rng.uniform(NEUTRAL_BELOW, 1)), rng)
        image = render(identity, strongest(expression, sample_distraction(rng)), sample_view(rng), rng=rng)
        yield f"{emotion}/{number:05d}.png", image
