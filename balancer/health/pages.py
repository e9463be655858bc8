"""Whether a server's page has a pattern in it, whatever the pattern and whatever the server sends."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

PATIENCE = 1.0
"""Seconds for a search that does not end by itself soon."""
STEPS = 5_000_000
"""Of the search, at most, on the loop: some 25 ms at the very worst, and far less on pages as they are."""

_UNBOUNDED = re.compile(r"\)[*+?{]|\(\?(?!:)|\\[1-9]")
"""A repeated group, a look around and a reference back: how often they try is not told by counting."""


class Unmatched(Exception):
    """A search that took too long or could not be made. Its text says so to a person."""


async def has(pattern: str, page: bytes) -> bool:
    """Whether the pattern is found anywhere in the page. Raises Unmatched, and re.error for what is no pattern.

    A regular expression may try every way to share out the page between its repeats: `a+$` needs ten seconds for 64 KiB
    of `a` before something else, `(a+)+$` one for 25 bytes. `re` holds the interpreter all that time, in a thread too.
    So a search that is not short by its bounds is made in a process of its own, and ended when it takes too long.
    Refusing patterns instead would refuse `: *"ok"` with `(a+)+$`.
    """
    compiled = re.compile(pattern)
    if steps(pattern, len(page)) <= STEPS:
        return compiled.search(page.decode("utf-8", "replace")) is not None
    return await _elsewhere(pattern, page)


def steps(pattern: str, length: int) -> float:
    """A bound on how often a search compares a character; infinity when there is none to be told.

    Each repeat may end anywhere, each alternative and each optional part doubles the ways, and every way is tried from
    every beginning. What a backslash or brackets make plain is counted too, which makes it only higher.
    """
    if _UNBOUNDED.search(pattern):
        return float("inf")
    repeats = sum(map(pattern.count, "*+{"))
    choices = sum(map(pattern.count, "?|"))
    if repeats > 8 or choices > 24:
        return float("inf")
    return float(len(pattern) * 2**choices * (length + 1) ** (repeats + 1))


async def _elsewhere(pattern: str, page: bytes) -> bool:
    script = str(Path(__file__).with_name("search.py"))
    # Isolated and without site-packages: it starts in some 15 ms, and nothing in the environment changes what it does.
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            script,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise Unmatched(f"no process could be started to match /{pattern}/: {error.strerror or error}") from None
    written = pattern.encode("utf-8", "surrogatepass")
    try:
        async with asyncio.timeout(PATIENCE):
            await process.communicate(b"%d\n%b%b" % (len(written), written, page))
    except TimeoutError:
        raise Unmatched(f"body could not be matched with /{pattern}/ within {PATIENCE:g}s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode not in (0, 1):
        raise Unmatched(f"the search for /{pattern}/ ended with status {process.returncode}")
    return process.returncode == 0
