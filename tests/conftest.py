"""Tiny variants that answer by mean brightness: their predictions are known by hand, without torch."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("dark", "middle", "bright")
SIZE = 8

# Or every test of tracking would write to the server of whoever runs it.
os.environ.pop("MLFLOW_TRACKING_URI", None)


def brightness_model(classes: int, size: int, channels: int, sharpness: float) -> onnx.ModelProto:
    """A graph whose top-1 class is the k of 0..classes-1 nearest to mean / 255 * (classes - 1).

    With m the mean in 0..1 and c_k = k / (classes - 1), logit k is sharpness * (2 c_k m - c_k^2), which is
    -sharpness * (m - c_k)^2 but for a term that all classes share.
    """
    centres = np.linspace(0, 1, classes, dtype=np.float32)
    weights = {
        "scale": np.float32(255),
        "kernel": np.full((1, channels, 1, 1), 1 / channels, np.float32),
        "slope": (2 * sharpness * centres)[None],
        "offset": (-sharpness * centres**2).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "kernel"], ["gray"]),
        helper.make_node("Relu", ["gray"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["mean"]),
        helper.make_node("Gemm", ["mean", "slope", "offset"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, channels])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", classes])
            for name in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model


@pytest.fixture
def make_variant() -> Callable[..., Path]:
    """Write a variant folder: `make_variant(folder, name=..., classes=..., size=..., channels=..., sharpness=...)`."""

    def write(
        folder: Path,
        name: str = "fp32",
        classes: tuple[str, ...] = CLASSES,
        size: int = SIZE,
        channels: int = 1,
        sharpness: float = 20.0,
    ) -> Path:
        folder.mkdir(parents=True)
        content = brightness_model(len(classes), size, channels, sharpness).SerializeToString(deterministic=True)
        (folder / "model.onnx").write_bytes(content)
        info = {
            "name": name,
            "parent": None if name == "fp32" else "fp32",
            "method": "export",
            "settings": {},
            "classes": list(classes),
            "input": {"layout": "NHWC", "dtype": "uint8", "height": size, "width": size, "channels": channels},
            "opset": 18,
            "temperature": 1.0,
            "parity": {"max_abs_diff": 0.0, "argmax_agreement": 1.0},
            "size_bytes": len(content),
            "macs": size * size * channels + len(classes),
            "sha256": hashlib.sha256(content).hexdigest(),
            "data_sha256": {"images.npy": "0" * 64, "labels.npy": "0" * 64},
            "network": {"name": "brightness", "args": {}},
        }
        (folder / "model_info.json").write_text(json.dumps(info, indent=2) + "\n")
        return folder

    return write


@pytest.fixture
def variant_folder(tmp_path: Path, make_variant: Callable[..., Path]) -> Path:
    """One variant of three classes, 8x8 gray."""
    return make_variant(tmp_path / "variants" / "fp32")


@pytest.fixture
def champion_folder(tmp_path: Path, make_variant: Callable[..., Path]) -> Path:
    """A champion of three classes, 8x8 gray, whose answers are certain from a probability of 0.6 on."""
    return add_card(make_variant(tmp_path / "champion"))


def add_card(folder: Path) -> Path:
    card = {
        "dataset": "gray",
        "metrics": {"n": 40, "top1": 0.9, "top1_ci": [0.77, 0.96]},
        "certain": {"probability": 0.6, "accuracy": 0.95, "coverage": 0.8},
        "face_side": 1.0,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return folder
