"""YOLO detectors and classifiers, built by ultralytics (AGPL-3.0, the optional extra `yolo`) and cut off from the net.

Every import of ultralytics in this project goes through `import_ultralytics`.
"""

import atexit
import importlib
import logging
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from edgemotion.errors import EdgemotionError, first_line
from edgemotion.networks.detector import Detector
from edgemotion.registry import register

INTEGRATIONS = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
# The layers whose shape depends on the number of classes.
CLASS_LAYERS = (".cv3.", ".one2one_cv3.", ".linear.")
# Layers, and what a trained model keeps of its loss; nothing here runs code of the file's.
PICKLED = ("torch.nn.modules.", "ultralytics.nn.", "ultralytics.utils.loss.", "ultralytics.utils.tal.")


@register("network")
def yolo(*, classes: int, channels: int, height: int, width: int, architecture: str, weights: str | None) -> nn.Module:
    """Build a YOLO of ultralytics: a detector (yolo11n, yolo26n, yolov8n) or a classifier (yolo11n-cls).

    `weights` is null (random) or the path of an ultralytics checkpoint, from which all layers but those of the classes
    are taken; for gray images the first kernels are summed over the colours. Images are normalised with mean 0 and
    std 255. Detectors need sides that are multiples of their largest stride, which is mostly 32.
    """
    import_ultralytics()
    from ultralytics.nn.tasks import ClassificationModel, DetectionModel

    plan = read_plan(architecture)
    task = plan["head"][-1][2]
    if task not in ("Classify", "Detect"):
        raise EdgemotionError(
            f"model.args.architecture: {architecture} ends in {task}; take a detector such as yolo11n or a classifier "
            "such as yolo11n-cls"
        )
    made = DetectionModel if task == "Detect" else ClassificationModel
    network = made(plan, ch=channels, nc=classes, verbose=False)
    if weights:
        transfer(network, read_checkpoint(weights), architecture, weights)
    return YoloDetector(network, height, width) if task == "Detect" else YoloClassifier(network)


