"""The short forms at the top of a file, what the environment says over it, and what goes without saying."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from config.cdn_environment import CDN_VARIABLES, with_variables
from config.cdn_routes import FILES, IMAGES
from config.nodes import Items, Node, Scalar, Table
from config.problems import Place, Problem, listed
from config.schema import Config

VARIABLES: Mapping[str, str] = {
    "LOAD_BALANCER_LISTEN": "listeners.main.address",
    "LOAD_BALANCER_SERVERS": "pools.default.servers",
    "LOAD_BALANCER_STRATEGY": "pools.default.strategy",
    "BALANCER_ADMIN_LISTEN": "admin.listen",
    "ADMIN_API_KEY": "admin.keys",
    "REDIS_URL": "redis.url",
    "ANALYTICS_DB_URL": "analytics.database.url",
    "DATABASE_URL": "databases.app.url",
    "LOG_LEVEL": "logs.level",
    **CDN_VARIABLES,
}
"""What a set variable says, over the file. An empty one says nothing."""

LISTEN = ":8080"

TOP: Mapping[str, tuple[str, str, str]] = {
    "listen": ("listeners", "main", "address"),
    "servers": ("pools", "default", "servers"),
    "strategy": ("pools", "default", "strategy"),
}
"""Short keys at the top, and what they stand for."""

KNOWN = frozenset({*TOP, "defaults", *Config.model_fields} - {"limits", "timeouts"})
"""The keys at the top of a file."""


class Folding:
    """Puts short top-level keys, variables and defaults where the schema has them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[Problem] = []

    def tree(self, tree: Table) -> Table:
        for short, (group, name, key) in TOP.items():
            if short in tree.entries:
                tree = self._stands_for(tree, short, group, name, key)
        tree = self._named(tree, "LOAD_BALANCER_LISTEN", "listeners", "main", "address")
        tree = self._named(tree, "LOAD_BALANCER_SERVERS", "pools", "default", "servers")
        tree = self._named(tree, "LOAD_BALANCER_STRATEGY", "pools", "default", "strategy")
        tree = self._set(tree, "BALANCER_ADMIN_LISTEN", "admin", "listen")
        tree = self._set(tree, "REDIS_URL", "redis", "url")
        tree = self._database(tree)
        tree = self._app_database(tree)
        tree = self._set(tree, "LOG_LEVEL", "logs", "level")
        tree = with_variables(tree, self.environ, _text, self.problems)
        return self._route(_listener(self._key(tree)))

    def _stands_for(self, tree: Table, short: str, group: str, name: str, key: str) -> Table:
        """`servers: [...]` at the top as `pools: {default: {servers: [...]}}`."""
        node, written = tree.entries[short], _group(tree, group)
        tree = tree.lacking(short)
        if isinstance(node, Scalar) and node.value is None and not node.broken:
            return tree
        if written is None:
            return tree  # the schema complains of it
        target = _long(written.entries.get(name), group, node.place)
        if key in target.entries:
            line = target.entries[key].place.line
            message = f"stands for {group}.{name}.{key}, which line {line} has too: keep one of them"
            self.problems.append(Problem.at(tree.keys.get(short, node.place), message))
            return tree
        return tree.having(group, written.having(name, target.having(key, node)))

    def _variable(self, name: str) -> Scalar | None:
        value = self.environ.get(name, "").strip()
        return Scalar(Place(name, path=VARIABLES[name]), value, value) if value else None

    def _named(self, tree: Table, variable: str, group: str, name: str, key: str) -> Table:
        """A variable about the listener or pool that needs no name: the one of that name, or the only one."""
        node, written = self._variable(variable), _group(tree, group)
        if node is None or written is None:
            return tree
        if written.entries and name not in written.entries:
            if len(written.entries) > 1:
                message = f"means {group}.{name}, but the file has {listed(written.entries, 'and')}"
                self.problems.append(Problem.at(node.place, message))
                return tree
            name = next(iter(written.entries))
            node = Scalar(node.place.child(f"{group}.{name}.{key}"), node.value, node.text)
        target = _long(written.entries.get(name), group, node.place.child(f"{group}.{name}"))
        return tree.having(group, written.having(name, target.having(key, node)))

    def _set(self, tree: Table, variable: str, group: str, key: str) -> Table:
        node, written = self._variable(variable), tree.entries.get(group)
        if node is None or (isinstance(written, Scalar) and written.broken):
            return tree
        if variable == "LOG_LEVEL":
            level = node.text.lower()
            node = Scalar(node.place, {"warn": "warning"}.get(level, level), node.text)
        whole = written if isinstance(written, Table) else Table(node.place.child(group))
        return tree.having(group, whole.having(key, node))

    def _database(self, tree: Table) -> Table:
        """ANALYTICS_DB_URL, unless the file says where the app's database is."""
        node, written = self._variable("ANALYTICS_DB_URL"), tree.entries.get("analytics")
        if node is None or (isinstance(written, Scalar) and written.value is not None):
            return tree
        whole = written if isinstance(written, Table) else Table(node.place.child("analytics"))
        database = whole.entries.get("database")
        if isinstance(database, Scalar) and database.value is not None:
            return tree
        inner = database if isinstance(database, Table) else Table(node.place.child("analytics.database"))
        return tree.having("analytics", whole.having("database", inner.having("url", node)))

    def _app_database(self, tree: Table) -> Table:
        """DATABASE_URL as the database that is called app."""
        node, written = self._variable("DATABASE_URL"), _group(tree, "databases")
        if node is None or written is None:
            return tree
        app = written.entries.get("app")
        whole = app if isinstance(app, Table) else Table(node.place.child("databases.app"))
        return tree.having("databases", written.having("app", whole.having("url", node)))

    def _key(self, tree: Table) -> Table:
        """ADMIN_API_KEY as one more key of the admin API. Only its hash goes further than this function."""
        node, admin = self._variable("ADMIN_API_KEY"), tree.entries.get("admin")
        if node is None:
            return tree
        place = node.place
        if not all("!" <= char <= "~" for char in node.text):
            message = "must be visible ASCII without spaces, as it travels in a header field"
            self.problems.append(Problem.at(place, message))
            return tree
        if isinstance(admin, Scalar):  # the short form of its address
            admin = Table(admin.place, {} if admin.value is None else {"listen": admin})
        whole = admin if isinstance(admin, Table) else Table(place.child("admin"))
        keys = whole.entries.get("keys")
        digest = hashlib.sha256(node.text.encode()).hexdigest()
        said = {"id": "ADMIN_API_KEY", "hash": f"sha256:{digest}", "role": "admin"}
        entry = Table(place, {name: Scalar(place, value, value) for name, value in said.items()})
        if not isinstance(keys, Items):
            keys = Items(place) if keys is None or isinstance(keys, Scalar) else Items(keys.place, (keys,))
        return tree.having("admin", whole.having("keys", Items(keys.place, (*keys.items, entry))))

    def _route(self, tree: Table) -> Table:
        """The one route of a file that writes none but the CDN's: everything goes to the only pool."""
        pools = _group(tree, "pools")
        if pools is None:
            return tree
        tree = tree.having("pools", pools)
        place = _nowhere(tree, "routes.default.pool")
        written, has_cdn = tree.entries.get("routes"), _is_on(tree.entries.get("cdn"))
        routes = Table(place)
        if has_cdn and isinstance(written, Table) and written.entries.keys() <= {FILES, IMAGES}:
            routes = written
        elif not _is_nothing(written):
            return tree
        if len(pools.entries) == 1:
            pool = next(iter(pools.entries))
            routes = routes.having("default", Table(place, {"pool": Scalar(place, pool, pool)}))
        elif pools.entries:
            message = f"must say which pool takes which requests: there are {listed(pools.entries, 'and')}"
            self.problems.append(Problem.at(_nowhere(tree, "routes"), message))
        elif not has_cdn and not tree.entries.keys() - KNOWN:  # else one of them may well be a misspelt `servers`
            message = "must name a server: `servers: [http://10.0.0.11:8000]`, or LOAD_BALANCER_SERVERS"
            self.problems.append(Problem.at(_nowhere(tree, "servers"), message))
        return tree.having("routes", routes)


