"""A variant folder in; what was checked of it, line by line, out."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgemotion.errors import EdgemotionError
from edgemotion.runtime.champion import CARD, load_card
from edgemotion.runtime.classifier import open_session, run_session
from edgemotion.runtime.variant import load_variant


def verify(folder: Path) -> Iterator[str]:
    """Check SHA-256, inputs and outputs against the record, and that the model gives probabilities.

    Yields one line a check that passed; raises EdgemotionError at the first that fails.
    """
    variant = load_variant(folder)
    yield f"sha256   {variant.info['sha256']}"
    session = open_session(variant.model_path)
    wanted = [variant.height, variant.width, variant.channels]
    taken = session.get_inputs()
    if len(taken) != 1 or taken[0].name != "images" or taken[0].shape[1:] != wanted or taken[0].type != "tensor(uint8)":
        found = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in taken)
        raise EdgemotionError(f"{variant.model_path} takes {found}, but its record says images uint8 [N, {wanted}]")
    yield f"input    images uint8 [N,{','.join(map(str, wanted))}]"
    outputs = {entry.name: entry.shape[-1] for entry in session.get_outputs()}
    for name in ("logits", "probabilities"):
        if outputs.get(name) != len(variant.classes):
            raise EdgemotionError(
                f"{variant.model_path} has the outputs {outputs}; its record has {len(variant.classes)} classes"
            )
    named = session.get_modelmeta().custom_metadata_map.get("classes", ",".join(variant.classes))
    if named != ",".join(variant.classes):
        raise EdgemotionError(f"{variant.model_path} names the classes {named}; its record has {variant.classes}")
    yield f"classes  {', '.join(variant.classes)}"
    images = np.random.default_rng(0).integers(0, 256, (2, *wanted), np.uint8)
    probabilities = run_session(session, images)[1]
    if not (np.isfinite(probabilities).all() and np.allclose(probabilities.sum(1), 1, atol=1e-4)):
        raise EdgemotionError(f"{variant.model_path} answers noise with what are no probabilities: {probabilities[0]}")
    yield "answers  probabilities that sum to 1"
    if (folder / CARD).is_file():
        card = load_card(folder)
        yield f"measured {card.metrics['top1']:.1%} top-1 on {card.metrics['n']} test images of {card.dataset}"
