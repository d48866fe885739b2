"""The card beside a champion, the champion that ships, and what `verify` finds."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file
from edgemotion.runtime import Classifier
from edgemotion.runtime.champion import SHIPPED, load_card
from edgemotion.runtime.verification import verify


def test_a_card_is_read(champion_folder: Path) -> None:
    card = load_card(champion_folder)
    assert card.dataset == "gray" and card.certain_from == 0.6 and card.face_side == 1.0


def test_a_champion_without_card_or_model(champion_folder: Path) -> None:
    card = champion_folder / "card.json"
    content = json.loads(card.read_text())
    del content["face_side"]
    card.write_text(json.dumps(content))
    with pytest.raises(EdgemotionError, match=r"card\.json has no key 'face_side'"):
        load_card(champion_folder)
    card.unlink()
    with pytest.raises(EdgemotionError, match=r"card\.json is missing; give a folder that select made"):
        load_card(champion_folder)
    (champion_folder / "model.onnx").unlink()
    with pytest.raises(EdgemotionError, match=r"model\.onnx is missing"):
        load_card(champion_folder)


def test_the_shipped_champion_is_small_and_whole() -> None:
    lines = list(verify(SHIPPED))
    assert lines[0].split()[1] == sha256_file(SHIPPED / "model.onnx")
    assert "top-1 on 3589 test images of fer2013" in lines[-1]
    assert (SHIPPED / "model.onnx").stat().st_size < 1e6
    card = load_card(SHIPPED)
    assert card.metrics["top1"] > 0.65 and 0.3 < card.certain_from < 0.9
    found = Classifier(SHIPPED).predict(np.full((60, 60), 128, np.uint8))
    assert set(found.probabilities) == {"angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"}


def rewrite(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change a variant's graph and record the new checksum, as a careless tool would."""
    model = onnx.load(folder / "model.onnx")
    change(model)
    onnx.save(model, folder / "model.onnx")
    info = json.loads((folder / "model_info.json").read_text())
    info["sha256"] = sha256_file(folder / "model.onnx")
    (folder / "model_info.json").write_text(json.dumps(info))


def test_verify_finds_what_a_checksum_cannot(tmp_path: Path, make_variant: Callable[..., Path]) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.input[0].name = model.graph.node[0].input[0] = "pixels"

    def drop(model: onnx.ModelProto) -> None:
        del model.graph.output[1]

    def spoil(model: onnx.ModelProto) -> None:
        model.graph.node[-1].op_type = "LogSoftmax"

    def turn(model: onnx.ModelProto) -> None:
        onnx.helper.set_model_props(model, {"classes": "bright,middle,dark"})

    for name, change, complaint in (
        ("classes", turn, "names the classes bright,middle,dark; its record has"),
        ("input", rename, "takes pixels tensor"),
        ("output", drop, "has the outputs"),
        ("answer", spoil, "no probabilities"),
    ):
        folder = make_variant(tmp_path / name)
        assert len(list(verify(folder))) == 4
        rewrite(folder, change)
        with pytest.raises(EdgemotionError, match=complaint):
            list(verify(folder))
    damaged = make_variant(tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"x")
    with pytest.raises(EdgemotionError, match="SHA-256"):
        list(verify(damaged))
