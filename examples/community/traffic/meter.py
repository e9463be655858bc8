"""What became of the traffic: counts, latencies, and who answered."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

WINDOW = 10.0
"""Seconds that the running line looks back."""
SAMPLES = 100_000
"""Latencies kept for the summary, the latest."""


class Meter:
    """Counts every request once, under its answer or the reason for having none."""

    def __init__(self, now: float) -> None:
        self.began = now
        self.answers: Counter[str] = Counter()  # "2xx" ... "5xx", "none"
        self.troubles: Counter[str] = Counter()  # "post: 502", "home: cannot connect"
        self.servers: Counter[str] = Counter()
        self.acts: Counter[str] = Counter()
        self.skipped = 0
        self._latencies: deque[float] = deque(maxlen=SAMPLES)
        self._recent: deque[tuple[float, float]] = deque()

    def answered(self, now: float, act: str, status: int, server: str, latency: float) -> None:
        self.acts[act] += 1
        self.answers[f"{status // 100}xx"] += 1
        self.servers[server] += 1
        if status >= 400:
            self.troubles[f"{act}: {status}"] += 1
        self._latencies.append(latency)
        self._recent.append((now, latency))

    def failed(self, act: str, reason: str) -> None:
        """No answer, or none that was whole."""
        self.acts[act] += 1
        self.answers["none"] += 1
        self.troubles[f"{act}: {reason}"] += 1

    @property
    def total(self) -> int:
        return self.answers.total()

    @property
    def errors(self) -> int:
        return self.answers["5xx"] + self.answers["none"]

    def line(self, now: float) -> str:
        """The last few seconds in one line."""
        while self._recent and self._recent[0][0] < now - WINDOW:
            self._recent.popleft()
        latencies = sorted(latency for _, latency in self._recent)
        rate = len(latencies) / max(min(WINDOW, now - self.began), 1.0)
        refused = f"  4xx {self.answers['4xx']}" if self.answers["4xx"] else ""
        ok = self.total - self.errors - self.answers["4xx"]
        return (
            f"{rate:6.1f} req/s  ok {ok}{refused}  err {self.errors}  p50 {_milliseconds(latencies, 0.5)}"
            f"  p99 {_milliseconds(latencies, 0.99)}  {'  '.join(self._shares())}"
        )

    def summary(self, now: float) -> list[str]:
        """The whole run, for the end."""
        seconds = now - self.began
        latencies = sorted(self._latencies)
        skipped = f", {self.skipped} left out because too many were under way" if self.skipped else ""
        points = "  ".join(f"p{round(q * 100)} {_milliseconds(latencies, q)}" for q in (0.5, 0.9, 0.99))
        lines = [
            f"requests  {self.total} in {seconds:.1f} s ({self.total / max(seconds, 0.001):.1f}/s){skipped}",
            f"answers   {_counts(sorted(self.answers.items()))}",
            f"latency   {points}  max {_milliseconds(latencies, 1.0)}",
            f"servers   {'  '.join(self._shares())}",
            f"acts      {_counts(self.acts.most_common())}",
        ]
        if self.troubles:
            lines.append(f"troubles  {_counts(self.troubles.most_common(8))}")
        return lines

    def _shares(self) -> list[str]:
        whole = self.servers.total()
        return [f"{name} {count / whole:.0%}" for name, count in sorted(self.servers.items())]


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The nearest rank; None of nothing."""
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else None


def _milliseconds(ordered: Sequence[float], q: float) -> str:
    value = quantile(ordered, q)
    return "-" if value is None else f"{value * 1000:.1f} ms"


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    return "  ".join(f"{name} {count}" for name, count in pairs) or "-"
