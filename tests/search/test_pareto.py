"""A search from a trained network to files that the pipeline takes: real models, real measurements, no test split."""

import contextlib
import dataclasses
import inspect
import json
import runpy
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from edgemotion.compression.export import to_onnx
from edgemotion.compression.onnx_file import count_macs, write_variant
from edgemotion.datasets.splits import split_sha256, write_split
from edgemotion.errors import EdgemotionError
from edgemotion.files import sha256_file
from edgemotion.networks import network
from edgemotion.runtime.classifier import Classifier
from edgemotion.search.bench import Bench
from edgemotion.search.pareto import search
from edgemotion.settings import Settings, load
from edgemotion.stages import export, prune, quantize
from edgemotion.training.loop import fit

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
SMALL = [
    "model=compact", "model.args.widths=[16,32]", "model.args.depths=[1,1]", "model.args.stem_stride=1",
    "model.precision=fp32", "train=default", "train.epochs=3", "train.batch_size=32", "train.ema_decay=0.9",
    "train.augment.flip=false", "train.device=cpu", "pareto.macs_ratios=[]", "pareto.widths=[]", "pareto.rounds=20",
    "profile.warmup=2", "pareto.quantize.args.calibration_images=300", "threads=1", "tracking=none",
]  # fmt: skip
# Any accuracy and latency is within it, so that what is kept does not hang on the machine's mood.
BUDGET = [
    "select.max_p95_ratio=1000", "select.min_speedup=0", "select.max_accuracy_drop=1", "select.max_worst_class_drop=1",
    "select.min_agreement=0", "pareto.keep=20",
]  # fmt: skip


