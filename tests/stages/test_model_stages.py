"""Train, prune, export and quantize in a row, on images that a tiny network can learn."""

import contextlib
import inspect
import json
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hydra import compose, initialize_config_dir
from onnx import TensorProto, numpy_helper
from scipy.special import softmax

from edgemotion.datasets.splits import write_split
from edgemotion.errors import EdgemotionError
from edgemotion.files import read_csv, sha256_file
from edgemotion.report.training_time import training_minutes
from edgemotion.runtime.classifier import Classifier
from edgemotion.runtime.variant import load_variant
from edgemotion.settings import Settings, load
from edgemotion.stages import export, prune, quantize, teach, train
from edgemotion.training.checkpoint import save_checkpoint
from edgemotion.training.loop import device_name

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
SMALL = [
    "model=compact", "model.args.widths=[16,32]", "model.args.depths=[1,1]", "model.args.stem_stride=1",
    "model.precision=fp32", "data.classes=[left,right,middle]", "train.epochs=3", "train.batch_size=32",
    "train.ema_decay=0.9", "train.augment.flip=false", "train.augment.shift=0.05", "train.device=cpu",
    "prune.pruned.epochs=2", "prune.pruned.args.round_to=8", "prune.sparse.epochs=1",
    "quantize.int8_static.args.calibration_images=300", "quantize.pruned_int8.args.calibration_images=300",
    "threads=1", "tracking=none",
]  # fmt: skip


def settings_of(*overrides: str, item: str = "") -> Settings:
    """The settings of configs/ for a tiny network."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        settings = load(compose("config", [*SMALL, *overrides]))
    settings.item = item
    return settings


def run(stage: Any, *overrides: str, item: str = "") -> None:
    """Run a stage's body in this process."""
    inspect.unwrap(stage.main)(settings_of(*overrides, item=item))


