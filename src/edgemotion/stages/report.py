"""All reports and figures in; reports/summary.json, three figures and reports/index.html out, and the tracked runs."""

from pathlib import Path

from edgemotion.files import write_json, write_text
from edgemotion.report.figures import draw
from edgemotion.report.html import render
from edgemotion.report.provenance import provenance
from edgemotion.report.summary import read_results, summarise
from edgemotion.settings import Settings
from edgemotion.stages import stage
from edgemotion.tracking import log_pipeline

PAGE = Path("reports/index.html")
CHAMPION = (Path("models/champion/model.onnx"), Path("models/champion/model_info.json"))


@stage
def main(settings: Settings) -> None:
    results = read_results(settings.variants)
    summary = summarise(results, settings.data.name, settings.model.name, settings.data.classes, settings.seed)
    write_json("reports/summary.json", summary)
    draw(summary, results.robustness, results.profile["variants"])
    write_text(PAGE, render(summary, results))
    log_pipeline(settings, summary, provenance(summary["champion"], results.infos["fp32"]), [*CHAMPION, PAGE])
    print(f"{PAGE}: {len(summary['variants'])} variants, champion {summary['champion']}")


if __name__ == "__main__":
    main()
