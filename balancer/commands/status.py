"""`balancer status`: how the balancer and every server of it are doing, once or second by second."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime

from balancer.commands.client import Client
from balancer.commands.console import Console
from balancer.commands.outcome import OK, UNREACHABLE, Failure
from balancer.commands.status_page import Sample, line, page
from balancer.commands.table import rendered

STATUS = ("api", "infrastructure", "load-balancer", "status")
METRICS = ("api", "monitoring", "metrics")
PACE = 1.0
"""Seconds from one look to the next."""
_HOME, _REST_OF_LINE, _REST_OF_PAGE = "\x1b[H", "\x1b[K", "\x1b[J"

Pause = Callable[[float], None]


def status(console: Console, client: Client, as_json: bool) -> int:
    if as_json:
        console.out(json.dumps(client.get(*STATUS).fields, indent=2))
    else:
        size = console.size
        console.out("\n".join(_page(console, client, _sample(client), size[0] if size else None)))
    return OK


def watch(console: Console, client: Client, as_json: bool, pause: Pause = time.sleep) -> int:
    """A page that is drawn anew in place each second; where that cannot be, a line a second.

    Goes on while the balancer restarts, but does not begin without one. Ends by Ctrl-C.
    """
    redraws = console.redraws and not as_json
    seen = False
    try:
        while True:
            begun = time.monotonic()
            try:
                if as_json:
                    console.out(json.dumps(client.get(*STATUS).fields, separators=(",", ":")))
                elif redraws:
                    _draw(console, client, first=not seen)
                else:
                    console.out(f"{datetime.now():%H:%M:%S}  {line(_sample(client))}")
                seen = True
            except Failure as failure:
                if failure.code != UNREACHABLE or not seen:
                    raise
                if redraws:
                    console.draw(_HOME + _REST_OF_LINE)
                console.say(f"{datetime.now():%H:%M:%S}  {failure}")
            pause(max(0.0, begun + PACE - time.monotonic()))
    except KeyboardInterrupt:
        return OK


def _sample(client: Client) -> Sample:
    return Sample(client.get(*STATUS), client.get(*METRICS))


def _page(console: Console, client: Client, sample: Sample, width: int | None) -> list[str]:
    return [rendered(part, width, console.colours) for part in page(sample, client.admin.url, width)]


def _draw(console: Console, client: Client, first: bool) -> None:
    """Over what was there, so that nothing flickers; what is left of a longer page is wiped."""
    sample = _sample(client)
    columns, lines = console.size or (80, 24)
    shown = _page(console, client, sample, columns)
    if len(shown) > lines - 1:
        hidden = len(shown) - (lines - 2)
        shown = [
            *shown[: lines - 2],
            f"({hidden} more lines: make the window higher, or use `balancer status`)"[:columns],
        ]
    start = _HOME + _REST_OF_PAGE if first else _HOME
    console.draw(start + "".join(f"{text}{_REST_OF_LINE}\n" for text in shown) + _REST_OF_PAGE)