def prepare(folder: Path) -> None:
    for seed, (name, count) in enumerate({"train": 400, "val": 90, "test": 60}.items()):
        write_split(folder / "data/prepared" / name, given.split_of(count, seed))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which all model stages have run."""
    folder = tmp_path_factory.mktemp("project")
    prepare(folder)
    with contextlib.chdir(folder):
        run(train)
        for item in ("pruned", "sparse"):
            run(prune, item=item)
        for item in ("fp32", "pruned", "sparse"):
            run(export, item=item)
        for item in ("int8_static", "int8_dynamic", "pruned_int8"):
            run(quantize, item=item)
    return folder


def info_of(folder: Path, name: str) -> Any:
    return json.loads((folder / "models/variants" / name / "model_info.json").read_text())


def top1(folder: Path, name: str) -> float:
    images, labels = given.patterned(60, seed=2)
    logits, _ = Classifier(folder / "models/variants" / name).run(images)
    return float((logits.argmax(1) == labels).mean())


def test_each_stage_leaves_its_files_and_no_others(finished: Path) -> None:
    found = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    networks = {
        f"models/networks/{name}/{file}"
        for name in ("fp32", "pruned", "sparse")
        for file in ("model.safetensors", "network.json", "history.csv")
    }
    variants = {
        f"models/variants/{name}/{file}"
        for name in ("fp32", "pruned", "sparse", "int8_static", "int8_dynamic", "pruned_int8")
        for file in ("model.onnx", "model_info.json")
    }
    assert {path for path in found if not path.startswith("data/")} == networks | variants


def test_the_network_has_learned_and_says_from_what(finished: Path) -> None:
    history = read_csv(finished / "models/networks/fp32/history.csv")
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert float(history[-1]["val_top1"]) > 0.9
    described = json.loads((finished / "models/networks/fp32/network.json").read_text())
    images = given.patterned(400, seed=0)[0]
    assert described["mean"] == pytest.approx([images.mean()], abs=1e-4)
    assert described["std"] == pytest.approx([images.std()], abs=1e-4)
    assert described["classes"] == ["left", "right", "middle"]
    assert described["data_sha256"] == {
        name: sha256_file(finished / "data/prepared/train" / name) for name in ("images.npy", "labels.npy", "boxes.npy")
    }
    assert described["settings"]["train"]["epochs"] == 3 and described["settings"]["seed"] == 42
    assert described["settings"]["device"] == device_name("auto")


@pytest.mark.parametrize(
    ("name", "parent", "method"),
    [
        ("fp32", None, "train"),
        ("pruned", "fp32", "structured"),
        ("sparse", "fp32", "unstructured"),
        ("int8_static", "fp32", "static_int8"),
        ("int8_dynamic", "fp32", "dynamic_int8"),
        ("pruned_int8", "pruned", "static_int8"),
    ],
)
def test_every_variant_runs_and_knows_its_origin(finished: Path, name: str, parent: str | None, method: str) -> None:
    folder = finished / "models/variants" / name
    info = load_variant(folder).info
    made = ["parent_sha256", "notes"] if method.endswith("_int8") else []
    assert list(info) == [
        "name", "task", "parent", "method", "settings", "network", "weights_sha256", "classes", "input", "parity",
        "gates", "parameters", "macs", "threads", "data_sha256", "val_sha256", "opset", "temperature", "size_bytes",
        "compressed_bytes", "sha256", "made_with", *made,
    ]  # fmt: skip
    assert (info["name"], info["parent"], info["method"]) == (name, parent, method)
    assert info["input"] == {"layout": "NHWC", "dtype": "uint8", "height": 16, "width": 16, "channels": 1}
    assert info["network"] == {
        "name": "compact",
        "args": {"widths": [16, 32], "depths": [1, 1], "stem_stride": 1, "dropout": 0.2},
    }
    network = {"int8_static": "fp32", "int8_dynamic": "fp32", "pruned_int8": "pruned"}.get(name, name)
    assert info["weights_sha256"] == sha256_file(finished / f"models/networks/{network}/model.safetensors")
    if name == network:
        assert info["parity"]["max_abs_diff"] < 1e-4 and info["parity"]["argmax_agreement"] == 1.0
    else:
        assert 0 < info["parity"]["max_abs_diff"] < 1 and info["parity"]["argmax_agreement"] > 0.95
    logits, probabilities = Classifier(folder).run(given.patterned(20, seed=2)[0])
    np.testing.assert_allclose(probabilities, softmax(logits / info["temperature"], axis=1), atol=1e-6)
    assert top1(finished, name) > 0.9
    assert (folder / "model.onnx").read_bytes().find(str(finished).encode()) == -1


def test_structured_pruning_halves_the_macs(finished: Path) -> None:
    dense, pruned, int8 = (info_of(finished, name) for name in ("fp32", "pruned", "pruned_int8"))
    assert 0 < pruned["macs"] <= 0.5 * dense["macs"] and pruned["size_bytes"] < dense["size_bytes"]
    assert int8["macs"] == pruned["macs"]
    assert pruned["settings"]["prune"]["args"] == {"macs_ratio": 0.5, "round_to": 8, "importance": "magnitude"}
    assert pruned["settings"]["train"]["epochs"] == 2 and pruned["settings"]["precision"] == "fp32"


def test_unstructured_pruning_leaves_zeros_in_the_file(finished: Path) -> None:
    def kernels(name: str) -> np.ndarray:
        model = onnx.load(finished / f"models/variants/{name}/model.onnx")
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        weights = [node.input[1] for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
        return np.concatenate([numpy_helper.to_array(tensors[weight]).ravel() for weight in weights])

    assert (kernels("sparse") == 0).mean() == pytest.approx(0.8, abs=1e-3)
    assert (kernels("fp32") == 0).mean() < 0.01
    dense, sparse = info_of(finished, "fp32"), info_of(finished, "sparse")
    assert sparse["macs"] == dense["macs"]
    assert sparse["compressed_bytes"] < 0.9 * dense["compressed_bytes"]


def test_static_quantization_stores_int8(finished: Path) -> None:
    model = onnx.load(finished / "models/variants/int8_static/model.onnx")
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    sources = {output: node for node in model.graph.node for output in node.output}
    kernels = [sources[node.input[1]].input[0] for node in model.graph.node if node.op_type == "Conv"]
    assert len(kernels) == 7 and {types[name] for name in kernels} == {TensorProto.INT8}


def test_running_again_gives_the_same_bytes(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    run(train)
    for item in ("pruned", "sparse"):
        run(prune, item=item)
    run(export, item="pruned")
    run(quantize, item="pruned_int8")
    found = given.digests(tmp_path)
    assert len([name for name in found if name.startswith("models/")]) == 13
    assert found == {name: content for name, content in given.digests(finished).items() if name in found}


def test_missing_inputs_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgemotionError, match=r"data/prepared/train/images\.npy is missing; run `dvc repro prepare`"):
        run(train)
    for stage, item in ((prune, "pruned"), (export, "fp32")):
        with pytest.raises(EdgemotionError, match=r"models/networks/fp32/network\.json is missing"):
            run(stage, item=item)
    with pytest.raises(EdgemotionError, match=r"models/variants/fp32/model\.onnx is missing"):
        run(quantize, item="int8_static")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("prune.sparse.method=random", "prune.sparse: prune 'random' does not exist"),
        ("prune.sparse.args.sparsity=80", "prune.sparse: prune unstructured: sparsity is 80; it should be less than 1"),
        ("+quantize.int8_dynamic.args.bits=4", "quantize.int8_dynamic: quantize dynamic has no argument 'bits'"),
        (
            "quantize.int8_qat.args.static.calibration_images=9",
            "quantize.int8_qat: quantize static: calibration_images is 9; it should be greater than or equal to 300",
        ),
        (
            "robustness.scenarios=[{name: dim, corruption: brightness, args: {}}]",
            "robustness.scenarios, 'dim': corruption brightness needs the argument 'factor'",
        ),
        ("pareto.quantize.method=int3", "pareto.quantize: quantize 'int3' does not exist"),
        ("pareto.slim.args.width=2", "pareto.slim: prune slim: width is 2; it should be less than 1"),
    ],
)
def test_what_a_later_stage_cannot_do_is_told_before_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for stage, item in ((teach, ""), (train, ""), (prune, "pruned")):
        with pytest.raises(EdgemotionError) as caught:
            run(stage, override, item=item)
        assert str(caught.value).startswith(f"params.yaml: {told}")


def test_a_damaged_parent_is_not_quantized(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parent = Path("models/variants/fp32")
    parent.mkdir(parents=True)
    for path in (finished / parent).iterdir():
        (parent / path.name).write_bytes(path.read_bytes() + (b"x" if path.name == "model.onnx" else b""))
    with pytest.raises(EdgemotionError, match=r"fp32/model\.onnx has the SHA-256"):
        run(quantize, item="int8_static")


TEACHERS = ["teacher.count=2", "teacher.train.epochs=4", "teacher.model.precision=fp32"]
TEACHERS += [f"teacher.model.args.{key}" for key in ("widths=[8,16]", "depths=[1,1]", "stem_stride=2")]
TEACHERS += [f"teacher.train.{key}" for key in ("batch_size=32", "ema_decay=0.9", "augment.flip=false", "device=cpu")]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with two teachers, their student, and the student pruned in two rounds."""
    folder = tmp_path_factory.mktemp("taught")
    prepare(folder)
    with contextlib.chdir(folder):
        run(teach, *TEACHERS)
        run(train, *TEACHERS, "train.distill.teacher=ensemble")
        run(prune, *TEACHERS, "prune.pruned.rounds=2", "prune.pruned.distill.teacher=ensemble", item="pruned")
    return folder


