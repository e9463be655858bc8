"""What the balancer says of itself through its admin API, made into one line for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

METRICS = "/api/monitoring/metrics"
STATUS = "/api/infrastructure/load-balancer/status"
PATIENCE = aiohttp.ClientTimeout(total=2)


@dataclass(frozen=True, slots=True)
class ServerReading:
    """One server: its state in the balancer's word, and requests sent to it so far."""

    state: str
    requests: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The figures of one moment; None is what the balancer did not say. Servers by host and port."""

    total: float | None = None
    per_second: float | None = None
    errors: float | None = None
    in_flight: float | None = None
    p50: float | None = None
    p99: float | None = None
    servers: dict[str, ServerReading] = field(default_factory=dict)


class Admin:
    """The admin API, as a viewer with a key sees it."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(timeout=PATIENCE, headers={"Authorization": f"Bearer {key}"})

    async def close(self) -> None:
        await self._session.close()

    async def read(self) -> Reading | str:
        """The figures, or why there are none."""
        try:
            return reading(await self._get(METRICS), await self._get(STATUS))
        except aiohttp.ClientResponseError as error:
            return f"the admin API answered {error.status} {error.message}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return f"the admin API did not answer ({type(error).__name__})"

    async def _get(self, path: str) -> object:
        async with self._session.get(self._url + path) as response:
            response.raise_for_status()
            document: object = await response.json()
            return document


def reading(metrics: object, status: object) -> Reading:
    """The one place that knows how the two documents are laid out."""
    return Reading(
        total=number(metrics, "requests", "total"),
        per_second=number(metrics, "requests", "per_second"),
        errors=number(metrics, "errors", "by_class", "5xx", "total"),
        in_flight=number(metrics, "in_flight"),
        p50=number(metrics, "latency", "last_minute", "p50"),
        p99=number(metrics, "latency", "last_minute", "p99"),
        servers=dict(_servers(status)),
    )


def number(document: object, *path: str) -> float | None:
    """The number at a path, or None when the document has none there."""
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document if isinstance(document, int | float) else None


def line(found: Reading, before: Reading, names: Mapping[str, str]) -> str:
    """One second of the balancer: `before` is the reading of a second ago, `names` what to call a server."""
    rate = found.per_second if found.per_second is not None else _rise(found.total, before.total)
    figures = (
        f"{_plain(rate, 6)} req/s  p50 {_milliseconds(found.p50)}  p99 {_milliseconds(found.p99)}"
        f"  in flight {_plain(found.in_flight, 2, 0)}  errors {_plain(found.errors, 1, 0)}"
    )
    servers = []
    for address, server in found.servers.items():
        sent = _rise(server.requests, before.servers.get(address, server).requests)
        state = server.state if server.state == "up" else server.state.upper()
        servers.append(f"{names.get(address, address)} {state:<4} {_plain(sent, 3, 0)}/s")
    return figures + "  |  " + "  ".join(servers)


def _servers(document: object) -> Iterator[tuple[str, ServerReading]]:
    """Every object of the document that has a url and a state, in its order; not what the balancer serves itself."""
    if isinstance(document, Mapping):
        url, state = document.get("url"), document.get("state")
        if isinstance(url, str) and isinstance(state, str):
            if place := urlsplit(url).netloc:
                yield place, ServerReading(state, number(document, "requests"))
            return
        for inner in document.values():
            yield from _servers(inner)
    elif isinstance(document, list):
        for inner in document:
            yield from _servers(inner)


def _rise(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else max(after - before, 0.0)


def _plain(value: float | None, width: int, digits: int = 1) -> str:
    return "-".rjust(width) if value is None else f"{value:{width}.{digits}f}"


def _milliseconds(value: float | None) -> str:
    return f"{'-':>6} ms" if value is None else f"{value * 1000:6.1f} ms"
