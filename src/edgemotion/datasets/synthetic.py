"""Numbers of images and streams in; one archive of rendered faces out, the same bytes for the same numbers."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from edgemotion.datasets.archive import write_member
from edgemotion.datasets.canvas import sample_view
from edgemotion.datasets.facs import (
    EMOTIONS,
    NEUTRAL_BELOW,
    sample_distraction,
    sample_expression,
    sample_identity,
    strongest,
)
from edgemotion.datasets.rendering import render, render_stream
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
    two splits, nor in a split and a stream. Raises EdgemotionError for a negative number or a class left empty.
    """
    for key, value in {"streams": streams, "frames": frames, "seed": seed}.items():
        if value < 0:
            raise EdgemotionError(f"source synthetic: {key}={value} is negative; give 0 or more")
    counts = {split: apportion(count, WEIGHTS) for split, count in apportion(images, SHARES).items()}
    if not all(count for split in counts.values() for count in split.values()):
        raise EdgemotionError(f"source synthetic: images={images} leaves a class of a split empty; give at least 100")
    total = sum(sum(split.values()) for split in counts.values()) + streams * frames
    with (
        replacing(target) as partial,
        zipfile.ZipFile(partial, "w") as zipped,
        tqdm(total=total, desc="rendering faces", unit="image") as progress,
    ):
        for name, image in render_members(counts, streams, frames, seed):
            write_member(zipped, name, cv2.imencode(".png", image)[1].tobytes())
            progress.update()


def apportion(images: int, weights: Mapping[str, float]) -> dict[str, int]:
    """How many of `images` fall to each name, by the largest remainders of its weight."""
    exact = {name: max(images, 0) * weight / sum(weights.values()) for name, weight in weights.items()}
    counts = {name: int(share) for name, share in exact.items()}
    missing = max(images, 0) - sum(counts.values())
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[:missing]:
        counts[name] += 1
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
        emotions = np.repeat(list(counts[split]), list(counts[split].values()))
        shuffled = np.random.default_rng([seed, place]).permutation(emotions).tolist()
        for emotion, number in sorted(zip(shuffled, range(len(shuffled)), strict=True)):
            yield f"{split}/{emotion}/{number:05d}.png", render_image(emotion, seed, place, number)


def render_image(emotion: str, seed: int, place: int, number: int) -> np.ndarray:
    """Render one image of a split; IMAGES_A_PERSON neighbours in number show the same person."""
    person, pose = divmod(number, IMAGES_A_PERSON)
    # Counted from 1, because numpy's seeds ignore zeros at the end.
    identity = sample_identity(np.random.default_rng([seed, place, 1 + person]))
    rng = np.random.default_rng([seed, place, 1 + person, 1 + pose])
    expression = sample_expression(emotion, float(rng.uniform(NEUTRAL_BELOW, 1)), rng)
    return render(identity, strongest(expression, sample_distraction(rng)), sample_view(rng), rng=rng)
