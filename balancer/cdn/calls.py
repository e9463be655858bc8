"""How many calls a provider was made, and what came of them."""

from __future__ import annotations

from collections import Counter

OK = "ok"


class Calls:
    """Plain counts, read by metrics and status. An operation is a word of our own code, never of an answer."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.results: Counter[tuple[str, str]] = Counter()
        """By operation and result: ok, or an error's code without its cdn_."""
        self.seconds: dict[str, float] = {}
        """By operation, of all its calls together."""

    def ended(self, operation: str, result: str, seconds: float) -> None:
        self.results[operation, result.removeprefix("cdn_")] += 1
        self.seconds[operation] = self.seconds.get(operation, 0.0) + seconds
