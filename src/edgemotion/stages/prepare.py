"""data/raw/<name>.zip in; data/prepared/ splits, data_report.json, findings.csv and the figures of the data out."""

from collections import Counter
from pathlib import Path

from edgemotion import registry
from edgemotion.datasets.archive import content_digest, opened
from edgemotion.datasets.cleaning import Finding, check_left, clean, collect
from edgemotion.datasets.splits import faces, write_split
from edgemotion.files import write_csv, write_json
from edgemotion.report import data_figures
from edgemotion.settings import Settings
from edgemotion.stages import stage

PREPARED = Path("data/prepared")
FIGURES = Path("reports/figures")


@stage
def main(settings: Settings) -> None:
    data = settings.data
    source = Path("data/raw") / f"{data.name}.zip"
    with opened(source) as zipped:
        records = registry.call("layout", data.layout, zipped, channels=data.channels, args=data.args)
        given, told = collect(records, data.classes, data.height, data.width, data.channels)
    splits, findings, counts = clean(given, data.drop_leaks)
    check_left(splits)

    for name, split in splits.items():
        write_split(PREPARED / name, split)
    write_csv(PREPARED / "findings.csv", Finding._fields, [*told, *findings])
    errors = dict(sorted(Counter(finding.kind for finding in told).items()))
    report = {
        "dataset": data.name,
        "content_digest": content_digest(source),
        "drop_leaks": data.drop_leaks,
        "unreadable": errors.get("unreadable", 0),
        "layout_errors": errors,
        **counts,
    }
    write_json(PREPARED / "data_report.json", report)
    labelled = {name: counts["classes"][name] for name in ("train", "val", "test")}
    train = faces(splits["train"])
    data_figures.class_balance(FIGURES / "class_balance.png", labelled)
    data_figures.samples(FIGURES / "samples.png", train)
    data_figures.mean_faces(FIGURES / "mean_faces.png", train)
    data_figures.duplicates(FIGURES / "duplicates.png", given, findings)
    leaks, conflicts = counts["leaks"], counts["duplicates"]["groups_with_label_conflict"]
    print(f"{data.name}: {counts['images']}; in train too: test {leaks['test_in_train']}, val {leaks['val_in_train']}")
    print(
        f"dropped {leaks['dropped']}; label conflicts in {conflicts} groups; told of the layout: {errors or 'nothing'}"
    )
    if not data.digest:
        print(f"data.digest is null, so any content is accepted; this archive's is {report['content_digest']}")


if __name__ == "__main__":
    main()
