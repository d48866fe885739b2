"""dvc.yaml against the code: every stage depends on exactly the source files it imports."""

import ast
import subprocess
from pathlib import Path

import networkx
import pytest
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from omegaconf import OmegaConf
from ruamel.yaml import YAML

from edgemotion import registry, settings

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
STAGES = sorted(path.stem for path in (SOURCE / "edgemotion/stages").glob("*.py") if path.stem != "__init__")
# They carry bytes and settings or describe the machine, they make no numbers; a change in them must not train anything
# again.
PLUMBING = {
    f"src/edgemotion/{name}.py"
    for name in ("errors", "files", "measure/environment", "registry", "settings", "tracking")
}
# What the registry imports by name in the stages that call it; a layout, a network and a pruning method have the file
# of their name, so that a new one beside them runs nothing again.
SETTINGS = settings.read(ROOT / "params.yaml")
# The networks of torchvision share pretrained.py.
NETWORK = [f"networks/{SETTINGS.model.name}", "networks/pretrained"]
REGISTERED = {
    "download": ["datasets/archive", "datasets/folder", "datasets/kaggle", "datasets/synthetic"],
    "prepare": [f"datasets/{SETTINGS.data.layout}"],
    "train": [*NETWORK, f"training/{SETTINGS.train.trainer}"],
    "teach": [
        f"networks/{SETTINGS.teacher.model.name}",
        "networks/pretrained",
        f"training/{SETTINGS.teacher.train.trainer}",
    ],
    "prune": [*NETWORK, *(f"compression/{entry.method}" for entry in SETTINGS.prune.values())],
    "export": NETWORK,
    "explain": NETWORK,
    # qat calls static.
    "quantize": ["compression/static", *(f"compression/{entry.method}" for entry in SETTINGS.quantize.values())],
    "robustness": ["measure/corruptions"],
}


def imported(path: Path) -> set[Path]:
    """Source files that a file imports anywhere, functions included; `import a.b` of a package counts its modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {file for name in names if (file := SOURCE / (name.replace(".", "/") + ".py")).is_file()}
    return found


def closure(paths: set[Path]) -> set[str]:
    """All files reached by imports, without the plumbing and what only the plumbing reaches."""
    seen: set[str] = set()
    left = set(paths)
    while left:
        path = left.pop()
        name = path.relative_to(ROOT).as_posix()
        if name not in seen | PLUMBING:
            seen.add(name)
            left |= imported(path)
    return seen


def listed(stage: str) -> set[str]:
    """Source files among a stage's dependencies, folders expanded, package markers left out."""
    with Repo(str(ROOT)) as repo:
        entries = [entry for entry in repo.index.stages if entry.name.split("@")[0] == stage]
    files: set[str] = set()
    for entry in entries:
        for dep in entry.deps:
            path = Path(dep.fs_path)
            if path.is_relative_to(SOURCE) and path.suffix in ("", ".py"):
                inside = path.rglob("*.py") if path.is_dir() else [path]
                files |= {file.relative_to(ROOT).as_posix() for file in inside if file.name != "__init__.py"}
    return files


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_exactly_what_it_imports(stage: str) -> None:
    needed = closure({SOURCE / f"edgemotion/{name}.py" for name in (f"stages/{stage}", *REGISTERED.get(stage, []))})
    # The other half of the trainer `yolo`: the graph can put in a trainer's own name, but not what it imports.
    if stage in ("teach", "train"):
        needed.add("src/edgemotion/training/yolo_trainer.py")
    assert listed(stage) == needed


def test_every_stage_file_is_a_stage_of_the_graph() -> None:
    with Repo(str(ROOT)) as repo:
        names = {stage.name.split("@")[0] for stage in repo.index.stages}
    assert names == set(STAGES)


def test_what_dvc_plots_is_made_by_a_stage() -> None:
    with Repo(str(ROOT)) as repo:
        made = [Path(out.fs_path) for stage in repo.index.stages for out in stage.outs]
    for plot in YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]:
        for name, content in plot.items():
            for path in content["y"] if content else [name]:
                assert any((ROOT / path).is_relative_to(out) for out in made), path


@pytest.mark.parametrize("stage", STAGES)
def test_stage_files_stay_short(stage: str) -> None:
    assert len((SOURCE / f"edgemotion/stages/{stage}.py").read_text().splitlines()) <= 60


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last commit, without data or cache."""
    folder = tmp_path_factory.mktemp("clone") / "edgemotion"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def stages_to_run(clone: Path, key: str, value: object) -> set[str]:
    """Names of the stages that depend, directly or through another stage, on one key of params.yaml."""
    params = clone / "params.yaml"
    committed = params.read_text()
    config = OmegaConf.load(params)
    OmegaConf.update(config, key, value)
    OmegaConf.save(config, params)
    with Repo(str(clone)) as repo:
        changed = {
            stage
            for stage in repo.index.stages
            if any(isinstance(dep, ParamsDependency) and dep.status() for dep in stage.deps)
        }
        # An edge of DVC's graph runs from a stage to what it depends on.
        rerun = changed.union(*(networkx.ancestors(repo.index.graph, stage) for stage in changed))
        names = {stage.name for stage in rerun}
    params.write_text(committed)
    return names


def measured(variant: str) -> set[str]:
    return {f"{stage}@{variant}" for stage in ("evaluate", "robustness", "temporal")}


TAIL = {"profile", "select", "report"}


def test_committed_numbers_belong_to_the_committed_code(clone: Path) -> None:
    with Repo(str(clone)) as repo:
        stale = {
            f"{stage.name}: {item}"
            for stage in repo.index.stages
            for item in [*stage.deps, *stage.outs]
            # What git does not hold can only be checked by running the pipeline.
            if (isinstance(item, ParamsDependency) or Path(item.fs_path).is_file()) and item.status()
        }
    assert not stale, "run `dvc repro` and commit dvc.lock and reports/"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "quantize.int8_static.args.calibration_images",
            400,
            {"quantize@int8_static", *measured("int8_static"), *TAIL},
        ),
        (
            "prune.sparse.args.sparsity",
            0.7,
            {"prune@sparse", "export@sparse", *measured("sparse"), *TAIL},
        ),
        ("select.max_size_mb", 2.0, {"select", "report"}),
        ("profile.rounds", 500, TAIL),
    ],
)
def test_a_setting_reruns_only_what_depends_on_it(clone: Path, key: str, value: object, expected: set[str]) -> None:
    assert stages_to_run(clone, key, value) == expected


def test_another_network_reruns_from_train_on(clone: Path) -> None:
    rerun = stages_to_run(clone, "model.name", "lenet")
    with Repo(str(clone)) as repo:
        everything = {stage.name for stage in repo.index.stages}
    # The teachers have an architecture of their own.
    assert rerun == everything - {"download", "prepare", "teach"}


@pytest.mark.parametrize("kind", ["layout", "network", "prune", "quantize", "trainer"])
def test_an_entry_that_a_stage_depends_on_has_the_file_of_its_name(kind: str) -> None:
    folder = SOURCE / registry.FOLDERS[kind].replace(".", "/")
    for name in registry.names(kind):
        assert f'@register("{kind}")' in (folder / f"{name}.py").read_text()


def test_dvc_reads_its_files_with_the_parser_in_c() -> None:
    # Where ruamel.yaml does not find it, it silently takes its own, five times slower.
    assert YAML(typ="safe").Parser.__name__ == "CParser"
