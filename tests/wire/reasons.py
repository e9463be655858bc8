"""Why the balancer does as it does, once for each kind of script; shown beside what other proxies do."""

from __future__ import annotations

from typing import Final

REASONS: Final[dict[str, tuple[str, str]]] = {
    k: (k, "")
    for k in [
        "grammar",
        "version",
        "blank-lines",
        "line-ends",
        "target",
        "options-trace",
        "connect",
        "host",
        "framing",
        "codings",
        "chunks",
        "names",
        "trailers",
        "hop",
        "persistence",
        "forwarding",
        "via",
        "te",
        "expect",
        "upgrade",
        "interim",
        "answers",
        "cut",
        "order",
        "http10",
        "limits",
        "body",
        "paths",
        "rules",
    ]
}
