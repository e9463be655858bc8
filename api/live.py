"""GET /api/events: what happens, as it happens, and the figures of each second (server-sent events)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from math import isnan
from typing import Annotated, Any, Final

from pydantic import Field

import balancer
from api.history import series_key
from api.operation import Call, Flow, Model, Operation
from api.overview import HealthCheckState
from api.problems import Fault, Problem
from api.services import Services
from api.sessions import presented_cookie
from api.streams import Stream, frame
from balancer.server import ServerKey
from balancer.telemetry.happenings import Happening, Scene
from balancer.telemetry.rates import Key
from balancer.telemetry.report import Report

EVENTS: Final = "/api/events"
BOOT: Final = secrets.token_hex(4)
"""Of this process: numbers of another one mean something else."""
SERVERS_EVERY: Final = 2
"""Seconds between two looks at all servers, of which there may be hundreds."""
SOON: Final = 14
"""Days before its end from which a certificate is told of."""
RETRY: Final = b"retry: 2000\n\n"
ALWAYS: Final = frozenset(("second", "happening"))


class EventsQuery(Model):
    """What is to be told beside what happens and the figures of the whole."""

    topics: Annotated[str, Field(pattern=r"^(servers)?$")] = ""
    """servers: every server's figures, every other second."""
    of: Annotated[str, Field(max_length=200)] = ""
    """One series more, by the names that GET /api/monitoring/history knows: route:NAME, pool:NAME, …"""
    since: Annotated[str, Field(pattern=r"^([0-9a-f]{8}-[0-9]{1,12})?$")] = ""
    """The id of the last event that was heard, for those who cannot send Last-Event-ID."""


