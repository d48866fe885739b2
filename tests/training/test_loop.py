"""The training loop: its formulas by hand or by other libraries, and the same bytes also after an interruption."""

import runpy
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from sklearn.metrics import accuracy_score, log_loss
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from edgemotion.errors import EdgemotionError
from edgemotion.networks.network import build
from edgemotion.settings import Distill
from edgemotion.training import loop
from edgemotion.training.augment import augment, mix
from edgemotion.training.loop import (
    batches,
    choose_device,
    choose_precision,
    device_name,
    fit,
    tensors,
    update_average,
    validate,
)

given = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "torch_fixtures.py")))
TRAIN, VAL = given.patterned(60, seed=1), given.patterned(30, seed=2)
AUGMENT = {"flip": False, "shift": 0.05, "contrast": 0.2, "erase_probability": 0.5, "erase_size": 0.3}


def module_of(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build("compact", given.COMPACT, classes=3, channels=1, height=16, width=16)


def train(folder: Path, weights: int = 0, seed: int = 7, precision: str = "fp32", **given_settings: Any) -> Any:
    """Fit a fresh network; `weights` seeds its first weights, `seed` the training."""
    hooks = {key: given_settings.pop(key) for key in ("on_epoch", "after_step", "teachers") if key in given_settings}
    data = given_settings.pop("data", TRAIN)
    settings = given.train_settings(**{"augment": AUGMENT, "epochs": 3, **given_settings})
    result = fit(
        module_of(weights), data, VAL, mean=[110.0], std=[50.0], settings=settings,
        precision=precision, seed=seed, checkpoint=folder / "train.pt", **hooks,
    )  # fmt: skip
    (folder / "train.pt").unlink()
    return result


def content(module: nn.Module) -> str:
    return given.digest(save({name: tensor.contiguous() for name, tensor in module.state_dict().items()}))


def test_learns_the_pattern_and_reports_it(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    module, history = train(tmp_path, epochs=6, augment={}, on_epoch=rows.append)
    assert not module.training
    assert [list(row) for row in history] == [
        ["epoch", "learning_rate", "train_loss", "train_top1", "val_loss", "val_top1"]
    ] * 6
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["val_top1"] > 0.9
    assert history[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)
    # The tracker hears of every epoch what the history keeps, and the speed, which no file may hold.
    assert [{key: row[key] for key in row if key != "images_per_second"} for row in rows] == history
    assert all(row["images_per_second"] > 0 for row in rows)


def test_a_network_of_few_channels_learns_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    narrow = build("compact", {**given.COMPACT, "widths": [4, 12]}, classes=3, channels=1, height=16, width=16)
    _, history = fit(
        narrow, TRAIN, VAL, mean=[110.0], std=[50.0], settings=given.train_settings(epochs=8), precision="fp32",
        seed=7, checkpoint=tmp_path / "narrow.pt",
    )  # fmt: skip
    assert history[-1]["val_top1"] > 0.9


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"mixup": 0.4},
        {"momentum": 0.5, "weight_decay": 0.05, "warmup": 0.6, "label_smoothing": 0.3},
        {"distill": Distill("ensemble", 0.7, 3.0), "mixup": 0.4},
        {"distill": Distill("self", 0.6, 2.0)},
    ],
)
def test_two_epochs_by_hand(tmp_path: Path, change: dict[str, Any]) -> None:
    settings, teacher, seed = given.train_settings(epochs=2, **change), given.network_of(seed=5), 7
    teachers = [teacher] if settings.distill.teacher == "ensemble" else []
    found, history = train(tmp_path, seed=seed, augment={}, teachers=teachers, **({"epochs": 2} | change))

    module, (weight, heat) = module_of(), (settings.distill.weight, settings.distill.temperature)
    average = deepcopy(module).eval()
    matrices = [part for name, part in module.named_parameters() if part.ndim > 1 and name.endswith("weight")]
    others = [part for part in module.parameters() if not any(part is matrix for matrix in matrices)]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0}]
    optimizer = torch.optim.SGD(groups, 1, settings.momentum, nesterov=True)
    images, labels = (torch.from_numpy(part) for part in TRAIN)
    pixels, remembered = images.permute(0, 3, 1, 2).float(), nn.functional.one_hot(labels, 3).float()
    steps, done, losses = 8, 0, []
    for epoch in (1, 2):
        torch.manual_seed(seed * 100_003 + epoch)
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        module.train()
        total = 0.0
        for picked in torch.randperm(60, generator=generator).split(16):
            batch = augment(pixels[picked], generator, **given.NO_AUGMENT)
            batch, partner, share = mix(batch, generator, settings.mixup)
            rising = round(steps * settings.warmup)
            falling = 0.5 * (1 + np.cos(np.pi * (done - rising) / (steps - rising)))
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * ((done + 1) / rising if done < rising else falling)
            logits = module((batch - 110) / 50)
            loss = sum(
                part * nn.functional.cross_entropy(logits, target, label_smoothing=settings.label_smoothing)
                for part, target in ((share, labels[picked]), (1 - share, labels[picked][partner]))
            )
            answers = None
            if teachers:
                answers = (teacher.module((batch - teacher.mean[0]) / teacher.std[0]) / heat).softmax(1).detach()
            elif settings.distill.teacher == "self":
                answers = remembered[picked]
                remembered[picked] = 0.9 * answers + 0.1 * (logits.detach() / heat).softmax(1)
            if answers is not None:
                divergence = answers * (answers.clamp_min(1e-12).log() - (logits / heat).log_softmax(1))
                loss = (1 - weight) * loss + weight * heat**2 * divergence.sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            kept = min(settings.ema_decay, (1 + done) / (10 + done))
            with torch.no_grad():
                for slow, fast in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
                    slow.copy_(kept * slow + (1 - kept) * fast if slow.is_floating_point() else fast)
            done += 1
            total += float(loss.detach()) * len(picked)
        losses.append(total / 60)
    assert [row["train_loss"] for row in history] == pytest.approx(losses, rel=1e-4)
    expected = average.state_dict()
    for name, tensor in found.state_dict().items():
        torch.testing.assert_close(
            tensor, expected[name], rtol=2e-3, atol=2e-4, msg=lambda text, name=name: f"{name} {text}"
        )
    scores = average((torch.from_numpy(VAL[0]).permute(0, 3, 1, 2).float() - 110) / 50).detach()
    assert history[-1]["val_loss"] == pytest.approx(log_loss(VAL[1], scores.softmax(1).double().numpy()), rel=1e-3)