def settings_of(*overrides: str, configs: Path = ROOT / "configs") -> Settings:
    with initialize_config_dir(str(configs), version_base="1.3"):
        return load(compose("config", [*SMALL, *overrides]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with data, an fp32 network and its variant, and the configuration."""
    folder = tmp_path_factory.mktemp("project")
    splits = {"train": given.split_of(400, 0), "val": given.split_of(90, 1)}
    for name, split in splits.items():
        write_split(folder / "data/prepared" / name, split)
    shutil.copytree(ROOT / "configs", folder / "configs", ignore=shutil.ignore_patterns("pareto.yaml"))
    dense = given.network_of(args={**given.COMPACT, "widths": [16, 32]})
    dense = dataclasses.replace(dense, classes=given.CLASSES)
    arrays = [(split.images, split.labels) for split in splits.values()]
    dense.module, _ = fit(
        dense.module, *arrays, mean=dense.mean, std=dense.std, settings=given.train_settings(), precision="fp32",
        seed=0, checkpoint=folder / "checkpoint.pt",
    )  # fmt: skip
    network.save(folder / "models/networks/fp32", dense, [])
    model = to_onnx(dense)
    info = {
        "name": "fp32",
        "task": "classify",
        "parent": None,
        "method": "train",
        "settings": {"train": {"epochs": 7}},
        "weights_sha256": sha256_file(folder / "models/networks/fp32/model.safetensors"),
        "classes": dense.classes,
        "input": {"layout": "NHWC", "dtype": "uint8", "height": 16, "width": 16, "channels": 1},
        "parity": {"max_abs_diff": 0.0, "argmax_agreement": 1.0},
        "macs": count_macs(model),
        "data_sha256": split_sha256(folder / "data/prepared/train"),
        "val_sha256": split_sha256(folder / "data/prepared/val"),
    }
    val = splits["val"]
    write_variant(folder / "models/variants/fp32", model, info, (val.images, val.labels), threads=1)
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working directory."""
    shutil.copytree(trained, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def choices(rows: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(row["network"], row["float_layers"]) for row in rows]


def test_begins_with_the_ends_and_writes_what_it_measured(project: Path) -> None:
    rows = search(settings_of(), 5)
    assert [row["variant"] for row in rows[:3]] == ["fp32", "fp32_int8", "fp32_mixed_3"]
    images, labels = given.patterned(90, seed=1)
    logits, _ = Classifier("models/variants/fp32").run(images)
    assert rows[0]["top1"] == pytest.approx((logits.argmax(1) == labels).mean(), abs=1e-6) and rows[0]["top1"] > 0.9
    assert rows[0]["size_bytes"] == Path("models/variants/fp32/model.onnx").stat().st_size
    assert rows[0]["agreement"] == 1 and not rows[1]["float_layers"]
    assert 0 < len(rows[2]["float_layers"]) < rows[2]["layers"] == len(rows[0]["float_layers"])
    assert rows[1]["size_bytes"] != rows[2]["size_bytes"] != rows[0]["size_bytes"]
    assert rows[1]["p50_ratio_ci"][0] <= rows[1]["p50_ratio"] <= rows[1]["p50_ratio_ci"][1]
    content = json.loads(Path("reports/pareto/front.json").read_text())
    assert content["trials"] == rows and content["networks"]["fp32"]["epochs"] == 7
    assert content["select"] == dataclasses.asdict(settings_of().select)
    table = Path("reports/pareto/front.md").read_text()
    assert "Epochs of training: fp32 7;" in table
    assert table.count("\n| ") == 1 + sum(row["front"] for row in rows) and f"{len(rows)} trials, " in table
    assert Path("reports/pareto/pareto.png").stat().st_size > 10_000


def test_a_killed_search_goes_on_with_the_same_choices(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for name in ("whole", "killed"):
        shutil.copytree(trained, tmp_path / name)
    with contextlib.chdir(tmp_path / "whole"):
        found["whole"] = search(settings_of(), 5)
    monkeypatch.chdir(tmp_path / "killed")
    measured = []

    def killed(bench: Bench, *choice: Any) -> dict[str, Any]:
        measured.append(choice)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return measure(bench, *choice)

    measure = Bench.measure
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Bench, "measure", killed)
        search(settings_of(), 5)
    found["killed"] = search(settings_of(), 2)
    assert choices(found["killed"]) == choices(found["whole"])
    # Nothing is left to measure where no trial is added, and the rows are those on disk.
    assert choices(search(settings_of(), 0)) == choices(found["whole"])


def test_other_quantization_or_timing_begins_anew(project: Path) -> None:
    search(settings_of(), 2)
    for change in ("pareto.quantize.args.per_channel=[false]", "pareto.rounds=30", "profile.warmup=3"):
        other = settings_of(change)
        with pytest.raises(EdgemotionError, match=r"search\.db holds no trial of these settings; ask for some"):
            search(other, 0)
        assert len(search(other, 2)) == 2 and len(search(settings_of(), 0)) == 2


def test_the_front_becomes_a_choice_of_compression(project: Path) -> None:
    rows = search(settings_of(*BUDGET), 5)
    kept = [row for row in rows if row["kept"]]
    settings = settings_of("compression=pareto", configs=project / "configs")
    assert settings.variants == ["fp32", *(row["variant"] for row in kept)] and kept
    assert settings.prune == {} and settings.networks == ["fp32"]
    for row in kept:
        entry = settings.quantize[row["variant"]]
        assert (entry.method, entry.parent) == ("static", "fp32")
        assert entry.args["float_layers"] == row["float_layers"] and entry.args["max_accuracy_drop"] == 1


def test_what_is_missing_or_does_not_belong_together_is_one_line(project: Path) -> None:
    info = Path("models/variants/fp32/model_info.json")
    content = json.loads(info.read_text())
    for changes, told in (
        (
            {"weights_sha256": "0" * 64},
            r"was not exported from models/networks/fp32/model\.safetensors; run `dvc repro",
        ),
        ({"task": "detect"}, "is a detector, which cannot be pruned"),
        ({"val_sha256": {}}, "is of other data than data/prepared; run `dvc repro export`"),
    ):
        info.write_text(json.dumps(content | changes))
        with pytest.raises(EdgemotionError, match=told):
            search(settings_of(), 1)
    with pytest.raises(EdgemotionError, match=r"pareto\.quantize: quantize 'int3' does not exist"):
        search(settings_of("pareto.quantize.method=int3"), 1)
    for path, stage in (("variants/fp32/model.onnx", "export"), ("networks/fp32/model.safetensors", "train")):
        (Path("models") / path).unlink()
        with pytest.raises(EdgemotionError, match=rf"models/{path} is missing; run `dvc repro {stage}`"):
            search(settings_of(), 1)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("pareto.slim.epochs=0", r"pareto\.slim\.epochs is 0; it must be at least 1"),
        ("pareto.structured.rounds=0", r"pareto\.structured\.rounds is 0; it must be at least 1"),
        (
            "pareto.slim.distill.teacher=me",
            r"pareto\.slim\.distill\.teacher is 'me'; it can be none or ensemble or dense",
        ),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused(override: str, told: str) -> None:
    with pytest.raises(EdgemotionError, match=told):
        settings_of(override)


@pytest.mark.slow
def test_the_pipeline_makes_what_the_search_measured(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = ["pareto.macs_ratios=[0.5]", "pareto.widths=[0.5]", "pareto.structured.epochs=1", "pareto.slim.epochs=2"]
    space += ["pareto.structured.args.round_to=8", "pareto.slim.args.round_to=8"]
    rows = search(settings_of(*space, *BUDGET), 9)
    assert [row["variant"] for row in rows[:3]] == ["fp32", "structured_50", "slim_50"]
    assert "Epochs of training: fp32 7, structured_50 1, slim_50 2;" in Path("reports/pareto/front.md").read_text()
    assert rows[1]["macs"] <= 0.5 * rows[0]["macs"] and rows[2]["macs"] < 0.4 * rows[0]["macs"]

    write_split(project / "data/prepared/test", given.split_of(60, 2))
    settings = settings_of("compression=pareto", "select.max_accuracy_drop=0", configs=project / "configs")

    def run(stage: Any, names: Iterable[str]) -> None:
        for name in names:
            inspect.unwrap(stage.main)(dataclasses.replace(settings, item=name))

    def trained_again(*_: Any) -> None:
        raise AssertionError("the stage trained what the search had trained")

    with monkeypatch.context() as patch:
        patch.setattr("edgemotion.training.loop.save_checkpoint", trained_again)
        run(prune, settings.prune)
    run(export, settings.prune)
    run(quantize, settings.quantize)
    images, labels = given.patterned(90, seed=1)
    kept = [row for row in rows if row["kept"]]
    assert {row["network"] for row in kept} - {"fp32"} == set(settings.prune)
    for row in kept:
        path = Path("models/variants") / row["variant"]
        assert (path / "model.onnx").stat().st_size == row["size_bytes"]
        predicted = Classifier(path).run(images)[0].argmax(1)
        assert row["top1"] == pytest.approx(np.mean(predicted == labels), abs=1e-6)
    # Nor does it need what the search has left.
    networks = given.digests(Path("models/networks"))
    assert not list(Path(".checkpoints").iterdir())
    run(prune, settings.prune)
    assert given.digests(Path("models/networks")) == networks
