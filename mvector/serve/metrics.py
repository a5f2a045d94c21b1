"""What Prometheus is told: counts and times by route, never by person."""

import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counters of one worker process. With several, each scrape puts together what all of them wrote."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        if MULTIPROCESS not in os.environ:
            ProcessCollector(registry=self._registry)
        kept: dict[str, Any] = {"registry": self._registry, "namespace": "mvector"}
        self.requests = Counter("requests", "Requests by route and status.", ["method", "route", "status"], **kept)
        self.seconds = Histogram(
            "request_seconds",
            "From the head of a request to the end of its answer.",
            ["route"],
            buckets=LATENCY_S,
            **kept,
        )
        self.in_flight = Gauge(
            "requests_in_flight", "Requests that are being answered.", multiprocess_mode="livesum", **kept
        )
        self.refusals = Counter("refusals", "Requests refused, by the error of the answer.", ["error"], **kept)
        self.audio_seconds = Counter("audio_seconds", "Seconds of sound decoded.", **kept)
        self.batch_size = Histogram("batch_size", "Recordings embedded together.", buckets=BATCH, **kept)
        self.decoder_deaths = Counter("decoder_deaths", "Decoding processes ended by a recording.", **kept)
        self.people = Gauge("people", "People enrolled.", multiprocess_mode="max", **kept)

    def text(self, people: int) -> bytes:
        """The exposition in Prometheus' text format."""
        self.people.set(people)
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)

    def close(self) -> None:
        if MULTIPROCESS in os.environ and Path(os.environ[MULTIPROCESS]).is_dir():
            mark_process_dead(os.getpid())