def test_no_step_has_one_image_alone(tmp_path: Path) -> None:
    for n, size, steps in ((32, 16, [16, 16]), (33, 16, [16, 17]), (34, 16, [16, 16, 2]), (1, 16, [1]), (2, 1, [1, 1])):
        assert [len(part) for part in batches(torch.arange(n), size)] == steps
    # BatchNorm refuses a single value a channel.
    module = nn.Sequential(nn.Flatten(), nn.Linear(256, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    settings = given.train_settings(augment={}, epochs=1, batch_size=16)
    arguments: dict[str, Any] = {"mean": [110.0], "std": [50.0], "settings": settings, "seed": 7, "precision": "fp32"}
    _, history = fit(module, given.patterned(33, seed=1), VAL, **arguments, checkpoint=tmp_path / "train.pt")
    assert history[0]["learning_rate"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, precision: str) -> None:
    (first, history), (second, again) = (train(tmp_path, precision=precision) for _ in range(2))
    assert content(first) == content(second) and history == again


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"precision": "bf16"},
        {"augment": {}},
        {"mixup": 0.4},
        {"ema_decay": 0.5},
        {"optimizer": "adamw"},
        {"balance": "sampling"},
        {"freeze": ["head"]},
    ],
)
def test_another_setting_gives_other_bytes(tmp_path: Path, change: dict[str, Any]) -> None:
    assert content(train(tmp_path)[0]) != content(train(tmp_path, **change)[0])


