"""All variants and the test images in; their latency, cold start and memory, measured interleaved, out."""

from pathlib import Path

from edgemotion.datasets.splits import read_split
from edgemotion.files import write_json
from edgemotion.measure.coldstart import cold_start
from edgemotion.measure.environment import describe
from edgemotion.measure.latency import cut, interleave, percentiles, pinned, runner, speedup, throughput
from edgemotion.runtime.classifier import open_session
from edgemotion.runtime.variant import load_variant
from edgemotion.settings import Settings
from edgemotion.stages import stage

NOTE = (
    "All variants run in turn in one process, so each finds the caches filled by the others: times are upper bounds, "
    "and their ratios are what to compare. Throughput takes fewer rounds at larger batches."
)


@stage
def main(settings: Settings) -> None:
    given = settings.profile
    environment = describe(given.threads)
    variants = {name: load_variant(Path("models/variants") / name) for name in settings.variants}
    reference = variants["fp32"]
    images = read_split("data/prepared/test", reference.detects, reference.classes).images
    with pinned(given.threads):
        starts = {n: cold_start(v.model_path, given.threads, given.cold_starts) for n, v in variants.items()}
        sessions = {name: open_session(variant.model_path, given.threads) for name, variant in variants.items()}
        calls = {name: runner(session) for name, session in sessions.items()}
        times = interleave(calls, cut(images, 1), given.rounds, given.warmup)
        batched = {
            size: interleave(calls, cut(images, size), max(10, given.rounds // (10 * size)), warmup=1)
            for size in given.batches
        }
    report = {
        name: {
            **percentiles(times[name]),
            "throughput": {str(size): throughput(batched[size][name], size) for size in given.batches},
            **starts[name],
            **speedup(times["fp32"], times[name], settings.seed),
        }
        for name in variants
    }
    protocol = {
        "rounds": given.rounds,
        "warmup": given.warmup,
        "threads": given.threads,
        "interleaved": True,
        "note": NOTE,
    }
    write_json("reports/profile.json", {"environment": environment, "protocol": protocol, "variants": report})
    for name, found in report.items():
        print(f"{name}: p50 {found['p50_ms']:.3f} ms, speed-up {found['speedup']:.2f} {found['speedup_ci']}")


if __name__ == "__main__":
    main()
