"""The schema accepts everything in configs/ and names what is wrong in anything else."""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import compose_and_dump
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from edgemotion import registry
from edgemotion.errors import EdgemotionError
from edgemotion.settings import Settings, load, read

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
CHOICES = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.glob("*/*.yaml"))
# Groups that fill one entry of a dict, or that the defaults list does not name.
PLACES = {"prune": "prune@prune.pruned", "quantize": "+quantize@quantize.another", "experiment": "+experiment"}
NOISE = {"name": "noise", "corruption": "gaussian_noise", "args": {}}
NETWORK_GIVES = {"classes", "channels", "height", "width"}


@cache
def compose_once(overrides: tuple[str, ...]) -> Any:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)


def composed(*overrides: str) -> dict[str, Any]:
    return deepcopy(compose_once(overrides))  # type: ignore[no-any-return]


def entries(settings: Settings) -> list[tuple[str, str, dict[str, Any], set[str]]]:
    """Kind, name, arguments and the program's own keywords of everything that the settings choose by name."""
    return [
        *(("source", name, args, set()) for name, args in settings.data.sources.items()),
        ("layout", settings.data.layout, settings.data.args, {"channels"}),
        *(("network", model.name, model.args, NETWORK_GIVES) for model in (settings.model, settings.teacher.model)),
        *(("prune", entry.method, entry.args, set()) for entry in settings.prune.values()),
        *(("quantize", entry.method, entry.args, set()) for entry in settings.quantize.values()),
        *(("corruption", entry.corruption, entry.args, set()) for entry in settings.robustness.scenarios),
    ]


def changed(path: str, value: Any) -> dict[str, Any]:
    """The composed settings with one value, given by its slash-separated path, replaced."""
    settings = composed()
    *sections, key = path.split("/")
    place = settings
    for section in sections:
        place = place[section]
    place[key] = value
    return settings


def message(content: dict[str, Any]) -> str:
    with pytest.raises(EdgemotionError) as caught:
        load(OmegaConf.create(content))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_params_in_sync(tmp_path: Path) -> None:
    compose_and_dump(tmp_path / "params.yaml", str(CONFIGS), None, "config", str(ROOT), [])
    assert (ROOT / "params.yaml").read_text() == (tmp_path / "params.yaml").read_text(), "run `invoke params`"


@pytest.mark.parametrize("choice", CHOICES)
def test_every_config_composes_and_names_what_exists(choice: str) -> None:
    group, name = choice.split("/")
    settings = load(OmegaConf.create(composed(f"{PLACES.get(group, group)}={name}")))
    for kind, chosen, args, given in entries(settings):
        assert set(registry.check(kind, chosen, args, given)) >= set(args)


def test_an_experiment_replaces_the_dataset_and_keeps_the_rest() -> None:
    own = OmegaConf.load(CONFIGS / "experiment/fer2013.yaml")
    default, chosen = (load(OmegaConf.create(composed(*given))) for given in ([], ["+experiment=fer2013"]))
    assert (default.data.name, chosen.data.name) == ("synthetic", "fer2013")
    assert chosen.tracking.experiment == "fer2013-compact"
    assert default.train.epochs != chosen.train.epochs == own.train.epochs
    given = load(OmegaConf.create(composed("train=default"))).train
    assert (chosen.train.batch_size, chosen.train.augment) == (given.batch_size, given.augment)
    assert default.train.augment != given.augment
    assert chosen.quantize["int8_dynamic"] == default.quantize["int8_dynamic"]
    study = load(OmegaConf.create(composed("+experiment=fer2013", "compression=study")))
    assert study.prune["pruned"].method == default.prune["pruned"].method == "structured"
    assert (study.data, study.train) == (chosen.data, chosen.train)
    large = load(OmegaConf.create(composed("+experiment=fer2013_large")))
    assert (large.data.drop_leaks, large.data.args) == (True, {"val_kept": 0.2})
    assert large.train == replace(chosen.train, epochs=large.train.epochs)
    assert [name for name in large.variants if name != "fp32_ten_views"] == chosen.variants
    assert {name: entry for name, entry in large.quantize.items() if name != "fp32_ten_views"} == chosen.quantize
    official = load(OmegaConf.create(composed("+experiment=fer2013_official")))
    assert official == replace(large, data=replace(large.data, drop_leaks=False))


