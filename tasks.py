"""Shortcuts, listed by `invoke --list`; each is one command that you could also type."""

import contextlib
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from invoke import Context, task

from edgemotion.errors import EdgemotionError

ROOT = Path(__file__).parent


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """End with an error's one sentence instead of its traceback."""
    try:
        yield
    except EdgemotionError as error:
        sys.exit(f"error: {error}")


@task
def params(c: Context) -> None:
    """Compose configs/ into params.yaml and check it against the schema."""
    from dvc.utils.hydra import compose_and_dump
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from edgemotion.settings import read

    with tempfile.TemporaryDirectory() as folder:
        composed = Path(folder) / "params.yaml"
        with one_line_errors():
            try:
                compose_and_dump(composed, str(ROOT / "configs"), None, "config", str(ROOT), [])
            except (HydraException, OmegaConfBaseException, YAMLError) as error:
                raise EdgemotionError(f"configs/ cannot be composed: {' '.join(str(error).split())}") from None
            read(composed)
        shutil.copyfile(composed, ROOT / "params.yaml")


@task
def repro(c: Context) -> None:
    """Run every stage whose inputs changed (dvc repro)."""
    c.run("dvc repro", pty=sys.stdout.isatty())


@task(help={"slow": "also the tests that take minutes"})
def test(c: Context, slow: bool = False) -> None:
    """Run the tests, on all cores where none of them needs an idle one."""
    c.run('pytest -m "slow or not slow"' if slow else "pytest -n auto", pty=sys.stdout.isatty())


@task(help={"fix": "write formatting and safe corrections"})
def lint(c: Context, fix: bool = False) -> None:
    """Check format, lint and types, as CI does."""
    c.run("ruff format ." if fix else "ruff format --check .")
    c.run("ruff check ." + (" --fix" if fix else ""))
    c.run("mypy")


@task(help={"port": "of the local web page"})
def mlflow(c: Context, port: int = 5000) -> None:
    """Open the MLflow UI over the local store."""
    c.run(f"mlflow ui --backend-store-uri sqlite:///mlflow.db --port {port}", pty=sys.stdout.isatty())


@task
def report(c: Context) -> None:
    """Rebuild reports/index.html and what it needs (dvc repro report)."""
    c.run("dvc repro report", pty=sys.stdout.isatty())
    print((ROOT / "reports/index.html").as_uri())


@task(
    help={
        "target": "folder to build (default: build/page)",
        "faces": "YuNet's ONNX file (default: that of EDGEMOTION_FACES or the downloaded one)",
        "champion": "champion folder (default: the shipped one)",
        "fp32": "variant to offer beside it, where it is faster (default: none)",
    }
)
def page(c: Context, target: str = "build/page", faces: str = "", champion: str = "", fp32: str = "") -> None:
    """Build the browser page as a static folder; needs npm."""
    from edgemotion.runtime.champion import SHIPPED
    from edgemotion.runtime.faces import find_yunet
    from edgemotion.serve.page import build_page

    with one_line_errors():
        try:
            yunet = find_yunet(faces or None)
        except EdgemotionError as error:
            if faces:
                raise
            yunet = None
            print(f"{error}; the page will read the middle of an image", file=sys.stderr)
        beside = {"fp32": Path(fp32)} if fp32 else {}
        print(build_page(Path(target), Path(champion) if champion else SHIPPED, yunet, beside))


@task(help={"minutes": "of steady load", "output": "folder for load.json"})
def loadtest(c: Context, minutes: float = 10, output: str = "reports/load") -> None:
    """Load the API with Locust at 80 % of its capacity (needs two idle cores)."""
    c.run(f"uv run --group load python benchmarks/load.py --minutes {minutes} --output {shlex.quote(output)}")


@task
def image(c: Context) -> None:
    """Build the API image with buildah and prove that it serves (needs root)."""
    c.run("sudo dockerfiles/build.sh")


@task(help={"name": "folder below reports/published/"})
def publish(c: Context, name: str) -> None:
    """Copy the current results to reports/published/<name>/ and rebuild the README's table from there."""
    from edgemotion.report.publish import publish as copy_results
    from edgemotion.report.readme import update_readme

    if not c.run("dvc status --quiet report", warn=True, hide=True).ok:
        sys.exit("error: the report is older than the files that it is made of; run `dvc repro` before publishing")
    with one_line_errors():
        copy_results(name)
        update_readme(ROOT / "README.md", ROOT / "reports/published")


@task(
    help={
        "names": "experiments or published runs, separated by commas (default: all experiments)",
        "published": "also everything in reports/published/",
        "output": "folder for comparison.md, comparison.json and comparison.png (default: reports/compare)",
    }
)
def compare(c: Context, names: str = "", published: bool = False, output: str = "reports/compare") -> None:
    """Compare DVC experiments and published runs in one table and figure."""
    from edgemotion.report import compare as comparison
    from edgemotion.report.experiments import gather
    from edgemotion.report.readme import published_runs, update_readme

    wanted, folder = [name.strip() for name in names.split(",") if name.strip()], ROOT / output
    folders = published_runs(ROOT / "reports/published")
    with one_line_errors():
        experiments, left_out = gather(ROOT, wanted, folders if published or wanted else [])
        for reason in left_out:
            print(f"left out: {reason}", file=sys.stderr)
        rows = comparison.compare(experiments, ROOT)
        comparison.write(folder, rows)
        if folder == ROOT / "reports/published/comparison":
            update_readme(ROOT / "README.md", ROOT / "reports/published")
    print(comparison.markdown(rows))
    print((folder / "comparison.png").as_uri())


