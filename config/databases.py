"""Databases as an operator may write them: those whose figures are told beside the traffic's."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.pool import Model, Positive, ServerTls
from config.values import Duration


class Database(Model):
    """A PostgreSQL or a Redis that is looked at in the background, and only read."""

    url: str = ""
    """postgresql://user:password@host:5432/name, or as in `redis.url`; empty: it is not looked at."""
    interval: Annotated[Duration, Field(ge=1.0)] = 15.0
    """From one look to the next."""
    timeout: Positive = 5.0
    """What one look may take, of which single statements of it have a part."""
    tables: Annotated[int, Field(ge=0, le=100)] = 20
    """How many of the largest tables are told. 0: none."""
    statements: Annotated[int, Field(ge=0, le=100)] = 20
    """How many of the statements that took most time are told, where pg_stat_statements is there. 0: none."""
    tls: ServerTls = ServerTls()
    """For Redis, as in `redis.tls`. PostgreSQL is told in its URL: sslmode, sslrootcert."""
