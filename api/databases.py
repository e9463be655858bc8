"""/api/monitoring/database: how the databases are that the app and the balancer use."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.figures import redis_figures
from api.operation import Call, Model, Operation
from api.overview import DatabaseFigures
from api.services import Services
from balancer.databases.figures import shortened, without_queries
from balancer.databases.redis import details
from balancer.databases.service import Databases, RedisWatch, Watch, redis_problems
from balancer.telemetry.database_figures import DatabaseProblem, PostgresFigures, RedisDetails

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
    figures = shortened(watch.figures, tables, statements)
    return figures if texts else without_queries(figures)
