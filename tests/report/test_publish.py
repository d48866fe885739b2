"""Only a run whose settings, lock, reports and champion belong together is published; the README follows."""

import contextlib
import hashlib
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, write_json, write_text
from edgemotion.report.figures import draw, figure_names
from edgemotion.report.publish import publish
from edgemotion.report.readme import current_readme, leaks, run_page, update_readme, updated
from edgemotion.report.summary import read_results, summarise
from edgemotion.report.training_figures import draw_training
from edgemotion.settings import Settings, read

ROOT = Path(__file__).parents[2]
# What shows images of the dataset stays out.
PICTURES = {"samples", "gradcam", "augmentation", "mean_faces", "duplicates"}


@pytest.fixture(scope="module")
def sample(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run after its last stage, with the dvc.lock that DVC would have written; to be copied, not changed."""
    root = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(sample, root)
    with contextlib.chdir(root):
        settings = read("params.yaml")
        results = read_results(settings.variants)
        summary = summarise(results, settings.data.name, settings.model.name, settings.seed, settings.controls)
        write_json("reports/summary.json", summary)
        draw(summary, results.robustness, results.profile["variants"])
        draw_training(settings.networks)
        shutil.copytree(f"models/variants/{summary['champion']}", "models/champion")
        digest = {
            path: hashlib.md5(Path(path).read_bytes()).hexdigest()
            for path in ("reports/summary.json", "reports/profile.json")
        }
        lock = {
            "schema": "2.0",
            "stages": {
                "report": {
                    "cmd": "python",
                    "params": {"params.yaml": {"seed": settings.seed, "data.name": settings.data.name}},
                    "deps": [{"path": "reports/profile.json", "hash": "md5", "md5": digest["reports/profile.json"]}],
                    "outs": [{"path": "reports/summary.json", "hash": "md5", "md5": digest["reports/summary.json"]}],
                },
                "evaluate@gone": {"outs": [{"path": "reports/evaluate/gone.json", "md5": "0"}]},
            },
        }
        OmegaConf.save(lock, "dvc.lock")
    return root


def test_what_is_no_run_is_never_replaced(settings: Settings) -> None:
    write_json("reports/published/peers/avx2/peers.json", {})
    with pytest.raises(EdgemotionError, match="peers is no published run, which would be lost; choose another name"):
        publish("peers")
    assert Path("reports/published/peers/avx2/peers.json").is_file()


def test_publish_copies_the_evidence(settings: Settings) -> None:
    stale = Path("reports/published/demo/stale.json")
    write_json(stale, {})
    write_json(stale.with_name("summary.json"), {})
    folder = publish("demo")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "data_report.json",
        "dvc.lock",
        "environment.json",
        "figures",
        "params.yaml",
        "select.json",
        "summary.json",
    ]
    assert {
        path.relative_to(folder / "figures").with_suffix("").as_posix() for path in folder.glob("figures/**/*.png")
    } == set(figure_names(settings.variants)) - PICTURES
    environment = read_json(folder / "environment.json")
    assert environment["flags"] == ["avx2", "avx512_vnni"]
    assert (folder / "README.md").read_text().startswith("# demo: synthetic, network compact, 8 epochs\n")
    assert (folder / "summary.json").read_bytes() == Path("reports/summary.json").read_bytes()


def change_dataset() -> None:
    write_json("reports/summary.json", read_json("reports/summary.json") | {"dataset": "other"})


def change_champion() -> None:
    Path("models/champion/model.onnx").write_bytes(b"another model")


def change_report() -> None:
    write_json("reports/profile.json", read_json("reports/profile.json") | {"more": 1})


def change_settings() -> None:
    text = Path("params.yaml").read_text()
    write_text("params.yaml", text.replace("seed: 42", "seed: 43"))


def leave_champion() -> None:
    write_json("reports/summary.json", read_json("reports/summary.json") | {"champion": None})


def train_again() -> None:
    lock = OmegaConf.load("dvc.lock")
    lock.stages["train"] = {"outs": [{"path": "reports/profile.json", "md5": "0"}]}
    OmegaConf.save(lock, "dvc.lock")


def prepare_again() -> None:
    lock = OmegaConf.load("dvc.lock")
    lock.stages["prepare"] = {"outs": [{"path": "data/prepared/data_report.json", "md5": "0"}]}
    OmegaConf.save(lock, "dvc.lock")


def lose_figure() -> None:
    Path("reports/figures/tradeoff.png").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_dataset, r"summary\.json has the dataset 'other', params\.yaml 'synthetic'"),
        (change_champion, r"champion/model\.onnx has the SHA-256"),
        (change_report, r"profile\.json is not what dvc\.lock recorded for report"),
        (change_settings, r"dvc\.lock ran report with another seed than params\.yaml"),
        (leave_champion, r"model\.onnx is there and reports/summary\.json has no champion"),
        (train_again, r"dvc\.lock ran report with another reports/profile\.json than was made last"),
        (prepare_again, r"data_report\.json is not what dvc\.lock recorded for prepare"),
        (lose_figure, r"tradeoff\.png is missing"),
    ],
)
def test_publish_refuses_what_does_not_belong_together(settings: Settings, change: object, message: str) -> None:
    change()  # type: ignore[operator]
    with pytest.raises(EdgemotionError, match=message):
        publish("demo")
    assert list(Path("reports/published").glob("*")) == []


@pytest.mark.parametrize("name", ["../up", "", "Upper", ".hidden"])
def test_publish_refuses_names_that_are_no_folder(settings: Settings, name: str) -> None:
    with pytest.raises(EdgemotionError, match="cannot publish as"):
        publish(name)


def test_readme_shows_published_runs(settings: Settings) -> None:
    publish("b-run")
    publish("a-run")
    readme = Path("README.md")
    readme.write_text("# Title\n<!-- results -->\nstale\n<!-- /results -->\nend\n")
    update_readme()
    text = readme.read_text()
    assert text.startswith(
        "# Title\n<!-- results -->\n\n### [a-run](reports/published/a-run/): synthetic, network compact, 8 epochs\n"
    )
    assert text.index("a-run") < text.index("b-run")
    assert "int8 instructions: avx2, avx512_vnni" in text
    assert "Slower than fp32 here: int8_dynamic. Trained on Example GPU. " in text
    assert " Found in the data: label outside (3), unreadable (2).\n" in text
    assert "stale" not in text and text.endswith("<!-- /results -->\nend\n")
    update_readme()
    assert readme.read_text() == text


def test_a_readme_that_names_runs_shows_these_and_links_the_others(settings: Settings) -> None:
    for name in ("a-run", "b-run", "c.run"):
        publish(name)
    readme = Path("README.md")
    readme.write_text("<!-- results of c.run, a-run -->\n<!-- /results -->\n")
    update_readme()
    text = readme.read_text()
    assert text.startswith("<!-- results of c.run, a-run -->\n\n### [c.run](reports/published/c.run/): synthetic")
    assert "### [a-run]" in text and "### [b-run]" not in text
    assert "\nAlso published: [b-run](reports/published/b-run/).\n\n<!-- /results -->\n" in text
    assert "Slower than fp32 here" in Path("reports/published/b-run/README.md").read_text()
    readme.write_text("<!-- results of gone -->\n<!-- /results -->\n")
    with pytest.raises(EdgemotionError, match="the README shows 'gone', which is not in reports/published"):
        update_readme()


def test_a_run_tells_what_training_did_with_copies_of_test_images() -> None:
    fp32 = {"n_leaked": 288, "top1": 0.705, "top1_leak_free": 0.69, "top1_leaked": 0.8812}
    assert leaks(fp32, dropped=True) == "training did without their copies (288 images, of which fp32 gets 88.1 %)"
    assert leaks(fp32, dropped=False) == (
        "training saw their copies (288 images, of which fp32 gets 88.1 %), which is worth up to +1.5 points on the "
        "whole split"
    )
    assert leaks(fp32 | {"n_leaked": 0, "top1_leaked": None}, dropped=False) == "there are none"
    everything = leaks(fp32 | {"top1_leak_free": None}, dropped=False)
    assert everything == "training saw their copies (288 images, of which fp32 gets 88.1 %), and there are no others"


def test_a_run_without_a_champion_is_published_and_says_so(settings: Settings) -> None:
    write_json("reports/summary.json", read_json("reports/summary.json") | {"champion": None})
    lock = OmegaConf.load("dvc.lock")
    lock.stages.report.outs[0].md5 = hashlib.md5(Path("reports/summary.json").read_bytes()).hexdigest()
    OmegaConf.save(lock, "dvc.lock")
    Path("models/champion/model.onnx").unlink()
    publish("demo")
    Path("README.md").write_text("<!-- results -->\n<!-- /results -->\n")
    update_readme()
    text = Path("README.md").read_text()
    assert "No variant keeps the budget, so none is champion." in text and "**" not in text


def test_readme_shows_the_comparison_where_it_has_a_place(tmp_path: Path) -> None:
    published = tmp_path / "published"
    write_text(published / "comparison/comparison.md", "| a |\n\n![of](comparison.png)\n")
    text = "<!-- results -->\n<!-- /results -->\n"
    assert current_readme(text, published) == text
    placed = text + "<!-- comparison:start -->\nstale\n<!-- comparison:end -->\n"
    found = current_readme(placed, published)
    assert "| a |\n\n![of](reports/published/comparison/comparison.png)\n" in found and "stale" not in found
    assert current_readme(found, published) == found
    shutil.rmtree(published)
    assert current_readme(found, published) == placed.replace("stale\n", "")


@pytest.mark.parametrize("text", ["nothing", "<!-- /results -->\n<!-- results -->", "<!-- results -->" * 2])
def test_readme_without_one_pair_of_markers(text: str) -> None:
    with pytest.raises(EdgemotionError, match="README needs"):
        updated(text, "block")


def test_readme_is_current() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    current = current_readme(text, ROOT / "reports/published")
    assert text == current, "rebuild it with edgemotion.report.readme.update_readme()"
    for path in (ROOT / "reports/published").glob("*/summary.json"):
        text = (path.parent / "README.md").read_text(encoding="utf-8")
        assert text == run_page(path.parent.name, path.parent)


def test_studies_of_the_run_go_with_it(settings: Settings) -> None:
    info = read_json("models/variants/fp32/model_info.json")
    of = {"data_sha256": info["data_sha256"], "val_sha256": info["val_sha256"]}
    of |= {"model": asdict(settings.model), "train": asdict(settings.train)}
    del of["train"]["epochs"]
    write_json("reports/ablation.json", {"of": of, "rows": []})
    write_json("reports/peers/peers.json", {"network": {"weights_sha256": info["weights_sha256"]}})
    for name in ("ablation.md", "peers/peers.md"):
        write_text(Path("reports") / name, "a table\n")
    names = {path.name for path in publish("demo").iterdir()}
    assert {"ablation.json", "ablation.md", "peers.json", "peers.md"} <= names and "front.json" not in names
    page = Path("reports/published/demo/README.md").read_text()
    assert "- [ablation.md](ablation.md): " in page and "- [peers.md](peers.md): " in page and "front.md" not in page


def test_a_study_of_another_recipe_is_refused(settings: Settings) -> None:
    info = read_json("models/variants/fp32/model_info.json")
    of = {"data_sha256": info["data_sha256"], "val_sha256": info["val_sha256"], "model": {"name": "lenet"}, "train": {}}
    write_json("reports/ablation.json", {"of": of, "rows": []})
    with pytest.raises(EdgemotionError, match=r"reports/ablation.json is of another recipe, data or network than"):
        publish("demo")


def test_a_variant_that_was_made_since_is_refused(settings: Settings) -> None:
    path = Path("models/variants/int8_static/model_info.json")
    write_json(path, read_json(path) | {"sha256": "0" * 64})
    with pytest.raises(EdgemotionError, match=r"is not of the model that reports/summary.json measured as int8_static"):
        publish("demo")


def test_a_study_of_another_network_is_refused(settings: Settings) -> None:
    write_json("reports/pareto/front.json", {"weights_sha256": "0" * 64})
    with pytest.raises(EdgemotionError, match=r"reports/pareto/front.json is of another recipe, data or network than"):
        publish("demo")
    assert not Path("reports/published/demo").exists()


def test_a_study_without_its_page_is_refused(settings: Settings) -> None:
    weights = read_json("models/variants/fp32/model_info.json")["weights_sha256"]
    write_json("reports/pareto/front.json", {"weights_sha256": weights})
    with pytest.raises(EdgemotionError, match=r"^reports/pareto/front.md is missing, which belongs to reports/pareto/"):
        publish("demo")


def test_a_front_that_another_budget_judged_is_refused(settings: Settings) -> None:
    front = {"weights_sha256": read_json("models/variants/fp32/model_info.json")["weights_sha256"]}
    for name in ("front.md", "pareto.png"):
        write_text(Path("reports/pareto") / name, "of the front\n")
    write_json("reports/pareto/front.json", front | {"select": asdict(settings.select) | {"max_size_mb": 9.0}})
    with pytest.raises(EdgemotionError, match=r"^reports/pareto/front.json was judged by another select than this run"):
        publish("demo")
    write_json("reports/pareto/front.json", front | {"select": asdict(settings.select)})
    assert read_json(publish("demo") / "front.json")["select"] == asdict(settings.select)
