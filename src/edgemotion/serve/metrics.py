"""What Prometheus reads of a server: requests, latencies, predictions."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

# Seconds; a request takes one to a few milliseconds, one that waits in a queue up to seconds.
BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Counters of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("edgemotion_requests", "Requests answered", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "edgemotion_request_seconds",
            "From a request's headers to the end of its answer",
            ["route"],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self.active = Gauge("edgemotion_requests_active", "Requests being answered", registry=self.registry)
        self.predictions = Counter(
            "edgemotion_predictions", "Faces classified", ["label", "uncertain"], registry=self.registry
        )

    def count(self, result: dict[str, Any]) -> None:
        """Count every face of an answer; of a sequence the smoothed ones."""
        smoothed = [frame["smoothed"] for frame in result.get("frames", [])]
        for emotion in [result, *result.get("predictions", []), *result.get("faces", []), *smoothed]:
            if "label" in emotion:
                self.predictions.labels(emotion["label"], str(emotion.get("uncertain", "")).lower()).inc()

    def page(self) -> bytes:
        """The text that a scrape gets."""
        return generate_latest(self.registry)
