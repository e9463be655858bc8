"""Runs one copy of the site: `python -m examples.community --port 3001 --name app-1 --database PATH`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path

from aiohttp import web
from aiohttp.web_log import AccessLogger

from examples.community.chaos import MODES
from examples.community.database import Database, WrongVersion, prepare
from examples.community.site import site

GRACE = 10.0
"""Seconds that requests under way get to finish after SIGTERM."""
KEEP_ALIVE = 90.0
"""Longer than a proxy in front keeps its idle connections, so that the proxy is the one who closes them."""


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    level = logging.INFO if given.access_log else logging.WARNING
    logging.basicConfig(format=f"{given.name}: %(message)s", level=level)
    try:
        prepare(given.database)
    except (WrongVersion, OSError, sqlite3.Error) as error:
        print(f"{given.name}: cannot use the database {given.database}: {error}", file=sys.stderr)
        return 1
    with suppress(KeyboardInterrupt):  # only before serve() has taken the signal over
        return asyncio.run(serve(given))
    return 0


async def serve(given: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, then finish what is under way."""
    database = Database(given.database)
    app = site(given.name, database, given.chaos, given.chaos_rate)
    runner = web.AppRunner(
        app,
        access_log=logging.getLogger("community") if given.access_log else None,
        access_log_class=AccessLogger,
        access_log_format='%a "%r" %s %b %Dus',
        keepalive_timeout=KEEP_ALIVE,
        shutdown_timeout=GRACE,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await web.TCPSite(runner, given.host, given.port).start()
    except OSError as error:
        place = f"{given.host}:{given.port}"
        print(f"{given.name}: cannot listen on {place}: {error}; choose another with --port", file=sys.stderr)
        status = 1
    else:
        print(f"{given.name}: http://{given.host}:{runner.addresses[0][1]}", flush=True)
        await stop.wait()
        status = 0
    await runner.cleanup()
    database.close()
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m examples.community", description="A copy of the sample site.")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=3001, help="0 takes a free one (%(default)s)")
    add("--name", default="app-1", help="sent as X-Served-By (%(default)s)")
    add("--database", type=Path, default=Path("var/community.db"), help="SQLite file (%(default)s)")
    add("--chaos", choices=MODES, default="none", help="how to misbehave (%(default)s)")
    add("--chaos-rate", type=_share, default=0.2, help="share of requests that are hit (%(default)s)")
    add("--access-log", action="store_true", help="one line per request on stderr")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, not {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