_LONGEST = 64 * 1024
"""Bytes of a file that a variable names."""


def _text(name: str) -> str:
    with Path(name).open("rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise ValueError("it has more than 64 KiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


def _listener(tree: Table) -> Table:
    """The listener of a file that writes none."""
    if not _is_nothing(tree.entries.get("listeners")):
        return tree
    place = _nowhere(tree, "listeners.main.address")
    main = Table(place, {"address": Scalar(place, LISTEN, LISTEN)})
    return tree.having("listeners", Table(place, {"main": main}))


def _long(node: Node | None, group: str, place: Place) -> Table:
    """A listener or pool as a table, also when it is in its short form or not there yet."""
    if isinstance(node, Table):
        return node
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return Table(place)
    return Table(node.place, {"address" if group == "listeners" else "servers": node})


def _nowhere(tree: Table, path: str) -> Place:
    """The place of what is in no line of the file."""
    return Place(tree.place.file, path=path)


def _is_nothing(node: Node | None) -> bool:
    """Whether a key may as well not be there."""
    if isinstance(node, Scalar):
        return node.value is None and not node.broken
    return node is None or (isinstance(node, Table) and not node.entries)


def _is_on(cdn: Node | None) -> bool:
    """Whether there is a CDN, which has routes of its own."""
    return not _is_nothing(cdn) and not (isinstance(cdn, Scalar) and cdn.value is False)


def _group(tree: Table, group: str) -> Table | None:
    """The table under a top-level key, empty when there is nothing; None when there is something else."""
    node = tree.entries.get(group)
    if isinstance(node, Table):
        return node
    return Table(_nowhere(tree, group)) if _is_nothing(node) else None
