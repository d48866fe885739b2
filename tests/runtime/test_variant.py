import json
from pathlib import Path

import pytest

from edgemotion.errors import EdgemotionError
from edgemotion.runtime import load_variant


def test_a_variant_knows_its_input_and_classes(variant_folder: Path) -> None:
    variant = load_variant(variant_folder)
    assert (variant.name, variant.classes) == ("fp32", ["dark", "middle", "bright"])
    assert (variant.height, variant.width, variant.channels) == (8, 8, 1)
    assert variant.model_path == variant_folder / "model.onnx"


def test_one_changed_byte_is_refused_in_one_line(variant_folder: Path) -> None:
    model = variant_folder / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    recorded = json.loads((variant_folder / "model_info.json").read_text())["sha256"]
    with pytest.raises(EdgemotionError) as caught:
        load_variant(variant_folder)
    message = str(caught.value)
    assert str(model) in message and recorded[:12] in message and "\n" not in message


@pytest.mark.parametrize("name", ["model.onnx", "model_info.json"])
def test_a_missing_file_is_named(variant_folder: Path, name: str) -> None:
    (variant_folder / name).unlink()
    with pytest.raises(EdgemotionError, match=name):
        load_variant(variant_folder)


@pytest.mark.parametrize("content", ["[]", "{", '{"name": "fp32"}'])
def test_a_broken_record_is_named(variant_folder: Path, content: str) -> None:
    (variant_folder / "model_info.json").write_text(content)
    with pytest.raises(EdgemotionError, match=r"model_info\.json"):
        load_variant(variant_folder)