@pytest.mark.parametrize("experiment", [path.stem for path in sorted(CONFIGS.glob("experiment/*.yaml"))])
@pytest.mark.parametrize("compression", ["full", "quantized", "study", "unpruned"])
def test_an_experiment_goes_with_every_compression(experiment: str, compression: str) -> None:
    settings = load(OmegaConf.create(composed(f"+experiment={experiment}", f"compression={compression}")))
    assert settings.variants == load(OmegaConf.create(composed(f"compression={compression}"))).variants


def test_params_are_read_without_hydra(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(composed())))
    assert read(tmp_path / "params.yaml") == load(OmegaConf.create(composed()))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "is missing; compose it with `invoke params`"),
        ("seed: [1", "is not valid YAML"),
        ("- 1\n", "holds a list, not sections"),
        ("", "missing mandatory value: seed"),
    ],
)
def test_an_unreadable_params_file_is_one_line(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(EdgemotionError, match=told) as caught:
        read(tmp_path / "params.yaml")
    assert "params.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["bogus", "data/nmae", "train/augment/flp", "prune/pruned/epoch", "quantize/int8_static/parnt"]
)
def test_an_unknown_key_is_named(path: str) -> None:
    key = path.replace("/", ".")
    assert message(changed(path, 1)) == f"params.yaml: unknown key {key!r}; correct it in configs/"


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("seed", "abc", "seed"),
        ("seed", 1.5, "seed"),
        ("train/epochs", True, "train.epochs"),
        ("train/learning_rate", "fast", "train.learning_rate"),
        ("train/augment/flip", "maybe", "train.augment.flip"),
        ("train/augment", None, "train.augment"),
        ("data/name", None, "data.name"),
        ("data/name", "${nowhere}", "data.name"),
        ("data/classes", "angry", "data.classes"),
        ("data/digest", ["0"], "data.digest"),
        ("data/sources", {"archive": 3}, "data.sources.archive"),
        ("profile/batches", ["one"], "profile.batches[0]"),
        ("prune/pruned/args", 3, "prune.pruned.args"),
        ("robustness/scenarios", [{"name": "blur"}], "robustness.scenarios[0].corruption"),
        # OmegaConf names no key here, so the section is named.
        ("data/sources", ["archive"], "data"),
        ("prune", ["pruned"], "prune"),
        ("train", 5, "train"),
    ],
)
def test_an_ill_typed_value_is_named_by_its_key(path: str, value: Any, key: str) -> None:
    assert message(changed(path, value)).startswith(f"params.yaml: key {key!r}: ")


def test_a_missing_key_is_named() -> None:
    settings = composed()
    del settings["train"]["augment"]["scale"]
    assert message(settings).startswith("params.yaml: key 'train.augment.scale': ")


def test_a_number_of_channels_that_no_image_has_is_refused() -> None:
    assert message(changed("data/channels", 2)) == "params.yaml: data.channels is 2; it must be 1 (gray) or 3 (RGB)"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("networks", ["fp32", "gone"], "networks names 'gone', which no stage makes; there are fp32, pruned, sparse"),
        ("variants", ["fp32", "int4"], "variants names 'int4', which no stage makes; there are fp32, pruned, sparse, "),
        (
            "quantize/int8_static/parent",
            "int4",
            "quantize.*.parent names 'int4', which no stage makes; there are fp32, ",
        ),
        ("controls", {"int8_qat": "int8"}, "controls names 'int8', which no stage makes; there are fp32, "),
        ("variants", ["pruned"], "variants must hold 'fp32'"),
    ],
)
def test_a_name_that_no_stage_makes_is_refused(path: str, value: Any, told: str) -> None:
    assert message(changed(path, value)).startswith(f"params.yaml: {told}")