class YoloDetector(Detector):
    """A DetectionModel whose boxes come out decoded and before any suppression.

    Of the two heads of yolo26 it is the one-to-many head, as in all others.
    """

    anchors: torch.Tensor
    steps: torch.Tensor
    bins: torch.Tensor

    def __init__(self, network: Any, height: int, width: int) -> None:
        super().__init__()
        strides = [int(stride) for stride in network.stride]
        if height % max(strides) or width % max(strides):
            raise EdgemotionError(
                f"data.height and data.width are {height} and {width}; this detector needs multiples of {max(strides)}"
            )
        self.network = network
        self.height, self.width = height, width
        network.model[-1].end2end = False
        sizes = [(height // stride, width // stride) for stride in strides]
        grids = [torch.cartesian_prod(torch.arange(rows), torch.arange(columns)) for rows, columns in sizes]
        shares = torch.tensor([width, height])
        steps = [stride / shares.expand(len(grid), 2) for stride, grid in zip(strides, grids, strict=True)]
        self.register_buffer("anchors", torch.cat(grids).flip(1) + 0.5, persistent=False)
        self.register_buffer("steps", torch.cat(steps), persistent=False)
        self.register_buffer("bins", torch.arange(network.model[-1].reg_max).float(), persistent=False)

    @property
    def cam_layer(self) -> nn.Module:
        """The neck's output of the finest stride, the first input of the head."""
        layers = self.network.model
        return layers[layers[-1].f[0]]

    def detect(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        head = self.network.model[-1]
        raw = head.forward_head(self.features(images), **head.one2many)
        return self.decode(raw["boxes"]), raw["scores"].transpose(1, 2)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Run backbone and neck; return the feature maps that the head takes."""
        outputs: list[torch.Tensor] = []
        for layer in self.network.model[:-1]:
            given = [outputs[index] if outputs else images for index in listed(layer.f)]
            outputs.append(layer(given if isinstance(layer.f, list) else given[0]))
        return [outputs[index] for index in self.network.model[-1].f]

    def decode(self, raw: torch.Tensor) -> torch.Tensor:
        """Distances [N,4*bins,A] from the anchors, in strides, to boxes [N,A,4] in shares of the image.

        Each distance is the mean of a distribution over bins (Li et al. 2020, arXiv 2006.04388), or one number.
        """
        spread = raw.unflatten(1, (4, -1))
        if len(self.bins) > 1:
            spread = spread.softmax(2) * self.bins.view(1, 1, -1, 1)
        distance = spread.sum(2).transpose(1, 2)
        corners = [self.anchors - distance[..., :2], self.anchors + distance[..., 2:]]
        return torch.cat([corner * self.steps for corner in corners], 2)


class YoloClassifier(nn.Module):
    """A ClassificationModel that gives logits in training and in evaluation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer = self.network(images)
        return answer[1] if isinstance(answer, tuple) else answer


def listed(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]


def import_ultralytics() -> ModuleType:
    """Import ultralytics with connections, installers and loggers off, and with its own files in a temporary folder.

    Where somebody else has imported it before, its folder is theirs and nothing is written there.
    Raises EdgemotionError where it is not installed.
    """
    folder = None
    if "ultralytics" not in sys.modules:
        folder = Path(tempfile.mkdtemp(prefix="edgemotion-ultralytics-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        # Read once, at the import.
        os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false", YOLO_CONFIG_DIR=str(folder))
    save = torch.save
    try:
        ultralytics = importlib.import_module("ultralytics")
        utils, events = (importlib.import_module(f"ultralytics.utils{name}") for name in ("", ".events"))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ultralytics":
            raise
        raise EdgemotionError(
            "model yolo needs ultralytics (AGPL-3.0), which is not installed; run `uv sync --extra yolo`"
        ) from None
    # It puts a wrapper in place of torch's own function.
    torch.save = save
    utils.LOGGER.setLevel(logging.ERROR)
    # Not by its own update, which writes the settings file.
    dict.update(utils.SETTINGS, dict.fromkeys(INTEGRATIONS, False))
    events.events.enabled = False
    for name, module in list(sys.modules.items()):
        if name.startswith("ultralytics.") and hasattr(module, "ONLINE"):
            vars(module)["ONLINE"] = False
    if folder:
        from matplotlib import get_data_path

        # Looked up on the net where it is missing, even if nothing is drawn.
        shutil.copyfile(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf", folder / "Ultralytics/Arial.ttf")
    return ultralytics


def read_plan(architecture: str) -> dict[str, Any]:
    """Read the layers of an architecture from the YAML files that ultralytics ships."""
    from ultralytics.nn.tasks import guess_model_scale
    from ultralytics.utils import YAML

    package = Path(str(import_ultralytics().__file__)).parent
    shipped = {path.stem: path for path in sorted((package / "cfg/models").rglob("*.yaml"))}
    # One file serves all sizes: yolo11n is yolo11 at the scale n.
    family = re.sub(r"(\d)[nslmx](?=-|$)", r"\1", architecture)
    path = shipped.get(architecture) or shipped.get(family)
    if path is None:
        raise EdgemotionError(
            f"model.args.architecture: ultralytics has no {architecture!r}; take a detector such as yolo11n, yolo26n "
            "or yolov8n, or a classifier such as yolo11n-cls"
        )
    return {**YAML.load(path), "scale": guess_model_scale(architecture), "yaml_file": f"{architecture}.yaml"}


def read_checkpoint(path: str) -> dict[str, torch.Tensor]:
    """Read the tensors of an ultralytics .pt, a pickle of layers, without running any code that the file brings.

    Raises EdgemotionError for a missing or damaged file and for one that names anything but known layers.
    """
    if not Path(path).is_file():
        raise EdgemotionError(f"model.args.weights: {path} is missing; give the path of an ultralytics .pt or null")
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        known: list[Any] = [(find_class(name), name) for name in named]
        with torch.serialization.safe_globals(known):
            content = torch.load(path, map_location="cpu", weights_only=True)
        module = content.get("ema") or content["model"]
        return {name: tensor.float() for name, tensor in module.state_dict().items()}
    except EdgemotionError as error:
        raise EdgemotionError(f"model.args.weights: {path} {error}") from None
    # A damaged archive raises one of many errors.
    except Exception as error:
        reason = first_line(error)
        raise EdgemotionError(f"model.args.weights: {path} is no ultralytics checkpoint ({reason})") from None


def find_class(name: str) -> Any:
    """The class that a pickle names, if it is a layer or a part of a loss."""
    module, _, attribute = name.rpartition(".")
    if name == "ultralytics.utils.IterableSimpleNamespace" or name.startswith(PICKLED):
        found = getattr(importlib.import_module(module), attribute, None)
        if isinstance(found, type) and found.__module__ == module:
            return found
    raise EdgemotionError(f"names {name}, which is no layer of torch or ultralytics, and is not loaded")


def transfer(network: nn.Module, state: dict[str, torch.Tensor], architecture: str, path: str) -> None:
    """Copy all tensors but those of the class layers, which keep their random weights unless they fit.

    Raises EdgemotionError that names the first other tensor which does not fit.
    """
    own = network.state_dict()
    for name, tensor in own.items():
        given = state.get(name)
        if given is not None and given.shape[1:2] != tensor.shape[1:2] and name == "model.0.conv.weight":
            given = given.sum(1, keepdim=True)
        if given is not None and given.shape == tensor.shape:
            own[name] = given
        elif not any(layer in name for layer in CLASS_LAYERS):
            raise EdgemotionError(f"model.args.weights: {path} does not fit {architecture}: {name}")
    network.load_state_dict(own)
