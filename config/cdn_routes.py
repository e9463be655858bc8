"""What a configured CDN adds to the rest: a pool that is served by this process, and the routes to it.

An operator may write more about `routes.cdn-files`, `routes.cdn-images` and `pools.cdn`; it is laid over what is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from config.addresses import INTERNAL
from config.cdn import Cdn
from config.merge import over
from config.nodes import Table, tree_of
from config.problems import Path

POOL: Final = "cdn"
SERVER: Final = "edge"
URL: Final = INTERNAL + "cdn"
FILES: Final = "cdn-files"
IMAGES: Final = "cdn-images"


def with_cdn(tree: Table, cdn: Cdn | None) -> Table:
    """The tree with the pool and the routes of a CDN, where there is one that needs them."""
    if cdn is None:
        return tree
    routes = _routes(cdn)
    if not routes:
        return tree
    pool = {
        "servers": {SERVER: {"url": URL}},
        "health": {"active": None, "passive": None, "start": "up"},
        "retries": {"attempts": 1},
        # They say nothing to it, and those of the site next door can be long. Who asks it has to know.
        "headers": {"request": {"remove": ["Authorization", "Cookie"]}, "forwarded": "x-forwarded"},
    }
    if FILES in routes:
        # No query changes a file, and with each one it would be stored once more.
        tree = tree.having("cache", _under(tree.table("cache"), "rules", {FILES: {"ignore_query": ["*"]}}, ("cache",)))
    if cdn.images is not None:
        rule = {"key": {"images": True}}  # one of each format, and not one for each browser
        tree = tree.having("cache", _under(tree.table("cache"), "rules", {IMAGES: rule}, ("cache",)))
    return _under(_under(tree, "routes", routes), "pools", {POOL: pool})


def _routes(cdn: Cdn) -> dict[str, object]:
    hosts = [host.rpartition(":")[0] or host for host in cdn.hosts] if cdn.provider == "local" else []
    found: dict[str, object] = {}
    if cdn.provider == "local":
        found[FILES] = _route(cdn.local.path, hosts, cache=FILES)
    if cdn.images is not None:
        found[IMAGES] = _route(cdn.images.path, hosts, cache=IMAGES)
    return found


def _route(path: str, hosts: list[str], cache: bool | str) -> dict[str, object]:
    return {"match": {"host": hosts, "path": f"{path}**"}, "pool": POOL, "cache": cache}


def _guarded(pictures: Table, files: Table) -> Table:
    """The route of pictures behind what its operator has written before the files: they are made of those."""
    for part in ("access", "auth"):
        if part in files.entries:
            pictures = pictures.having(part, files.entries[part])
    return pictures


def _under(tree: Table, group: str, members: Mapping[str, object], above: Path = ()) -> Table:
    """The tree with what is derived under what was written."""
    written = tree.table(group)
    for name, member in members.items():
        derived = tree_of(member, tree.place.file, (*above, group, name))
        assert isinstance(derived, Table)  # it is made of a mapping
        if name == IMAGES and group == "routes":
            derived = _guarded(derived, tree.table("routes").table(FILES))
        written = written.having(name, over(derived, written.table(name)) if name in written.entries else derived)
    return tree.having(group, written)
