"""A YOLO module and ultralytics' options in; its trainer out, with our validation, checkpoints and exact resume."""

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from edgemotion.datasets.splits import Split
from edgemotion.errors import EdgemotionError, first_line
from edgemotion.measure.detection import evaluate_detections
from edgemotion.networks.yolo import YoloDetector, import_ultralytics
from edgemotion.runtime.detector import validation_boxes
from edgemotion.settings import Train
from edgemotion.training.checkpoint import save_checkpoint
from edgemotion.training.loop import nchw, progress
from edgemotion.training.optimizer import freeze


def make_trainer(
    options: dict[str, Any],
    module: YoloDetector,
    splits: tuple[Split, Split],
    *,
    settings: Train,
    seed: int,
    checkpoint: Path,
    state: dict[str, Any] | None,
    history: list[dict[str, float]],
    on_epoch: Callable[[dict[str, float]], None],
) -> Any:
    """A DetectionTrainer that validates, saves and resumes as edgemotion.training.loop does and fills `history`."""
    import_ultralytics()
    from ultralytics.models.yolo.detect import DetectionTrainer

    train, val = splits

    class Trainer(DetectionTrainer):
        def get_dataset(self) -> dict[str, Any]:
            names = dict(enumerate(train.classes))
            images = str(Path(self.args.data) / "images")
            return {"train": images, "val": images, "nc": len(names), "names": names, "channels": train.images.shape[3]}

        def get_dataloader(self, *args: Any, mode: str = "train", **keywords: Any) -> Any:
            return super().get_dataloader(*args, mode=mode, **keywords) if mode == "train" else self.train_loader

        def get_validator(self) -> Any:
            return SimpleNamespace(metrics=SimpleNamespace(keys=[]))

        def _setup_train(self) -> None:
            super()._setup_train()
            self.frozen = freeze(module, settings.freeze)
            # As in edgemotion.training.loop: early steps count more, so that the start is forgotten.
            self.ema.decay = lambda updates: min(settings.ema_decay, updates / (9 + updates))

        def resume_training(self, ckpt: Any) -> None:
            if state is None:
                return
            self.model.load_state_dict(state["module"])
            self.ema.ema.load_state_dict(state["average"])
            self.ema.updates = state["updates"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.start_epoch = len(history)
            self.model.criterion = self.model.init_criterion()
            # Two heads share the loss by the number of epochs done.
            if hasattr(self.model.criterion, "update"):
                self.model.criterion.updates = self.start_epoch - 1
                self.model.criterion.update()

        def _model_train(self) -> None:
            super()._model_train()
            for layer in self.frozen:
                layer.eval()

        def _handle_nan_recovery(self, epoch: int) -> bool:
            if not self.loss.isfinite():
                raise EdgemotionError(
                    f"the loss is no longer finite in epoch {epoch + 1}; lower train.learning_rate "
                    f"({settings.learning_rate})"
                )
            return False

        def validate(self) -> tuple[dict[str, float], float]:
            average = YoloDetector(self.ema.ema, module.height, module.width)
            self.measured = measure(average, val, self.device)
            return {}, self.measured["val_map50"]

        def save_metrics(self, metrics: Any) -> None:
            row: dict[str, float] = {
                "epoch": self.epoch + 1,
                "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
                "train_loss": sum(float(part) for part in self.tloss.values()),
                **self.measured,
            }
            history.append(row)
            speed = len(train) / (time.perf_counter() - self.started)
            self.bar.set_postfix_str(
                f"epoch {row['epoch']}/{self.epochs} loss {row['train_loss']:.3f} mAP50 {row['val_map50']:.3f} "
                f"top1 {row['val_top1']:.3f} {speed:.0f} images/s"
            )
            on_epoch({**row, "images_per_second": speed})

        def save_model(self) -> bool:
            parts = {"module": self.model, "average": self.ema.ema, "optimizer": self.optimizer}
            saved = {name: part.state_dict() for name, part in parts.items()}
            save_checkpoint(checkpoint, {**saved, "updates": self.ema.updates, "history": history})
            return True

        def final_eval(self) -> None:
            pass

    def start_epoch(trainer: Any) -> None:
        # All randomness of an epoch comes from its number, so a resumed training draws the same.
        number = (seed * 100_003 + trainer.epoch + 1) % 2**32
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)
        trainer.train_loader.reset()
        trainer.train_loader.generator.manual_seed(number)
        # Memory that does not suffice is an error, and no reason to halve the batch in silence.
        trainer._oom_retries = 3
        trainer.started = time.perf_counter()

    try:
        trainer = Trainer(overrides=options)
    except (TypeError, ValueError) as error:
        raise EdgemotionError(f"train: ultralytics refuses a setting: {first_line(error)}") from None
    trainer.model = module.network
    steps = math.ceil(len(train) / settings.batch_size)
    trainer.bar = progress(settings.epochs * steps, len(history) * steps)
    trainer.add_callback("on_train_epoch_start", start_epoch)
    trainer.add_callback("on_train_batch_end", lambda trainer: trainer.bar.update())
    return trainer


@torch.no_grad()
def measure(module: YoloDetector, split: Split, device: torch.device) -> dict[str, float]:
    """mAP50 and the top-1 of the best box over a split of whole images."""
    module = module.to(device).eval()
    found = [
        [part.cpu().numpy() for part in module.detect(nchw(batch.to(device)) / 255)]
        for batch in torch.from_numpy(split.images).split(256)
    ]
    boxes, logits = (np.concatenate(parts) for parts in zip(*found, strict=True))
    detections = validation_boxes(boxes, 1 / (1 + np.exp(-logits)))
    scores = evaluate_detections(detections, split.boxes, split.labels, split.classes)
    return {"val_map50": scores["map50"], "val_top1": float((logits.max(1).argmax(1) == split.labels).mean())}
