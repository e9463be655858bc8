"""/api/monitoring/database: how the databases are that the app and the balancer use."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from api.figures import redis_figures
from api.operation import Call, Model, Operation
from api.overview import DatabaseFigures
from api.services import Services
from balancer.databases.redis import details
from balancer.databases.service import Databases, RedisWatch, Watch, redis_problems
from balancer.telemetry.database_figures import (
    DatabaseProblem,
    PostgresFigures,
    PostgresSession,
    PostgresStatement,
    RedisDetails,
)

Silenced = TypeVar("Silenced", PostgresSession, PostgresStatement)
DATABASE = "/api/monitoring/database"


class DatabasesQuery(Model):
    """How much to tell."""

    fresh: Literal["true", "false"] = "false"
    """true: look at all of them now, as far as they answer within two seconds."""
    tables: Annotated[int, Field(ge=0, le=100)] = 10
    statements: Annotated[int, Field(ge=0, le=100)] = 10


class RedisAnswer(DatabaseFigures):
    """A Redis or Valkey."""

    details: RedisDetails | None = None
    """null while it is away."""
    problems: list[DatabaseProblem] = Field(default_factory=list)


class DatabasesAnswer(Model):
    """Every database that is looked at, in the background; nothing here waits for one."""

    at: datetime
    databases: dict[str, PostgresFigures | RedisAnswer]
    """By name; `redis` is the balancer's own."""


class DatabaseViews:
    """What is told of databases."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def operations(self) -> tuple[Operation, ...]:
        return (Operation("GET", DATABASE, "viewer", self.databases, {200: "How they are."}),)

    async def databases(self, call: Call, query: DatabasesQuery) -> DatabasesAnswer:
        """PostgreSQL and Redis by their own figures, with what is wrong and what to do.

        Texts of queries are only for admins.
        """
        services = self._services
        if query.fresh == "true":
            await services.databases.refresh()
        report = await services.control.report()
        own = redis_figures(services, report)
        texts = call.caller is not None and call.caller.may("admin")
        found: dict[str, PostgresFigures | RedisAnswer] = {
            "redis": RedisAnswer(
                **dict(own),
                details=details(services.redis.state, services.redis.before),
                problems=redis_problems(services.redis),
            )
        }
        for name, watch in services.databases.watches.items():
            found[name] = told(watch, query.tables, query.statements, texts=texts)
        return DatabasesAnswer(at=services.wall(), databases=found)


def in_metrics(databases: Databases) -> dict[str, DatabaseFigures | PostgresFigures]:
    """For the answer that has everything: without what only whoever looks for it needs."""
    return {name: told(watch, 0, 0, texts=False) for name, watch in databases.watches.items()}


def told(watch: Watch, tables: int, statements: int, *, texts: bool) -> PostgresFigures | RedisAnswer:
    """One of them, as it was seen last."""
    if isinstance(watch, RedisWatch):
        state = watch.link.state
        return RedisAnswer(
            ok=state.ok,
            latency=state.latency,
            reason=state.reason,
            checked=state.checked,
            info=dict(state.digest),
            details=details(state, watch.link.before),
            problems=redis_problems(watch.link),
        )
    figures = watch.figures
    changed: dict[str, object] = {}
    if figures.tables is not None:
        changed["tables"] = figures.tables.model_copy(update={"items": figures.tables.items[:tables]})
    if figures.statements is not None:
        top = figures.statements.top[:statements]
        changed["statements"] = figures.statements.model_copy(update={"top": [_silent(one, texts) for one in top]})
    if not texts:
        changed["sessions"] = [_silent(one, texts) for one in figures.sessions]
        if figures.locks is not None:
            blocked = [
                one.model_copy(
                    update={
                        "session": _silent(one.session, texts),
                        "blocked_by": [_silent(other, texts) for other in one.blocked_by],
                    }
                )
                for one in figures.locks.blocked
            ]
            changed["locks"] = figures.locks.model_copy(update={"blocked": blocked})
    return figures.model_copy(update=changed)


def _silent(one: Silenced, texts: bool) -> Silenced:
    """Without the text of a query, which may have anything in it."""
    return one if texts else one.model_copy(update={"query": None})
