"""What the store in memory takes, and what a purge costs: `python -m bench.cache_memory`.

Each figure is of a process of its own, since a process rarely gives back to the system what it once had.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from balancer.cache.entry import Entry
from balancer.cache.memory import Memory
from balancer.cache.purges import Purge
from balancer.caching.stored import encoded
from balancer.http1.edits import Edits
from balancer.http1.fields import learn, parse_line, recall
from config.schema import Headers

_LANE: Final = (b"site", b"web")
_STATUS_LINE: Final = b"HTTP/1.1 200 OK\r\n"
_CONSTANT: Final = (
    b"Server: nginx",
    b"Content-Type: text/html; charset=utf-8",
    b"Cache-Control: public, max-age=3600, stale-while-revalidate=60",
    b"Vary: Accept-Encoding",
    b"X-Content-Type-Options: nosniff",
)
_SLICE: Final = 250
_LONG: Final = 60 * 60.0


def page(number: int, body: int) -> Entry:
    """One of many pages: with a validator, a date and a tag of its own, and a tag that all have."""
    lines = (
        *_CONSTANT,
        b"Date: Tue, 24 Nov 2026 22:%02d:%02d GMT" % (number // 6000 % 60, number // 100 % 60),
        b"Last-Modified: Mon, 23 Nov 2026 %02d:%02d:%02d GMT" % (number // 3600 % 24, number // 60 % 60, number % 60),
        b'ETag: "%032x"' % number,
        b"Surrogate-Key: posts post-%d" % number,
    )
    fields = tuple([recall(line) or parse_line(line) for line in lines])
    vary = ((b"accept-encoding", bytes(bytearray(b"gzip, br"))),)  # not one constant for all
    entry = Entry(b"https://example.com/posts/%d/its-title" % number, _LANE, vary, 200, _STATUS_LINE, fields)
    entry.body = bytes(body)
    entry.born = number / 1000
    entry.fresh_until = entry.born + _LONG
    entry.revalidate_until = entry.fresh_until + 60.0
    entry.error_until = entry.fresh_until + 0.0
    entry.etag = fields[-2].value
    entry.last_modified = 1_795_000_000 + number
    entry.tags = (bytes(bytearray(b"posts")), b"post-%d" % number)
    return entry


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(count: int, body: int, *, traced: bool, served: bool) -> None:
    """Fill a store, say what it takes, and purge it by the tag that all have."""
    edits = Edits(Headers())
    for line in _CONSTANT:
        learn(line)
    memory = Memory(1 << 40)
    gc.collect()
    gc.freeze()
    if traced:
        tracemalloc.start()
    before = resident()
    heads = urls = 0
    for number in range(count):
        entry = page(number, body)
        heads += len(entry.line) + len(entry.lines)
        urls += len(entry.key)
        memory.put(entry, memory.moment)
        if served:
            heads += len(encoded(entry, edits, None, None))
    taken = tracemalloc.get_traced_memory()[0] if traced else resident() - before
    tracemalloc.stop()
    counted = memory.figures().bytes
    print(
        f"{'objects' if traced else 'process'}, {'served' if served else 'never served'}, bodies of {body}: "
        f"{taken / count:.0f} bytes an entry, counted with {counted / count:.0f} ({counted / taken:.2f} of it), "
        f"{(taken - heads - urls) / count - body:.0f} beyond URL ({urls / count:.0f}), head ({heads / count:.0f}) "
        "and body"
    )
    if traced:
        return
    began = perf_counter()
    gc.collect()
    collected = perf_counter() - began
    began = perf_counter()
    receipt = memory.purge(Purge("tag", b"posts"), 0.0)
    purged = perf_counter() - began
    slices = []
    more = True
    while more:
        began = perf_counter()
        more = memory.reap(_SLICE)
        slices.append(perf_counter() - began)
    slices.sort()
    print(
        f"  purged in {purged * 1e6:.0f} us; {receipt.entries} given back in {len(slices)} slices of "
        f"{slices[len(slices) // 2] * 1e3:.2f} ms (99 of 100 below {slices[len(slices) * 99 // 100] * 1e3:.2f} ms); "
        f"a full pass of the cycle collector over the store took {collected * 1e3:.0f} ms"
    )


def main(given: Sequence[str] | None = None) -> int:
    """Measure all of it, or, with `--one`, one case in this process."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache_memory", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--body", type=int, default=1000, help="bytes")
    parser.add_argument("--one", choices=("traced", "plain", "served"))
    arguments = parser.parse_args(given)
    if arguments.one:
        traced, served = arguments.one == "traced", arguments.one == "served"
        measure(arguments.entries, arguments.body, traced=traced, served=served)
        return 0
    for one, body in (
        ("traced", arguments.body),
        ("plain", arguments.body),
        ("served", arguments.body),
        ("served", 8000),
    ):
        command = [sys.executable, "-m", "bench.cache_memory", "--one", one]
        subprocess.run([*command, "--entries", str(arguments.entries), "--body", str(body)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