def test_teachers_differ_and_the_student_says_whose_it_is(taught: Path) -> None:
    top1 = json.loads((taught / "models/teachers/teachers.json").read_text())
    assert list(top1) == ["teacher_1", "teacher_2"] and min(top1.values()) > 0.8
    weights = [sha256_file(taught / f"models/teachers/{name}/model.safetensors") for name in top1]
    assert len(set(weights)) == 2
    described = json.loads((taught / "models/networks/fp32/network.json").read_text())
    assert described["settings"]["teachers_sha256"] == weights
    assert not list((taught / ".checkpoints").iterdir())


@pytest.mark.slow
def test_the_teachers_time_is_part_of_the_training_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    run(teach, *TEACHERS, "tracking=mlflow")
    run(train, *TEACHERS, "tracking=mlflow", "train.distill.teacher=ensemble")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([found.experiment_id for found in client.search_experiments()])
    assert sorted(entry.info.run_name for entry in runs) == ["teacher_1", "teacher_2", "train"]
    whole = sum(entry.info.end_time - entry.info.start_time for entry in runs) / 60_000
    tracking = {"backend": "mlflow", "uri": "sqlite:///mlflow.db"}
    weights = sha256_file(Path("models/networks/fp32/model.safetensors"))
    assert training_minutes(tracking, weights) == pytest.approx(whole)


def test_pruning_in_rounds_trains_after_each(taught: Path) -> None:
    history = read_csv(taught / "models/networks/pruned/history.csv")
    assert [row["epoch"] for row in history] == ["1", "2", "3", "4"]
    # Each round has its own warm-up and decay.
    assert [float(row["learning_rate"]) < 1e-6 for row in history] == [False, True, False, True]
    assert float(history[-1]["val_top1"]) > 0.8


def test_a_killed_pruning_ends_with_the_same_bytes(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(taught, tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed/models/networks/pruned")
    monkeypatch.chdir(tmp_path / "killed")
    arguments = [*TEACHERS, "prune.pruned.rounds=2", "prune.pruned.distill.teacher=ensemble"]
    saved = []

    def killed(path: Path, state: Any) -> None:
        save_checkpoint(path, state)
        saved.append(path)
        if len(saved) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("edgemotion.training.loop.save_checkpoint", killed)
        run(prune, *arguments, item="pruned")
    # The first round is done, the second has one of its two epochs.
    assert len(set(saved)) == 2 and not Path("models/networks/pruned").exists()
    run(prune, *arguments, item="pruned")
    pruned = Path("models/networks/pruned")
    assert given.digests(pruned) == given.digests(taught / pruned)
    assert not list(Path(".checkpoints").iterdir())


def test_no_teacher_leaves_an_empty_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    run(teach)
    assert given.digests(tmp_path / "models") == {"teachers/teachers.json": given.digest(b"{}\n")}


def test_a_teacher_of_other_classes_is_refused(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(taught, tmp_path / "other")
    monkeypatch.chdir(tmp_path / "other")
    path = Path("models/teachers/teacher_2/network.json")
    path.write_text(path.read_text().replace('"middle"', '"centre"'))
    with pytest.raises(EdgemotionError, match=r"teacher_2 knows the classes left, right, centre, the data has left,"):
        run(train, *TEACHERS, "train.distill.teacher=ensemble")
