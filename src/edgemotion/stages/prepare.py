"""data/raw/<name>.zip in; data/prepared/ splits, data_report.json, findings.csv and two figures out."""

from pathlib import Path

from edgemotion import registry
from edgemotion.datasets.archive import content_digest, opened
from edgemotion.datasets.cleaning import Finding, clean, collect
from edgemotion.datasets.splits import write_split
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
        records = registry.call("layout", data.layout, zipped, channels=data.channels, args={})
        published, unreadable = collect(records, data.classes, data.height, data.width, data.channels)
    splits, findings, counts = clean(published, data.classes, data.drop_leaks)

    for name, split in splits.items():
        write_split(PREPARED / name, split)
    write_csv(PREPARED / "findings.csv", Finding._fields, [*unreadable, *findings])
    report = {
        "dataset": data.name,
        "content_digest": content_digest(source),
        "drop_leaks": data.drop_leaks,
        "unreadable": len(unreadable),
        **counts,
    }
    write_json(PREPARED / "data_report.json", report)
    labelled = {name: counts["classes"][name] for name in ("train", "val", "test")}
    data_figures.class_balance(FIGURES / "class_balance.png", labelled)
    data_figures.samples(FIGURES / "samples.png", splits["train"], data.classes)
    leaks = counts["leaks"]
    print(
        f"{data.name}: {counts['images']}; "
        f"in train too: {leaks['test_in_train']} of test, {leaks['val_in_train']} of val; "
        f"dropped {leaks['dropped']}; label conflicts in {counts['duplicates']['groups_with_label_conflict']} groups"
    )


if __name__ == "__main__":
    main()
