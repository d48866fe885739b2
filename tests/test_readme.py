"""The README's commands and links against the project."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from invoke import Collection
from invoke.loader import FilesystemLoader

from edgemotion import settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def tasks() -> set[str]:
    module, _ = FilesystemLoader(start=str(ROOT)).load("tasks")
    return set(Collection.from_module(module).task_names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_invoke_tasks_named_in_a_page_exist(page: Path) -> None:
    named = set(re.findall(r"invoke (\w+)", page.read_text(encoding="utf-8")))
    assert named <= tasks()


def test_shortcuts_have_a_help_line() -> None:
    module, _ = FilesystemLoader(start=str(ROOT)).load("tasks")
    collection = Collection.from_module(module)
    assert {"params", "repro", "test", "lint", "mlflow", "report", "clean", "reproducible"} <= set(
        collection.task_names
    )
    assert all(collection[name].__doc__ for name in collection.task_names)


def test_settings_named_in_the_readme_compose() -> None:
    overrides = re.findall(r"-S (\+?[\w.]+=[\w.]+)", README)
    assert len(overrides) >= 4
    for override in overrides:
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            settings.load(compose("config", [override]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_point_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_readme_fits_one_screen_without_its_table() -> None:
    prose = re.sub(r"<!-- results.*<!-- comparison:end -->", "", README, flags=re.DOTALL)
    assert len(prose.splitlines()) <= 60
