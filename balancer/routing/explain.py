"""Why a request takes the route that it takes, and why no other one."""

from __future__ import annotations

from collections.abc import Mapping

from balancer.http1.head import RequestHead
from balancer.preview import RouteAnswer, RouteVerdict
from balancer.routing.table import Route, RouteTable, TwoWays
from config.schema import Match


def explain(table: RouteTable, matches: Mapping[str, Match], head: RequestHead) -> RouteAnswer:
    """What the table says of a request, and what each route's own conditions say of it.

    Conditions are asked one at a time, each as a table of one route: so by the very code that requests are led by.
    """
    verdicts: list[RouteVerdict] = []
    try:
        found = table.match(head)
    except TwoWays:
        return RouteAnswer(None, "refused with 400: its path can be read in ways that lead to different routes", ())
    for name, match in matches.items():
        if found is not None and name == found.name:
            continue
        failing = _failing(match, head)
        if failing is None:
            verdicts.append(RouteVerdict(name, "fits too, and is less specific"))
        else:
            verdicts.append(RouteVerdict(name, failing))
    if found is None:
        return RouteAnswer(None, "answered with 404: no route takes it", tuple(verdicts))
    rivals = sum(verdict.reason.startswith("fits") for verdict in verdicts)
    reason = "the most specific of those that fit" if rivals else "the only one that fits"
    return RouteAnswer(found.name, reason, tuple(verdicts))


def _failing(match: Match, head: RequestHead) -> str | None:
    """The first condition that the request does not meet; None: it meets all."""
    host, path = head.host.decode("latin-1"), head.target.decode("latin-1")
    if match.host and not _takes(Match(host=match.host), head):
        return f"its host is {host or 'missing'}, not {' or '.join(match.host)}"
    if not _takes(Match(path=match.path), head):
        return f"its path {path.partition('?')[0]} is not {match.path}"
    if match.methods and not _takes(Match(methods=match.methods), head):
        return f"its method is {head.method.decode('ascii')}, not {' or '.join(match.methods)}"
    for name, wanted in match.headers.items():
        if not _takes(Match(headers={name: wanted}), head):
            # Not which value that is: it may be a secret between whoever sends it and this route.
            return f"it has no {name}" if wanted == "*" else f"its {name} is not the one asked for"
    return None


def _takes(match: Match, head: RequestHead) -> bool:
    route = Route.__new__(Route)  # nobody looks at it but for these
    route.name, route.cache, route.closed, route.lanes, route.rewrite = "", None, False, {}, None
    try:
        return RouteTable({"": (route, match)}, folds=False).match(head) is not None
    except TwoWays:
        return True
