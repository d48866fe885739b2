"""A recipe whose one change is known to ruin it, and a search that goes on where it was killed."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from scipy.stats import binomtest

from edgemotion.datasets.splits import faces
from edgemotion.errors import EdgemotionError
from edgemotion.networks import network
from edgemotion.settings import Settings, load
from edgemotion.training import ablation, trained

ROOT = Path(__file__).parents[2]
given = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/torch_fixtures.py")))
detection = SimpleNamespace(**runpy.run_path(str(ROOT / "tests/detector_fixtures.py")))
SPLITS = (given.split_of(300, seed=0), given.split_of(90, seed=1))
DIGESTS: ablation.Digests = ({"images.npy": "a"}, {"images.npy": "b"})
SMALL = [
    "model.args.widths=[8,16]", "model.args.depths=[1,1]", "model.args.stem_stride=1", "model.precision=fp32",
    "data.classes=[left,right,middle]", "train.batch_size=32", "train.ema_decay=0.9", "train.device=cpu",
    "train.augment.flip=false", "train.augment.shift=0.05", "threads=1", "ablation.epochs=3",
]  # fmt: skip


def settings_of(rows: dict[str, dict[str, Any]], *overrides: str) -> Settings:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("config", [*SMALL, *overrides])
    OmegaConf.update(config, "ablation.rows", rows, merge=False)
    return load(config)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_change_that_ruins_the_recipe_shows() -> None:
    rows = {"no rate": {"train.learning_rate": 1e-9}, "no dropout": {"model.args.dropout": 0.0}}
    settings = settings_of(rows, "ablation.seeds=[1,2]")
    recipe, ruined, other = table = ablation.ablate(settings, SPLITS, DIGESTS, Path("cache"))
    assert [row["name"] for row in table] == ["recipe", "no rate", "no dropout"]
    assert recipe["val_top1"] > 0.8 and ruined["val_top1"] < 0.6 < other["val_top1"]
    assert ruined["gain"] == pytest.approx(ruined["val_top1"] - recipe["val_top1"], abs=1e-6)
    assert ruined["gain_ci"][0] < ruined["gain"] < ruined["gain_ci"][1] < 0
    # Two trainings of the same images are no independent trials.
    assert ruined["mcnemar_p"] is None
    assert (recipe["gain"], recipe["gain_ci"]) == (0, [0, 0])
    assert ruined["changes"] == {"train.learning_rate": 1e-9} and ruined["seeds"] == [1, 2] and ruined["epochs"] == 3
    text = ablation.markdown(table)
    assert f"| recipe | {100 * recipe['val_top1']:.1f} % |  |  |" in text and "3 epochs each, 2 seeds" in text
    low, gain, high = (100 * number for number in (ruined["gain_ci"][0], ruined["gain"], ruined["gain_ci"][1]))
    assert f" % | {gain:+.1f} [{low:+.1f}, {high:+.1f}] |  |" in text


def test_finished_trainings_are_not_repeated() -> None:
    settings = settings_of({"no rate": {"train.learning_rate": 1e-9}}, "ablation.seeds=[1]")
    first = ablation.ablate(settings, SPLITS, DIGESTS, Path("cache"))
    # What the second run reads instead of training: a val split all wrong for the recipe.
    (kept,) = Path("cache").glob("recipe-1-*.json")
    kept.write_text('{"correct": ' + str([0] * 90) + "}")
    second = ablation.ablate(settings, SPLITS, DIGESTS, Path("cache"))
    assert second[0]["val_top1"] == 0 and second[1]["val_top1"] == first[1]["val_top1"]
    # Another setting is another training.
    other = ablation.ablate(settings_of({}, "ablation.seeds=[1]", "train.momentum=0.8"), SPLITS, DIGESTS, Path("cache"))
    assert other[0]["val_top1"] > 0.8


def test_faces_are_trained_and_judged_as_the_pipeline_cuts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, judged = [], []

    def train(*arguments: Any, **_: object) -> tuple[network.Network, list[dict[str, float]], Path]:
        taken.append(arguments[3][0].images)
        return given.network_of(), [], Path("none.pt")

    def judge(_: network.Network, images: np.ndarray) -> np.ndarray:
        judged.append(images)
        return np.eye(3)[SPLITS[1].labels]

    monkeypatch.setattr(ablation, "train_network", train)
    monkeypatch.setattr(ablation, "torch_logits", judge)
    box = [[0.25, 0.25, 0.75, 0.75]]
    wide = (replace(SPLITS[0], boxes=np.array(box * 300)), replace(SPLITS[1], boxes=np.array(box * 90)))
    (recipe,) = ablation.ablate(settings_of({}, "ablation.seeds=[1]"), wide, DIGESTS, Path("cache"))
    # The trainer cuts its faces itself.
    assert (taken[0] == SPLITS[0].images).all() and recipe["val_top1"] == 1
    assert (judged[0] == faces(wide[1]).images).all() and (judged[0] != SPLITS[1].images).any()


def test_a_detector_is_refused() -> None:
    with pytest.raises(EdgemotionError, match=r"train\.trainer is 'yolo', which trains detectors; the ablation"):
        ablation.ablate(settings_of({}, "train.trainer=yolo"), SPLITS, DIGESTS, Path("cache"))


@pytest.mark.parametrize("key", ["data.drop_leaks", "seed", "train.epochs", "teacher.train.epochs"])
def test_a_row_that_would_train_the_recipe_again_is_refused(key: str) -> None:
    with pytest.raises(
        EdgemotionError, match=rf"ablation\.rows changes '{key}'; a row can change model\.\* and train\.\*"
    ):
        ablation.ablate(settings_of({"idle": {key: 3}}, "train.distill.teacher=none"), SPLITS, DIGESTS, Path("cache"))


def test_another_teacher_is_another_training() -> None:
    settings = settings_of({}, "ablation.seeds=[1]", "teacher.count=1", "train.distill.teacher=ensemble")
    for seed in (1, 2):
        teacher = given.network_of(seed=seed)
        teacher.classes = given.CLASSES
        network.save("models/teachers/teacher_1", teacher, [])
        ablation.ablate(settings, SPLITS, DIGESTS, Path("cache"))
    assert len(list(Path("cache").glob("recipe-1-*.json"))) == 2


@pytest.mark.parametrize(
    ("answer", "machines"), [("device_name", ("cpu", "Example GPU")), ("choose_precision", ("fp32", "bf16"))]
)
def test_another_machine_is_another_training(
    answer: str, machines: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for found in machines:
        monkeypatch.setattr(trained, answer, lambda *_, found=found: found)
        ablation.ablate(settings_of({}, "ablation.seeds=[1]", "ablation.epochs=1"), SPLITS, DIGESTS, Path("cache"))
    assert len(list(Path("cache").glob("recipe-1-*.json"))) == 2


def test_other_data_and_every_seed_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def train(*_: object, seed: int, **__: object) -> tuple[network.Network, list[dict[str, float]], Path]:
        seeds.append(seed)
        return given.network_of(), [], Path("none.pt")

    monkeypatch.setattr(ablation, "train_network", train)
    other = {"images.npy": "c"}
    for digests in (DIGESTS, (other, DIGESTS[1]), (DIGESTS[0], other)):
        ablation.ablate(settings_of({}, "ablation.seeds=[1,2]"), SPLITS, digests, Path("cache"))
    assert seeds == [1, 2] * 3


def small_training(settings: Settings, digests: ablation.Digests = DIGESTS) -> tuple[network.Network, Path]:
    splits = given.split_of(32, seed=0), given.split_of(30, seed=1)
    found, _, path = trained.train_network(
        "train", settings.model, settings.train, splits, digests, seed=1, threads=settings.threads
    )
    return found, path


def test_other_data_has_another_checkpoint() -> None:
    settings, other = settings_of({}, "train.epochs=1"), {"images.npy": "c"}
    found = [small_training(settings, digests)[1] for digests in (DIGESTS, (other, DIGESTS[1]), (DIGESTS[0], other))]
    assert len(set(found)) == 3


def test_every_teacher_teaches() -> None:
    settings, states = settings_of({}, "train.epochs=1", "teacher.count=2", "train.distill.teacher=ensemble"), []
    for seed in (1, 2):
        teacher = replace(given.network_of(seed=seed), classes=given.CLASSES)
        network.save(f"models/teachers/teacher_{seed}", teacher, [])
        found, _ = small_training(settings)
        states.append(found.module.state_dict()["head.weight"])
    assert not torch.equal(*states)


def test_a_detector_cannot_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("models/teachers/teacher_1").mkdir(parents=True)
    monkeypatch.setattr(network, "load", lambda folder: detection.tiny_network())
    with pytest.raises(EdgemotionError, match=r"teacher_1 is a detector, which cannot teach a classifier$"):
        trained.load_teachers("ensemble", detection.CLASSES)


def test_other_teachers_are_another_recipe() -> None:
    taught = [settings_of({}, "train.distill.teacher=ensemble", f"teacher.count={count}") for count in (1, 5)]
    assert ablation.subject(taught[0], DIGESTS) != ablation.subject(taught[1], DIGESTS)
    # Where they do not teach, they make no difference.
    alone = [settings_of({}, "train.distill.teacher=none", f"teacher.count={count}") for count in (1, 5)]
    assert ablation.subject(alone[0], DIGESTS) == ablation.subject(alone[1], DIGESTS)


def test_other_pretrained_weights_are_another_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object, **__: object) -> tuple[network.Network, list[dict[str, float]], Path]:
        return given.network_of(), [], Path("none.pt")

    monkeypatch.setattr(ablation, "train_network", train)
    settings = settings_of({}, "ablation.seeds=[1]", "+model.args.weights=start.pt")
    for content in (b"one", b"other", b"other"):
        Path("start.pt").write_bytes(content)
        ablation.ablate(settings, SPLITS, DIGESTS, Path("cache"))
    assert len(list(Path("cache").glob("recipe-1-*.json"))) == 2


def test_the_difference_is_paired() -> None:
    recipe, change = np.array([[1, 1, 0, 0, 1, 0, 0, 0]], bool), np.array([[1, 1, 1, 1, 0, 1, 1, 1]], bool)
    settings = settings_of({})

    def compared(copies: int) -> dict[str, Any]:
        rows = (ablation.Row("x", {}, change.repeat(copies, 0)), ablation.Row("recipe", {}, recipe.repeat(copies, 0)))
        return ablation.compare(*rows, settings.seed, settings.ablation)

    row = compared(1)
    assert row["gain"] == 0.5 and row["mcnemar_p"] == pytest.approx(binomtest(1, 6).pvalue, abs=1e-6)
    # Seeds that agree on every image tell no more than one of them.
    assert compared(3)["gain_ci"] == row["gain_ci"] and row["gain_ci"][0] < 0.5 < row["gain_ci"][1]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"typo": {"train.lerning_rate": 1.0}}, " changes 'train.lerning_rate', which the settings do not have"),
        ({"half": {"train.batch_size": 12.5}}, ", 'half': train.batch_size: Value '12.5' .* Integer"),
        ({"stem": {"model.args.stm": 2}}, ", 'stem': network compact has no argument 'stm'; it has widths, depths"),
        ({"recipe": {"train.mixup": 0.2}}, " has the row 'recipe', which all others are compared with"),
    ],
)
def test_a_row_that_is_none_is_told(rows: dict[str, dict[str, Any]], told: str) -> None:
    with pytest.raises(EdgemotionError, match=rf"^ablation\.rows{told}"):
        ablation.ablate(settings_of(rows), SPLITS, DIGESTS, Path("cache"))


def test_a_row_that_contradicts_the_recipe_is_told_before_anything_is_trained() -> None:
    settings = settings_of({"mixed": {"train.mixup": 0.2}}, "train.distill.teacher=self")
    with pytest.raises(EdgemotionError, match=r"ablation\.rows, 'mixed': .*train\.mixup is 0\.2, but train\.distill"):
        ablation.ablate(settings, SPLITS, DIGESTS, Path("cache"))
    assert not Path("cache").exists() and not Path(".checkpoints").exists()


@pytest.mark.parametrize(
    "experiment", [None, *sorted(path.stem for path in (ROOT / "configs/experiment").glob("*.yaml"))]
)
def test_every_row_of_an_experiment_can_be_trained(experiment: str | None) -> None:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        settings = load(compose("config", [f"+experiment={experiment}"] if experiment else []))
    recipes = ablation.recipes(settings)
    already = {"stem at full size"} if experiment == "fer2013_full_stem" else set()
    assert len(recipes) >= 10 and set(settings.ablation.rows) - set(recipes) == already
    assert {changed.train.epochs for changed in recipes.values()} == {settings.ablation.epochs}


def test_a_change_that_the_recipe_already_has_is_not_trained_again() -> None:
    rows = {"its own dropout": {"model.args.dropout": 0.0}, "no rate": {"train.learning_rate": 1e-9}}
    settings = settings_of(rows, "ablation.seeds=[1]", "ablation.epochs=1", "model.args.dropout=0.0")
    table = ablation.ablate(settings, SPLITS, DIGESTS, Path("cache"))
    assert [row["name"] for row in table] == ["recipe", "no rate"]
