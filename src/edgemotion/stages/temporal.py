"""A variant and ordered frames in; how steady its predictions are, raw and smoothed, out."""

from pathlib import Path

import numpy as np

from edgemotion.datasets.splits import read_split
from edgemotion.files import write_json
from edgemotion.measure.streams import sampled_stream, score_stream
from edgemotion.report.measure_figures import temporal_figure
from edgemotion.runtime.classifier import Classifier
from edgemotion.runtime.smoothing import smooth
from edgemotion.settings import Settings
from edgemotion.stages import stage

TRACE = 400  # frames of the first stream in the figure


@stage
def main(settings: Settings) -> None:
    name, given = settings.item, settings.temporal
    noise = {"process_noise": given.process_noise, "measurement_noise": given.measurement_noise}
    classifier = Classifier(Path("models/variants") / name, settings.threads)
    detects, classes = classifier.variant.detects, classifier.variant.classes

    split, source = read_split("data/prepared/streams", detects, classes), "recorded"
    order = np.arange(len(split))
    if not len(split):
        split, source = read_split("data/prepared/test", detects, classes), "sampled"
        order = sampled_stream(split.labels, given.frames, given.dwell, np.random.default_rng(settings.seed))
    raw = classifier.run(split.images)[1][order]
    labels, streams = split.labels[order], split.streams[order]
    # A filter that ran on would carry the last emotion of one recording into the next.
    smoothed = np.empty(raw.shape)
    for stream in np.unique(streams):
        smoothed[streams == stream] = smooth(raw[streams == stream], **noise)

    report = {
        "variant": name,
        "source": source,
        "streams": len(np.unique(streams)),
        "frames": len(order),
        "raw": score_stream(raw, labels, streams),
        "smoothed": score_stream(smoothed, labels, streams),
        "filter": noise,
    }
    write_json(f"reports/temporal/{name}.json", report)
    shown = np.flatnonzero(streams == streams[0])[:TRACE]
    title = f"{name}: first {len(shown)} frames of a {source} stream"
    temporal_figure(f"reports/figures/temporal/{name}.png", labels[shown], raw[shown], smoothed[shown], classes, title)
    print(f"{name}: raw {report['raw']}, smoothed {report['smoothed']}")


if __name__ == "__main__":
    main()