@pytest.mark.parametrize(
    ("epoch", "change"),
    [
        (1, {}),
        (2, {}),
        (4, {}),
        (2, {"optimizer": "adamw", "balance": "weights"}),
        (3, {"balance": "sampling", "freeze": ["head"]}),
        (2, {"mixup": 0.4, "balance": "weights", "teachers": [given.network_of(seed=5)]}),
        (3, {"distill": Distill("self", 0.6, 1.0), "balance": "sampling"}),
    ],
)
def test_an_interrupted_training_ends_with_the_same_bytes(tmp_path: Path, epoch: int, change: dict[str, Any]) -> None:
    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    whole, history = train(tmp_path / "whole", epochs=4, **change)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", epochs=4, on_epoch=stop, **change)
    # An epoch counts once its checkpoint stands, which is after it has been reported.
    assert (tmp_path / "parts/train.pt").exists() == (epoch > 1)
    seen: list[float] = []
    # Other first weights and another state of torch's generator must not matter after the first checkpoint.
    first_weights = 99 if epoch > 1 else 0
    parts, resumed = train(
        tmp_path / "parts", epochs=4, weights=first_weights, on_epoch=lambda row: seen.append(row["epoch"]), **change
    )
    assert seen == list(range(epoch, 5))
    assert content(parts) == content(whole) and resumed == history
    assert not list((tmp_path / "parts").iterdir())


def test_the_hook_corrects_the_weights_after_each_step(tmp_path: Path) -> None:
    steps: list[float] = []

    def freeze(module: nn.Module) -> None:
        with torch.no_grad():
            steps.append(float(module.get_parameter("head.bias").fill_(0.25).sum()))

    module, _ = train(tmp_path, epochs=2, after_step=freeze)
    # 60 images in batches of 16 are four steps an epoch.
    assert steps == [0.75] * 8
    # The average starts at the first weights and moves by 1 - (1 + step) / (10 + step) towards 0.25.
    expected = module_of().get_parameter("head.bias").detach()
    for step in range(8):
        expected = expected + (0.25 - expected) * (1 - (1 + step) / (10 + step))
    torch.testing.assert_close(module.get_parameter("head.bias"), expected, check_stride=False)


def test_frozen_parts_keep_every_value(tmp_path: Path) -> None:
    before = module_of().state_dict()
    after = train(tmp_path, freeze=["stem", "blocks"])[0].state_dict()
    # The statistics of BatchNorm included, which any pass in training mode would move.
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}


def test_weights_help_the_rare_classes(tmp_path: Path) -> None:
    images, labels = given.patterned(600, seed=3)
    # One class has 200 images, the others 4; all of val is balanced.
    kept = np.flatnonzero((labels == 0) | (np.arange(600) < 12))
    unequal = images[kept], labels[kept]
    found = {
        balance: train(tmp_path, data=unequal, balance=balance, epochs=4, augment={})[1][-1]["val_top1"]
        for balance in ("none", "weights", "sampling")
    }
    assert found["none"] < 0.5 < min(found["weights"], found["sampling"])


def test_the_average_equals_torchs_own() -> None:
    slow, fast = module_of(0), module_of(1)
    for layer in fast.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.fill_(3.0)
            layer.num_batches_tracked.fill_(5)
    expected = deepcopy(slow)
    for values in ("parameters", "buffers"):
        pairs = zip(getattr(expected, values)(), getattr(fast, values)(), strict=True)
        kept, current = zip(*[(a.data, b.data) for a, b in pairs if a.is_floating_point()], strict=True)
        get_ema_multi_avg_fn(0.9)(kept, current, None)
    # At step 1,000 the ramp (1 + step) / (10 + step) = .991 lies above the decay.
    update_average(tensors(slow), tensors(fast), decay=0.9, step=1000)
    found = dict(slow.state_dict())
    for name, tensor in expected.state_dict().items():
        wanted = torch.tensor(5) if name.endswith("num_batches_tracked") else tensor
        torch.testing.assert_close(found[name], wanted, msg=name)


def test_the_average_forgets_the_start() -> None:
    slow, fast = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(slow.weight, 0.0)
    nn.init.constant_(fast.weight, 1.0)
    # At the first step a tenth of the old value stays, whatever the decay.
    update_average(tensors(slow), tensors(fast), decay=0.999, step=0)
    assert slow.weight.item() == pytest.approx(0.9)