@pytest.mark.parametrize(
    "path",
    [
        "threads", "train/epochs", "train/batch_size", "teacher/train/epochs", "prune/pruned/epochs",
        "prune/pruned/rounds", "profile/threads", "profile/rounds", "profile/cold_starts", "ablation/epochs",
        "pareto/rounds", "pareto/keep", "pareto/slim/epochs", "data/height",
    ],
)  # fmt: skip
def test_what_cannot_be_none_is_refused(path: str) -> None:
    assert message(changed(path, 0)) == f"params.yaml: {path.replace('/', '.')} is 0; it must be at least 1"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("seed", -1, "seed is -1; it must be from 0 to 4294967295"),
        ("train/warmup", 3.0, "train.warmup is 3.0; it must be from 0 to 1"),
        ("train/label_smoothing", 1.5, "train.label_smoothing is 1.5; it must be from 0 to 1"),
        ("teacher/train/mixup", -0.1, "teacher.train.mixup is -0.1; it must be at least 0"),
        ("train/distill/temperature", 0.0, "train.distill.temperature is 0.0; it must be at least 0.1"),
        ("prune/pruned/distill/weight", 2.0, "prune.pruned.distill.weight is 2.0; it must be from 0 to 1"),
        ("profile/batches", [1, 0], "profile.batches is 0; it must be at least 1"),
        ("ablation/seeds", [], "the number of ablation.seeds is 0; it must be at least 1"),
        ("ablation/seeds", [1, 2, 1], "ablation.seeds names 1 twice; once is enough"),
        ("data/classes", ["happy", "sad", "happy"], "data.classes names 'happy' twice; once is enough"),
        ("variants", ["fp32", "fp32"], "variants names 'fp32' twice; once is enough"),
        ("robustness/scenarios", [NOISE, NOISE], "robustness.scenarios names 'noise' twice; once is enough"),
        ("teacher/train/learning_rate", -0.1, "teacher.train.learning_rate is -0.1; it must be at least 0"),
        ("certain_accuracy", 80.0, "certain_accuracy is 80.0; it must be from 0 to 1"),
        ("select/rank_by", "beauty", "select.rank_by is 'beauty'; choose one of p50_ms, size_bytes, top1"),
        ("select/tie", -1.0, "select.tie is -1.0; it must be from 0 to 1"),
        ("train/weight_decay", -1.0, "train.weight_decay is -1.0; it must be at least 0"),
        ("pareto/slim/rounds", 2, "pareto.slim.rounds is 2, but each round of 'slim' starts from fresh weights; use 1"),
        ("train/augment/scale", 1.0, "train.augment.scale is 1.0; it must be from 0 to 0.99"),
        ("teacher/train/augment/noise", -0.1, "teacher.train.augment.noise is -0.1; it must be from 0 to 1"),
        ("teacher/count", -1, "teacher.count is -1; it must be at least 0"),
        ("data/face_side", 0.0, "data.face_side is 0.0; it must be at least 0.1"),
        ("temporal/dwell", 0, "temporal.dwell is 0; it must be at least 1"),
        ("temporal/measurement_noise", 0.0, "temporal.measurement_noise is 0.0; it must be at least 1e-09"),
        ("prune/pruned/learning_rate", -1.0, "prune.pruned.learning_rate is -1.0; it must be at least 0"),
    ],
)
def test_a_value_without_a_meaning_is_refused(path: str, value: Any, told: str) -> None:
    assert message(changed(path, value)) == f"params.yaml: {told}"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("train/distill/teacher", "dense", "train.distill.teacher is 'dense'; it can be none or self or ensemble"),
        ("train/distill/teacher", "ensemble", "train.distill.teacher is 'ensemble', but teacher.count is 0; set it"),
        (
            "prune/sparse/distill/teacher",
            "x",
            "prune.sparse.distill.teacher is 'x'; it can be none or ensemble or dense",
        ),
        (
            "teacher/train/distill/teacher",
            "ensemble",
            "teacher.train.distill.teacher is 'ensemble'; it can be none or self",
        ),
    ],
)
def test_a_teacher_that_is_not_there_is_refused(path: str, value: str, told: str) -> None:
    assert message(changed(path, value)) == f"params.yaml: {told}"


@pytest.mark.parametrize(
    ("method", "parent", "told"),
    [
        ("static", "int8_dynamic", "quantize.second.method is 'static', but its parent 'int8_dynamic' is int8 already"),
        ("dynamic", "int8_qat", "quantize.second.method is 'dynamic', but its parent 'int8_qat' is int8 already"),
        ("flip", "first", "quantize.second.method is 'flip', but its parent 'first' has both views already"),
    ],
)
def test_what_was_done_is_not_done_again(method: str, parent: str, told: str) -> None:
    settings = composed()
    settings["quantize"]["first"] = {"method": "flip", "parent": "int8_static", "args": {"shift": 0}}
    load(OmegaConf.create(settings))
    settings["quantize"]["second"] = {"method": method, "parent": parent, "args": {}}
    assert message(settings) == f"params.yaml: {told}"


@pytest.mark.parametrize("key", ["train", "teacher.train"])
def test_own_answers_to_mixed_images_are_refused(key: str) -> None:
    told = message(composed(f"{key}.distill.teacher=self", f"{key}.mixup=0.2"))
    assert (
        told == f"params.yaml: {key}.mixup is 0.2, but {key}.distill.teacher is 'self', which takes whole images; use 0"
    )
