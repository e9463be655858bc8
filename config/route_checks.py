"""Routes: exactly one thing to do, pools that exist, templates that can be filled in, and no two that tie."""

from __future__ import annotations

import re

from config.cdn_routes import FILES, IMAGES
from config.field_checks import matched_fields, message_fields
from config.findings import Findings
from config.patterns import captures, is_host, path_fault, skeleton, template_fault
from config.problems import Path, listed, nearest
from config.schema import Config, Match, Route

OWN = {FILES: "cdn.local.path", IMAGES: "cdn.images.path"}
"""The routes of the CDN, and what says where they are."""
_ACTIONS = ("pool", "split", "redirect", "respond")


def check_routes(config: Config, found: Findings) -> None:
    for name, route in config.routes.items():
        path = ("routes", name)
        _check_action(route, path, found)
        _check_match(route.match, (*path, "match"), found)
        _check_pools(route, path, found)
        _check_templates(route, path, found)
        if route.respond is not None:
            message_fields(route.respond.headers, (*path, "respond", "headers"), found, host=False)
            _check_type(route.respond.content_type, (*path, "respond", "content_type"), found)
        if route.maintenance is not None:
            _check_type(route.maintenance.content_type, (*path, "maintenance", "content_type"), found)
    _check_ties(config, found)


def _check_action(route: Route, path: Path, found: Findings) -> None:
    given = [action for action in _ACTIONS if getattr(route, action) is not None]
    lost = [action for action in _ACTIONS if action not in given and found.lost((*path, action))]
    if len(given) > 1:
        found.add(path, f"must have only one of {listed(_ACTIONS)}, not {listed(given, 'and')}")
    elif not given and not lost:
        found.add(path, f"must have one of {listed(_ACTIONS)}")
    sends = route.pool is not None or route.split is not None
    if given and not sends and route.rewrite is not None:
        found.add((*path, "rewrite"), f"must go with pool or split; a {given[0]} sends nothing to a server")
    if given and route.split is None and route.sticky is not None:
        message = "must go with a split, to keep a client in its lane; for one pool write it in pools.NAME.sticky"
        found.add((*path, "sticky"), message)


def _check_match(match: Match, path: Path, found: Findings) -> None:
    for position, host in enumerate(match.host):
        if not is_host(host):
            message = "must be a host without port, such as example.com or *.example.com"
            found.add((*path, "host", position), message, came=True)
    fault = path_fault(match.path, found.outside((*path, "path")))
    if fault is not None:
        found.add((*path, "path"), fault, came=True)
    matched_fields(match.headers, (*path, "headers"), found)


def _check_pools(route: Route, path: Path, found: Findings) -> None:
    pools = found.written("pools")
    named: list[tuple[str, Path]] = [(route.pool, (*path, "pool"))] if route.pool is not None else []
    named += [(name, (*path, "split", name)) for name in route.split or ()]
    for name, place in named:
        if name not in pools:
            close = nearest(name, pools)
            there = f"there is {listed(pools, 'and')}" if pools else "there is none"
            hint = f'did you mean "{close}"?' if close else there
            if name == route.pool:
                found.add(place, "must name a pool", came=True, hint=hint)
            else:  # the key itself, which no variable makes
                found.add(place, f'must name a pool, not "{name}"', hint=hint)
    if route.split is not None and not any(route.split.values()) and not found.unseen((*path, "split")):
        found.add((*path, "split"), "must give at least one pool a share, such as {app: 95%, next: 5%}")


def _check_templates(route: Route, path: Path, found: Findings) -> None:
    if path_fault(route.match.path) is not None or found.unseen((*path, "match", "path")):
        return
    names = captures(route.match.path)
    secret = found.outside((*path, "match", "path"))
    if route.redirect is not None:
        to = route.redirect.to
        place = (*path, "redirect", "to")
        fault = template_fault(to, (*names, "host", "path", "query"), secret or found.outside(place))
        if fault is None and not re.match(r"https?://|/", to):
            fault = "must begin with https://, http:// or /"
        if fault is not None:
            found.add(place, fault, came=True)
    rewrite = route.rewrite
    if rewrite is None:
        return
    if rewrite.path is not None and (rewrite.strip_prefix is not None or rewrite.add_prefix is not None):
        found.add((*path, "rewrite"), "must have either a whole path, or a prefix to strip or add")
    for key in ("strip_prefix", "add_prefix", "path"):
        text = getattr(rewrite, key)
        if text is None:
            continue
        place = (*path, "rewrite", key)
        fault = template_fault(text, names if key == "path" else (), secret or found.outside(place))
        if fault is None and not text.startswith("/"):
            fault = "must begin with /"
        if fault is not None:
            found.add(place, fault, came=True)


def _check_type(content_type: str, path: Path, found: Findings) -> None:
    if not re.fullmatch(r"[!-~]+/[!-~]+( ?; ?[ -~]+)?", content_type):
        found.add(path, "must be a media type such as text/html; charset=utf-8", came=True)


def _told_of_cdn(name: str, other: str, found: Findings) -> None:
    """A route ties with one of the CDN's, which no line of the file says."""
    own, setting = (name, OWN[name]) if name in OWN else (other, OWN[other])
    written = other if own == name else name
    if written not in OWN:  # else `check_cdn` tells
        message = f"must match something else than {setting}, below which `cdn` answers: give one of them another path"
        found.add(("routes", written), message)


def _check_ties(config: Config, found: Findings) -> None:
    """Two routes of which none is more specific would take turns at the whim of their order in the file."""
    alike: dict[object, list[tuple[str, frozenset[str]]]] = {}
    for name, route in config.routes.items():
        if found.unseen(("routes", name, "match")):
            continue
        match = route.match
        headers = frozenset((field.lower(), value) for field, value in match.headers.items())
        for host in {host.lower() for host in match.host} or {""}:
            rivals = alike.setdefault((host, skeleton(match.path), headers), [])
            for other, methods in rivals:
                common = methods & match.methods
                if common or not (methods or match.methods):
                    if config.cdn is not None and (name in OWN or other in OWN):
                        _told_of_cdn(name, other, found)
                        break
                    places: list[Path] = [("routes", one, "match", "methods") for one in (name, other)]
                    shown = common if not any(map(found.outside, places)) else ()
                    what = f" for {listed(sorted(shown), 'and')}" if shown else ""
                    message = f"must match something else than {found.spot(('routes', other))}{what}: they tie"
                    if found.place(("routes", other)).path == f"routes.{other}.pool":  # the one that no line says
                        message += ". It goes without saying as the file has no `routes`, and takes everything"
                    found.add(("routes", name), message)
                    break
            rivals.append((name, match.methods))