class LiveViews:
    """A page that follows asks for nothing again and again, so a hundred of them cost what one costs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._count = 0

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "GET",
                EVENTS,
                "viewer",
                self.events,
                {200: "Events, until somebody ends it."},
                {503: "Too many streams are open; see Retry-After."},
                content_type="text/event-stream",
                headers={
                    "Last-Event-ID": {
                        "description": "The last event that was heard: those after it come first.",
                        "schema": {"type": "string"},
                    }
                },
            ),
        )

    async def events(self, call: Call, query: EventsQuery) -> Flow:
        """What happens, as it happens: `hello` once, `happening` with an id, `second` each second, and what was asked.

        After a break, what was missed comes again, if the break was short: send the last id in Last-Event-ID. The
        stream is over when its session or key is, when it is not read, and when the balancer stops.
        """
        services = self._services
        topics = set(ALWAYS)
        if query.topics:
            topics.add(query.topics)
        if query.of:
            if services.history.latest(series_key(query.of)) is None:
                message = "there is no history of it; GET /api/monitoring/history tells what there is"
                raise Problem(404, f"?of {message}", [Fault(pointer="?of", message=message)])
            topics.add(f"of {query.of}")
        assert call.caller is not None  # the operation has a role
        transport = call.request.transport
        stream = Stream(call.caller.id, frozenset(topics), transport)
        heard = call.request.headers.get("Last-Event-ID") or query.since
        if call.request.method != "HEAD":
            services.streams.admit(stream)
            self._welcome(stream, heard)
        return Flow(self._pieces(stream, call), "text/event-stream", {"X-Accel-Buffering": "no"}, live=True)

    def _pieces(self, stream: Stream, call: Call) -> AsyncGenerator[bytes]:
        return self._services.streams.read(stream, lambda: self._may_stay(call))

    def _welcome(self, stream: Stream, heard: str) -> None:
        happenings = self._services.happenings
        boot, _, number = heard.partition("-")
        known = boot == BOOT and number.isdecimal()
        missed = happenings.after(int(number)) if known else happenings.after(0)[-50:]
        stream.push(RETRY)
        stream.push(
            frame(
                "hello",
                {
                    "boot": BOOT,
                    "version": balancer.__version__,
                    "now": self._services.wall().timestamp(),
                    "resumed": known and (not missed or missed[0].number == int(number) + 1),
                    "happenings": [_told(one) for one in missed],
                },
                f"{BOOT}-{happenings.last}",
            )
        )

    def _may_stay(self, call: Call) -> bool:
        """Whether the session, or the key, still is one. An open page that is looked at counts as use of it."""
        services, request = self._services, call.request
        try:
            cookie = presented_cookie(request)
            if cookie is None:
                return services.keyring.identify(request.headers, request.remote or "") is not None
            session = services.sessions.find(cookie)
            return session is not None and services.keyring.of_session(session) is not None
        except Problem:
            return False

    # What is told.

    def look(self, report: Report, checks: Mapping[str, HealthCheckState]) -> None:
        """Once a second: find out what has happened, and tell whoever follows."""
        services = self._services
        self._count += 1
        streams = services.streams
        happened = services.happenings.look(services.wall().timestamp(), self._scene(report, checks))
        for one in happened:
            streams.publish("happening", frame("happening", _told(one), f"{BOOT}-{one.number}"))
        topics = streams.topics
        if "second" in topics:
            streams.publish("second", frame("second", self._second(report, checks)))
        if "servers" in topics and self._count % SERVERS_EVERY == 0:
            streams.publish("servers", frame("servers", self._servers(report)))
        for topic in topics:
            if topic.startswith("of "):
                of = topic[3:]
                streams.publish(topic, frame("point", {"of": of, **self._point(series_key(of))}))

    def _scene(self, report: Report, checks: Mapping[str, HealthCheckState]) -> Scene:
        control = self._services.control
        servers: dict[ServerKey, str] = {}
        reasons: dict[ServerKey, str] = {}
        health = control.monitor.report()
        for pool in report.pools.values():
            for server in pool.servers:
                key = (pool.name, server.name)
                servers[key] = server.state
                if server.state == "down" and (found := health.get(key)) is not None and found.last is not None:
                    reasons[key] = found.last.reason
        latest = control.revisions.history.latest
        firing = {
            name: "; ".join(alert.text for alert in one.alerts if alert.state == "firing")
            for name, one in self._services.alerts.standing().items()
            if one.state == "firing"
        }
        return Scene(
            servers=servers,
            reasons=reasons,
            open=frozenset(pool.name for pool in report.pools.values() if pool.panic),
            configuration=(latest.number, _revision(latest.number, latest.author, latest.cause, len(latest.changes)))
            if latest is not None
            else None,
            checks={n: (c.status, c.reason) for n, c in checks.items() if not n.startswith("pool ")},
            firing=firing,
        )

    def _second(self, report: Report, checks: Mapping[str, HealthCheckState]) -> dict[str, Any]:
        services = self._services
        ailing = {n: [c.status, c.reason] for n, c in checks.items() if c.status in ("degraded", "down")}
        pools = {}
        for pool in report.pools.values():
            states: dict[str, int] = {}
            for server in pool.servers:
                states[server.state] = states.get(server.state, 0) + 1
            pools[pool.name] = {
                "states": states,
                "open": pool.panic,
                "queue": pool.queue,
                **_few(self._point(("pool", pool.name))),
            }
        lag = services.lag.worst
        return {
            **self._point(()),
            "connections": report.connections,
            "checks": ailing,
            "pools": pools,
            "trial": services.control.revisions.trial_left,
            "lag": lag,
            "watched": len(services.streams),
            "overlaid": not services.control.overlay.is_empty,
            "certificates": self._ending(report),
        }

    def _ending(self, report: Report) -> list[tuple[str, str, float]]:
        """Certificates that end soon, or have ended: listener, name, and days that are left."""
        now = self._services.wall()
        left = [(one.listener, one.name, (one.not_after - now).total_seconds() / 86400) for one in report.certificates]
        return [(listener, name, round(days, 1)) for listener, name, days in left if days < SOON]

    def _point(self, key: Key) -> dict[str, float | None]:
        """The last second of one series, as GET /api/monitoring/history has it."""
        found = self._services.history.latest(key)
        if found is None:
            return {}
        at, columns = found
        return {"at": round(at, 1), **{name: None if isnan(v) else round(v, 6) for name, v in columns.items()}}

    def _servers(self, report: Report) -> dict[str, dict[str, list[object]]]:
        """By pool and name: state, in rotation, effective weight, in flight, idle, requests/s, errors/s, seconds."""
        recent = self._services.recent
        told: dict[str, dict[str, list[object]]] = {}
        for pool in report.pools.values():
            told[pool.name] = {}
            for server in pool.servers:
                rates = recent.rates(("server", pool.name, server.name), "ten_seconds")
                told[pool.name][server.name] = [
                    server.state,
                    server.in_rotation,
                    round(server.effective_weight, 3),
                    server.inflight,
                    server.idle,
                    round(rates.requests, 2) if rates is not None else None,
                    round(rates.errors_5xx + rates.lost + rates.late, 2) if rates is not None else None,
                    round(server.latency, 6) if server.latency is not None else None,
                ]
        return told


def _few(point: dict[str, float | None]) -> dict[str, float | None]:
    return {name: point[name] for name in ("requests", "errors_4xx", "errors_5xx", "in_flight", "p99") if name in point}


def _told(one: Happening) -> dict[str, object]:
    at = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**one._asdict(), "at": at}


def _revision(number: int, author: str, cause: str, changes: int) -> str:
    what = {
        "start": "is in force since the start",
        "reload": "was read from the file",
        "change": f"came into force by {author}",
        "rollback": f"is an older one again, by {author}",
        "undo": "was undone",
        "save": f"was saved into the file by {author}",
    }.get(cause, "came into force")
    count = f", {changes} {'change' if changes == 1 else 'changes'}" if changes else ""
    return f"configuration {number} {what}{count}"
