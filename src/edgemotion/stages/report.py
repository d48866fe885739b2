"""All reports and figures in; summary.json, flips.csv, index.html and four figures out, and the tracked runs."""

from pathlib import Path

from edgemotion.files import write_csv, write_json, write_text
from edgemotion.report.figures import draw
from edgemotion.report.flips import HEADER, list_flips
from edgemotion.report.html import render
from edgemotion.report.provenance import provenance
from edgemotion.report.summary import read_results, summarise
from edgemotion.report.training_figures import draw_training
from edgemotion.settings import Settings
from edgemotion.stages import stage
from edgemotion.tracking import log_pipeline

PAGE = Path("reports/index.html")
CHAMPION = (Path("models/champion/model.onnx"), Path("models/champion/model_info.json"))


@stage
def main(settings: Settings) -> None:
    results = read_results(settings.variants)
    summary = summarise(results, settings.data.name, settings.model.title, settings.seed, settings.controls)
    write_json("reports/summary.json", summary)
    flips = list_flips(results.ids, results.labels, results.predictions, summary["classes"])
    write_csv("reports/flips.csv", HEADER, flips)
    draw(summary, results.robustness, results.profile["variants"])
    draw_training(settings.networks)
    write_text(PAGE, render(summary, results))
    tags = provenance(summary["champion"], results.infos["fp32"])
    log_pipeline(settings, summary, tags, [*filter(Path.is_file, CHAMPION), PAGE])
    print(f"{PAGE}: {len(summary['variants'])} variants, champion {summary['champion'] or 'none'}")


if __name__ == "__main__":
    main()
