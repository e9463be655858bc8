"""What is told beside the load balancer itself: health, databases, configuration, and everything at once."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from api.answers import Status
from api.operation import Model
from balancer.telemetry.database_figures import PostgresFigures
from balancer.telemetry.figures import (
    CacheFigures,
    Errors,
    FailedRequest,
    Figures,
    Latency,
    ListenerFigures,
    ProcessUse,
    Quantiles,
    Rate,
    Traffic,
    Volume,
)


class Alive(Model):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(Model):
    """Whether to send traffic here."""

    status: Literal["ready", "not ready"]
    detail: str | None
    """Why not; null when ready."""


class HealthCheckState(Model):
    """One thing that has to be well."""

    status: Literal["ok", "degraded", "down", "unknown"]
    """unknown: not configured or not asked yet; it does not count."""
    reason: str | None
    """null when there is nothing to say."""
    since: datetime | None = None
    """When it began to say so; null before the first look at it."""
    changes: int = 0
    """How often it changed in the last hour: what flaps has many."""


class Health(Model):
    """Whether traffic can be served, and how well."""

    status: Literal["ok", "degraded", "down"]
    since: datetime | None = None
    """When it became so; null for callers without a key."""
    summary: str | None = None
    """What is wrong and since when, in a sentence; null for callers without a key."""
    checks: dict[str, HealthCheckState] | None
    """null for callers without a key."""


class DatabaseNode(Model):
    """A server of a database, or what sentinels know as one."""

    name: str
    state: str
    """up; open while it fails and is not asked; half-open while it is probed."""
    reason: str | None
    """Of its last failure; null when its last command was answered."""


class DatabaseUse(Model):
    """How it goes with what is asked of a database. All counts are since the start."""

    state: str
    """up; partial while some nodes are not asked; open or half-open while nothing is."""
    reason: str | None
    nodes: list[DatabaseNode]
    waiting: int
    """Commands without an answer."""
    commands: dict[str, int]
    """By result: ok, or why there was no answer."""
    latency: Quantiles
    """Of commands that were answered."""
    connects: int
    openings: int
    """Times that a node failed and was left alone."""
    redirections: int
    """Commands that another node had to be asked."""


class DatabaseFigures(Model):
    """One database that the balancer uses."""

    ok: bool | None
    """null: not configured or not asked yet."""
    latency: float | None
    """Seconds that a PING took; null unless ok."""
    reason: str | None
    """Why not ok; null when it is."""
    checked: datetime | None
    info: dict[str, str | int | float]
    """What it says of itself; empty unless ok."""
    use: DatabaseUse | None = None
    """What the cache and shared limits make of it; null while nothing uses it."""


class MetricsAnswer(Figures):
    """How much, how fast and how well, as numbers of this moment."""

    databases: dict[str, DatabaseFigures | PostgresFigures]
    """`redis` is the balancer's own; the others are those of `databases`, in full at /api/monitoring/database."""


class ReloadFigures(Model):
    """The configuration in force."""

    file: str | None
    """null: there is none, the environment says everything."""
    success: int
    """Reloads taken since the start."""
    failure: int
    """Reloads refused since the start."""
    last_ok: bool
    last: datetime | None
    """The last reload; null before the first."""
    last_success: datetime | None
    """When the configuration in force was taken."""
    changed_by_api: bool
    restart_required: list[str]


class AdminFigures(Model):
    """The admin API itself."""

    requests: dict[str, int]
    """By status."""


class TrustedRanges(Model):
    """The networks of a CDN that `trusted_proxies` names."""

    cdn: str
    networks: int
    """That are in use; 0: none are known, and it is not trusted."""
    source: Literal["shipped", "disk", "fetched", "none"]
    """shipped: with the balancer; disk: fetched before the last start; fetched: since then; none: there are none."""
    at: datetime | None
    """When they were published or fetched."""
    fetched: int
    """Times that they were, since the start."""
    failed: int
    """Times that they could not be, or that what came was not taken."""


class PictureFigures(Model):
    """Pictures in other sizes, made by the balancer."""

    results: dict[str, int]
    """made; kept: it had been made before; joined: another one waited for it already."""
    failures: dict[str, int]
    """By reason."""
    seconds: float
    """Spent by workers."""
    in_progress: int
    kept: int
    """On disk."""


class CdnFigures(Model):
    """The CDN. Counts begin anew when its configuration changes."""

    provider: str
    ok: bool | None
    """As its last check found it; null: there was none yet."""
    reason: str | None
    """Why it is not ok."""
    calls: dict[str, dict[str, int]]
    """Of the provider, by operation and result."""
    uploads: dict[str, int]
    """created; there: the same content was there already; failed."""
    upload_bytes: int
    files: int | None
    """null where the provider does not tell."""
    file_bytes: int | None
    purges: dict[str, int]
    """By the state that they ended in."""
    purges_in_progress: int
    breaker: str | None
    """closed; open while the provider fails and is left alone; half_open; null where it is the balancer itself."""
    pictures: PictureFigures | None


class Stats(Model):
    """One page with everything on it."""

    at: datetime
    version: str
    python: str
    uptime: float
    ready: bool
    shutting_down: bool
    load_balancer: Status
    requests: Rate
    errors: Errors
    latency: Latency
    bytes: Volume
    listeners: dict[str, ListenerFigures]
    routes: dict[str, Traffic]
    cache: CacheFigures | None
    """null while no route is cached, and none was."""
    cdn: CdnFigures | None
    """null while there is none."""
    process: ProcessUse
    redis: DatabaseFigures
    trusted_ranges: list[TrustedRanges]
    """Of each CDN that `trusted_proxies` names."""
    configuration: ReloadFigures
    admin: AdminFigures
    last_errors: list[FailedRequest]
