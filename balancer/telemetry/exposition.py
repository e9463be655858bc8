"""Metrics as text: the Prometheus format 0.0.4 and OpenMetrics 1.0."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter

from balancer.tally import BOUNDS, EXPORTED, Histogram
from balancer.telemetry.families import Family, Labels, Scrape

BUCKETS = (*map(str, EXPORTED), "+Inf")
"""The values of `le`. OpenMetrics wants them written as floats: "1.0", never "1"."""
SIZE = len(BUCKETS) + 2
"""The series of one histogram: its buckets, sum and count."""
SUFFIX = {"counter": "_total", "info": "_info", "gauge": "", "histogram": ""}
LEFT_OUT = Family(
    "balancer_metrics_series_dropped",
    "counter",
    "Series left out of scrapes because there were more than metrics.max_series.",
    (),
    lambda scrape: (),
)

_exported = itemgetter(*(BOUNDS.index(bound) for bound in EXPORTED))


class Exposition:
    """Writes the families of a catalogue, quickly enough for the event loop to wait for.

    What is the same from scrape to scrape, names and labels in their quotes, is put together once and kept
    until the configuration changes. No more than `max_series` series are written; `dropped` counts the rest.
    """

    def __init__(self, catalogue: Sequence[Family], max_series: int) -> None:
        self._catalogue = (*catalogue, LEFT_OUT)
        self._max_series = max_series
        self._generation = -1
        self._templates: dict[str, dict[Labels, str]] = {}
        self.dropped = 0

    def write(self, scrape: Scrape, openmetrics: bool) -> str:
        """Everything but the line that closes OpenMetrics."""
        if scrape.report.generation != self._generation:  # some names may be gone for good
            self._generation = scrape.report.generation
            self._templates = {family.name: {} for family in self._catalogue}
        text: list[str] = []
        left = self._max_series
        for family in self._catalogue:
            text.append(_head(family, openmetrics))
            size = SIZE if family.kind == "histogram" else 1
            templates = self._templates[family.name]
            for labels, value in family.samples(scrape):
                if left < size:
                    self.dropped += size
                    continue
                left -= size
                template = templates.get(labels)
                if template is None:
                    template = templates[labels] = _template(family, labels)
                text.append(template % (_reached(value) if isinstance(value, Histogram) else value))
        text.append(f"{LEFT_OUT.name}_total {self.dropped}\n")
        return "".join(text)


def _reached(histogram: Histogram) -> tuple[float, ...]:
    """The numbers of a histogram's series: how many were at most each bound, their sum, how many in all."""
    reached = list(accumulate(histogram.counts))
    return (*_exported(reached), reached[-1], histogram.total, reached[-1])


def _head(family: Family, openmetrics: bool) -> str:
    """What a name means. OpenMetrics says it of the name without suffix, and knows infos and units."""
    name = family.name if openmetrics else family.name + SUFFIX[family.kind]
    kind = "gauge" if family.kind == "info" and not openmetrics else family.kind
    unit = f"# UNIT {name} {family.unit}\n" if openmetrics and family.unit else ""
    return f"# HELP {name} {family.help}\n# TYPE {name} {kind}\n{unit}"


def _template(family: Family, labels: Labels) -> str:
    """The lines of a family's sample with these label values, and a place for each number."""
    name = family.name + SUFFIX[family.kind]
    pairs = [f'{label}="{_escaped(value)}"' for label, value in zip(family.labels, labels, strict=True)]
    if family.kind != "histogram":
        return f"{_series(name, pairs)} %r\n"
    buckets = [_series(f"{name}_bucket", [*pairs, f'le="{bound}"']) for bound in BUCKETS]
    return "".join(
        f"{series} %r\n" for series in (*buckets, _series(f"{name}_sum", pairs), _series(f"{name}_count", pairs))
    )


def _series(name: str, pairs: Sequence[str]) -> str:
    return name + "{" + ",".join(pairs) + "}" if pairs else name


def _escaped(value: str) -> str:
    """As both formats want label values; % is for the template it becomes part of."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"").replace("%", "%%")