@task(help={"output": "folder for ablation.json and ablation.md (default: reports)"})
def ablation(c: Context, output: str = "reports") -> None:
    """Train the recipe of params.yaml and each change that `ablation` names; only the train and val splits are read."""
    import torch

    from edgemotion import settings
    from edgemotion.datasets.splits import read_split, split_sha256
    from edgemotion.files import write_json, write_text
    from edgemotion.training import ablation as study

    with contextlib.chdir(ROOT), one_line_errors():
        given = settings.read()
        torch.set_num_threads(given.threads)
        folders = "data/prepared/train", "data/prepared/val"
        train, val = (read_split(folder, whole=True, classes=given.data.classes) for folder in folders)
        digests = split_sha256(folders[0]), split_sha256(folders[1])
        table = study.ablate(given, (train, val), digests, Path(".ablation"))
        write_json(
            Path(output) / "ablation.json",
            {
                "dataset": given.data.name,
                "network": given.model.title,
                "of": study.subject(given, digests),
                "rows": table,
            },
        )
        write_text(Path(output) / "ablation.md", study.markdown(table))
    print(study.markdown(table))


@task(help={"trials": "to add to those already measured (default: pareto.trials); 0 only writes the front again"})
def pareto(c: Context, trials: int = -1) -> None:
    """Search width, pruning and int8 per layer for the Pareto front of val accuracy, latency and size."""
    from edgemotion.search.pareto import search
    from edgemotion.settings import read

    with contextlib.chdir(ROOT), one_line_errors():
        settings = read()
        search(settings, settings.pareto.trials if trials < 0 else trials)
        print(Path("reports/pareto/front.md").read_text(encoding="utf-8"))
        print(Path("reports/pareto/pareto.png").absolute().as_uri())


@task(help={"name": "a variant of models/variants"})
def rebuild(c: Context, name: str) -> None:
    """Make a variant's model again from its model_info.json and compare the bytes."""
    from edgemotion.compression.rebuild import rebuild as make_again

    with contextlib.chdir(ROOT), one_line_errors():
        content = make_again(Path("models/variants") / name)
    print(f"models/variants/{name}/model.onnx: the same {len(content)} bytes")


@task
def gates(c: Context) -> None:
    """Print every variant of the last run with its gates; exit code 1 when none passes."""
    from edgemotion.files import read_json
    from edgemotion.measure.selection import check_gates
    from edgemotion.report.tables import gates_table

    with one_line_errors():
        selection = read_json(ROOT / "reports/select.json")
        print(gates_table(selection))
        check_gates(selection)


# What is measured in seconds or bytes of memory, and what is made from it, may differ between two clones.
TIMED_STAGES = {"profile", "select", "report"}


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Stages whose records in two dvc.lock files differ, the timed ones left out."""
    names = (set(first) | set(second)) - TIMED_STAGES
    return sorted(name for name in names if first.get(name) != second.get(name))


@task
def reproducible(c: Context) -> None:
    """Run the pipeline in two fresh clones and compare every output but timings."""
    from dvc.utils.serialize import load_yaml

    with tempfile.TemporaryDirectory(prefix="edgemotion-") as folder:
        locks = []
        for place in ("first", "second/deeper"):
            clone = Path(folder) / place
            c.run(f"git clone --quiet {shlex.quote(str(ROOT))} {shlex.quote(str(clone))}")
            if (ROOT / "data/external").is_dir():
                shutil.copytree(ROOT / "data/external", clone / "data/external", dirs_exist_ok=True)
            with c.cd(str(clone)):
                # Forced, because the committed reports would let DVC skip the stages that only write reports.
                c.run("dvc repro --force", hide="out")
            locks.append(load_yaml(str(clone / "dvc.lock"))["stages"])
        if different := differences(*locks):
            sys.exit(f"error: these stages differ between two clones: {', '.join(different)}")
        same = len(locks[0]) - len(TIMED_STAGES)
        print(f"{same} stages are identical in two clones; not compared: {', '.join(sorted(TIMED_STAGES))}")


@task(help={"data": "also the prepared data and the DVC cache"})
def clean(c: Context, data: bool = False) -> None:
    """Remove caches and unfinished trainings; with --data everything that dvc repro makes again."""
    for name in (
        ".ablation",
        ".checkpoints",
        ".pareto",
        ".pytest_cache",
        ".mypy_cache",
        ".ruff_cache",
        ".hypothesis",
        "outputs",
        "multirun",
    ):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    if data:
        for name in ("data/raw", "data/prepared", "models", ".dvc/cache"):
            shutil.rmtree(ROOT / name, ignore_errors=True)


@task
def summary(c: Context) -> None:
    """Print the results of the last run as a table."""
    from edgemotion.report.tables import results_table

    print(results_table(json.loads((ROOT / "reports/summary.json").read_text(encoding="utf-8"))))