def test_validation_equals_scikit_learn() -> None:
    images, labels = given.patterned(1100, seed=5)
    module = given.network_of().module
    scale = torch.tensor([[110.0], [50.0]]).view(2, 1, 1, 1, 1)
    found = validate(module, torch.from_numpy(images), torch.from_numpy(labels), scale, "fp32")
    with torch.no_grad():
        pixels = torch.from_numpy((images.transpose(0, 3, 1, 2).astype(np.float32) - 110) / 50)
        probabilities = module(pixels).double().softmax(1).numpy()
    assert found["val_loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    assert found["val_top1"] == accuracy_score(labels, probabilities.argmax(1))


def test_bad_settings_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(EdgemotionError, match=r"^precision is 'fp8'; use fp32 or bf16"):
        train(tmp_path, precision="fp8")
    with pytest.raises(EdgemotionError, match=r"^balance is 'loss'; choose one of none, weights, sampling$"):
        train(tmp_path, balance="loss")
    with pytest.raises(EdgemotionError, match=r"^device is 'gpu', which does not work here") as caught:
        train(tmp_path, device="gpu")
    assert "\n" not in str(caught.value)


def spoil(module: nn.Module) -> None:
    """Statistics that training does not read, but validation does."""
    module.get_buffer("stem.1.running_var").fill_(np.nan)


@pytest.mark.parametrize("change", [{"learning_rate": 1e30}, {"after_step": spoil}])
def test_a_training_that_diverges_ends_and_keeps_no_checkpoint_of_it(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(
        EdgemotionError, match=r"^the loss is no longer finite in epoch 1; lower this training's learning rate"
    ):
        train(tmp_path, **change)
    assert not (tmp_path / "train.pt").exists()


def test_auto_takes_what_is_there() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_training_names_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [device_name(name) for name in ("cpu", "meta")] == ["cpu", "meta"]
    # Without such a device here, the rest of torch cannot answer for it.
    monkeypatch.setattr(loop, "choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU model of {device}")
    assert device_name("cuda:1") == "GPU model of cuda:1"


@pytest.mark.parametrize(
    ("asked", "instruction", "taken"),
    [
        ("bf16", "avx512_bf16", "bf16"),
        ("bf16", "sve_bf16", "bf16"),
        ("bf16", "avx2", "fp32"),
        ("fp32", "avx512_bf16", "fp32"),
        ("fp16", "avx2", "fp16"),
    ],
)
def test_a_cpu_without_bf16_takes_fp32(
    asked: str,
    instruction: str,
    taken: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loop.tell.cache_clear()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instruction: True, "avx512_vnni": False})
    assert choose_precision(asked, "cpu") == taken
    assert ("no bf16 instructions" in capsys.readouterr().err) == (taken != asked)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"mean": [110.0], "std": [50.0], "settings": given.train_settings(), "seed": 7}
    arguments |= {"precision": "fp32", "checkpoint": tmp_path / "train.pt"}
    first, history = fit(module_of(), TRAIN, VAL, **arguments)
    rows: list[Any] = []
    second, again = fit(module_of(99), TRAIN, VAL, **arguments, on_epoch=rows.append)
    assert content(first) == content(second) and history == again and rows == []


def test_a_teacher_replaces_the_labels(tmp_path: Path) -> None:
    """With labels that are all wrong, what is learned can only be the teacher's."""
    teacher = given.network_of(seed=5)
    teacher.module, _ = train(tmp_path, epochs=8, augment={})
    wrong = (TRAIN[0], (TRAIN[1] + 1) % 3)
    alone, taught = (
        train(tmp_path, epochs=8, augment={}, data=wrong, distill=Distill("ensemble", weight, 2.0), teachers=[teacher])
        for weight in (0.0, 1.0)
    )
    assert alone[1][-1]["val_top1"] < 0.1 and taught[1][-1]["val_top1"] > 0.9


def test_own_answers_outweigh_false_labels(tmp_path: Path) -> None:
    """Of the images with a false label more are answered rightly where the network also learns from itself."""
    images, labels = given.patterned(300, seed=4)
    false = np.random.default_rng(0).random(300) < 0.4
    mixed = images, np.where(false, (labels + 1) % 3, labels)
    losses = {}
    for teacher in ("none", "self"):
        module, _ = train(tmp_path, epochs=30, augment={}, data=mixed, distill=Distill(teacher, 0.6, 1.0))
        scale = torch.tensor([[110.0], [50.0]]).view(2, 1, 1, 1, 1)
        found = validate(module, torch.from_numpy(images[false]), torch.from_numpy(labels[false]), scale, "fp32")
        losses[teacher] = found["val_loss"]
    assert losses["self"] < 0.9 * losses["none"]
