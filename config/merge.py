"""Defaults under pools and pools under routes, in the tree, so that each value keeps its place."""

from __future__ import annotations

from collections.abc import Iterable

from config.nodes import Items, Node, Scalar, Table, plain
from config.problems import Problem, listed

INHERITED = ("compress", "refuse_scanners", "security_headers")
"""What stands at the top for all routes."""
POOL_PARTS = ("timeouts", "retries", "health", "connections", "headers")


BY_ITSELF = ("redirect", "respond")
"""Routes with these send nothing to a server."""


def merged(tree: Table, defaults: Table) -> tuple[Table, list[Problem]]:
    """A widened tree with `defaults -> pool -> route` merged, and the splits whose pools do not agree.

    What is `INHERITED` from the top is under that of the routes.

    What is merged already merges to itself, so that a configuration that was shown can be loaded again.
    """
    problems: list[Problem] = []
    pools = tree.table("pools")
    for name, pool in pools.entries.items():
        if isinstance(pool, Table):
            pools = pools.having(name, _pool(pool, defaults))
    routes = tree.table("routes")
    for name, route in routes.entries.items():
        if isinstance(route, Table):
            route = _route(route, pools, defaults, problems)
            for part in INHERITED:
                route = _inheriting(route, part, tree.entries.get(part))
            routes = routes.having(name, route)
    tree = tree.having("pools", pools).having("routes", routes)
    for part in ("limits", "timeouts"):
        if part in defaults.entries:
            tree = tree.having(part, defaults.entries[part])
    return tree, problems


def _pool(pool: Table, defaults: Table) -> Table:
    for part in POOL_PARTS:
        if part in defaults.entries:
            pool = pool.having(part, over(defaults.table(part), pool.table(part), part))
    return pool


def _route(route: Table, pools: Table, defaults: Table, problems: list[Problem]) -> Table:
    if "limits" in defaults.entries:
        route = route.having("limits", over(defaults.table("limits"), route.table("limits")))
    below = _below(route, pools) or [defaults]
    for part in ("headers", "timeouts", "retries"):
        written = route.entries.get(part)
        # Without timeouts of its own a route has those of whichever pool a request goes to.
        if part != "headers" and not isinstance(written, Table):
            continue
        base = below[0].table(part)
        if any(plain(other.table(part)) != plain(base) for other in below):
            place = route.entries["split"].place
            message = f"must split between pools with the same {part}: {listed(_split(route), 'and')} differ"
            problems.append(Problem.at(place, message))
        if base.entries:
            route = route.having(part, over(base, route.table(part), part))
    return route


def _inheriting(route: Table, part: str, base: Node | None) -> Table:
    """The route with what the top says of a part, unless it says that there is none.

    One that answers by itself has nothing to compress.
    """
    written = route.entries.get(part)
    if not isinstance(base, Table) or (part == "compress" and not route.entries.keys().isdisjoint(BY_ITSELF)):
        return route
    if written is None:
        return route.having(part, base)
    return route.having(part, over(base, written)) if isinstance(written, Table) else route


def _below(route: Table, pools: Table) -> list[Table]:
    """The pools that a route sends requests to, as far as they exist."""
    pool = route.entries.get("pool")
    names = [pool.value] if isinstance(pool, Scalar) else _split(route)
    found = [pools.entries.get(name) for name in names if isinstance(name, str)]
    return [table for table in found if isinstance(table, Table)]


def _split(route: Table) -> list[str]:
    return list(route.table("split").entries)


def over(base: Table, upper: Table, part: str = "") -> Table:
    """`upper` laid over `base`, key by key; tables are merged and everything else is replaced."""
    entries = dict(base.entries)
    for key, node in upper.entries.items():
        under = base.entries.get(key)
        if isinstance(node, Table) and isinstance(under, Table):
            edits = part == "headers" and key in ("request", "response")
            entries[key] = _edits(under, node) if edits else over(under, node)
        else:
            entries[key] = node
    return Table(upper.place if upper.entries else base.place, entries, {**base.keys, **upper.keys})


def _edits(base: Table, upper: Table) -> Table:
    """Header edits one after the other: what `upper` removes or sets, `base` has not set or added."""
    removed = {_text(item) for item in _items(upper, "remove")}
    replaced = removed | {name.lower() for name in upper.table("set").entries}
    kept_set = _lacking(base.table("set"), replaced)
    kept_add = _lacking(base.table("add"), replaced | {name.lower() for name in upper.table("add").entries})
    names = {_text(item): item for item in (*_items(base, "remove"), *_items(upper, "remove"))}
    result = Table(upper.place)
    if names:
        result = result.having("remove", Items(upper.place, tuple(names.values())))
    for key, kept in (("set", kept_set), ("add", kept_add)):
        if kept.entries or upper.table(key).entries:
            result = result.having(key, over(kept, upper.table(key)))
    return result


def _items(edits: Table, key: str) -> Iterable[Node]:
    node = edits.entries.get(key)
    return node.items if isinstance(node, Items) else ()


def _text(node: Node) -> str:
    return node.text.lower() if isinstance(node, Scalar) else ""


def _lacking(table: Table, names: set[str]) -> Table:
    kept = {name: node for name, node in table.entries.items() if name.lower() not in names}
    return Table(table.place, kept, table.keys)
