"""GET /metrics: what this process did, in the form that Prometheus reads.

The edge calls `Metrics.record` for each request: a look-up and two additions, because prometheus-client's own counters cost
several microseconds a call. Text is made only when somebody asks. Numbers from other parts come from callables, read at that
moment. Each worker process counts for itself and says which it is by the label `worker` on `alyx_process_info`; with
several workers a scrape reaches any one of them.
"""

from __future__ import annotations

import hmac
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from alyx.base.errors import AlyxError
from alyx.http import settings
from alyx.http.message import Request, Response
from alyx.http.routes import Route

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_HELP: Final = "A number that a part of the server gives."

Source = Callable[[], Mapping[str, float]]
"""Numbers of a part: name without the prefix `alyx_` -> value now. A name that ends in `_total` is a counter, else a gauge."""


class Metrics:
    """Counts requests and renders them with the numbers of the other parts and of the process.

    sources: may be added to until the server starts, and replaced as a whole at reload.
    """

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self.sources: tuple[Source, ...] = tuple(sources)
        self._cells: dict[tuple[str, str, int], list[float]] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Own(self))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def record(self, request: Request, status: int, size: int, seconds: float) -> None:
        """An observer of the edge. Labels are the route's pattern and known methods only, so that their number is bounded."""
        key = (request.method, request.route, status)
        cell = self._cells.get(key)
        if cell is None:
            method = request.method if request.method in _METHODS else "OTHER"
            key = (method, request.route, status)
            cell = self._cells.setdefault(key, [0.0] * (len(BUCKETS) + 3))
        cell[bisect_left(BUCKETS, seconds)] += 1
        cell[-2] += seconds
        cell[-1] += size

    def render(self) -> bytes:
        """Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Metric]:
        """The requests and the sources, as metric families."""
        yield from _requests(self._cells)
        info = InfoMetricFamily("alyx_process", "Which worker process answers this scrape.")
        info.add_metric([], {"worker": str(os.getpid())})
        yield info
        for source in self.sources:
            for name, value in source().items():
                yield _number(name, value)


class _Own(Collector):
    """What the registry asks at a scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families()


def _requests(cells: Mapping[tuple[str, str, int], list[float]]) -> Iterator[Metric]:
    total = CounterMetricFamily("alyx_http_requests", "Requests answered.", labels=["method", "route", "status"])
    sent = CounterMetricFamily("alyx_http_response_bytes", "Bytes of bodies answered.", labels=["method", "route"])
    duration = HistogramMetricFamily(
        "alyx_http_request_duration_seconds", "Time from the head of a request to its answer.", labels=["method", "route"]
    )
    merged: dict[tuple[str, str], list[float]] = {}
    for (method, route, status), cell in list(cells.items()):
        total.add_metric([method, route, str(status)], sum(cell[:-2]))
        whole = merged.setdefault((method, route), [0.0] * len(cell))
        for index, value in enumerate(cell):
            whole[index] += value
    for (method, route), cell in merged.items():
        sent.add_metric([method, route], cell[-1])
        duration.add_metric([method, route], _cumulated(cell), sum_value=cell[-2])
    yield total
    yield sent
    yield duration


def _cumulated(cell: list[float]) -> list[tuple[str, float]]:
    """Prometheus' buckets each hold all that is at most their bound."""
    buckets: list[tuple[str, float]] = []
    count = 0.0
    for bound, value in zip((*(str(bound) for bound in BUCKETS), "+Inf"), cell, strict=False):
        count += value
        buckets.append((bound, count))
    return buckets


def _number(name: str, value: float) -> Metric:
    if name.endswith("_total"):
        return CounterMetricFamily(f"alyx_{name.removesuffix('_total')}", _HELP, value=value)
    return GaugeMetricFamily(f"alyx_{name}", _HELP, value=value)


def routes(metrics: Metrics, options: settings.Metrics) -> list[Route]:
    """GET /metrics, or nothing when it is turned off. With a token, anything else in Authorization is 401."""
    if not options.enabled:
        return []
    wanted = options.token.encode() if options.token is not None else None

    async def show(request: Request) -> Response:
        if wanted is not None:
            _check(request, wanted)
        return Response(200, metrics.render(), CONTENT_TYPE_PLAIN_0_0_4.encode(), [(b"cache-control", b"no-store")])

    return [Route("GET", "/metrics", show, identified=False, limited=False)]


def _check(request: Request, wanted: bytes) -> None:
    scheme, _, given = (request.raw_header(b"authorization") or b"").partition(b" ")
    # Compared in constant time, so that the token cannot be guessed byte by byte.
    if not hmac.compare_digest(given.strip(), wanted) or scheme.lower() != b"bearer":
        raise AlyxError("UNAUTHORIZED", "The metrics need their token.", hint="Send Authorization: Bearer <metrics.token>.")


def prefixed(prefix: str, source: Source, gauges: Iterable[str] = ()) -> Source:
    """A source whose names are `prefix` + theirs; all but those in `gauges` only ever grow, and are named `_total`."""
    kept = frozenset(gauges)

    def numbers() -> dict[str, float]:
        return {prefix + (name if name in kept else f"{name}_total"): value for name, value in source().items()}

    return numbers
