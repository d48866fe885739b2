"""A finished run in a folder of its own, which is the working directory."""

import runpy
import shutil
from pathlib import Path

import pytest

from edgemotion.files import read_json, write_json
from edgemotion.measure.selection import select
from edgemotion.settings import Settings, read

write_run = runpy.run_path(str(Path(__file__).with_name("sample_run.py")))["write_run"]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files that the report stage reads, with tracking switched off; to be copied, not changed."""
    root = tmp_path_factory.mktemp("sample")
    settings = write_run(root)
    selection = select(
        {name: read_json(root / f"reports/evaluate/{name}.json") for name in settings.variants},
        read_json(root / "reports/profile.json")["variants"],
        {name: read_json(root / f"models/variants/{name}/model_info.json") for name in settings.variants},
        **vars(settings.select),
    )
    write_json(root / "reports/select.json", selection)
    return root


@pytest.fixture
def settings(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a run that lies in the working directory."""
    shutil.copytree(sample, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    return read("params.yaml")
