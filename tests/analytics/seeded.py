"""A synthetic community in a real PostgreSQL: the documented schema, filled the same way each time."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from tests.postgres_server import PostgresServer, postgres

HERE = Path(__file__).parent
SMALL = {"users": 600, "communities": 20, "posts": 900, "comments": 3000, "reactions": 4000, "reports": 150}
FULL = {"users": 20000, "communities": 150, "posts": 30000, "comments": 120000, "reactions": 200000, "reports": 1200}


def scripts(**sizes: int) -> str:
    """schema.sql and seed.sql as statements, with what psql would put into them."""
    seed = (HERE / "seed.sql").read_text()
    seed = "\n".join(line for line in seed.splitlines() if not line.startswith(("\\", "--")))
    values = {"t0": "'2026-01-01 00:00:00+00'", **{name: str(size) for name, size in sizes.items()}}
    filled = re.sub(r"(?<![:\w]):([a-z]\w*)", lambda found: values.get(found[1], found[0]), seed)
    return f"{(HERE / 'schema.sql').read_text()};\n{filled}"


@cache
def template() -> PostgresServer:
    """The server, with a database `community`. Copies are made of another one, which nobody is connected to."""
    server = postgres()
    server.database("original")
    server.run(scripts(**SMALL), "original")
    server.run("CREATE ROLE reader LOGIN PASSWORD 'a-secret-of-the-reader'")
    server.run("GRANT USAGE ON SCHEMA app TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA app TO reader", "original")
    server.database("community", "original")
    return server


_count = 0


def copy() -> str:
    """A database of one's own; its name."""
    global _count
    _count += 1
    name = f"copy{_count}"
    template().database(name, "original")
    return name
