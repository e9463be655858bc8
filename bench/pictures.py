"""What pictures cost, and what they cost those who want none: `python -m bench.pictures`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Final

import uvloop
from PIL import Image

from balancer.cdn.images.engine import Bounds, Wish
from balancer.cdn.images.pool import Job, Pool
from balancer.cdn.local.room import Limits
from balancer.cdn.local.store import Store
from balancer.cdn.types import UploadRequest
from bench import machine
from bench.figures import Spread, spread
from bench.program import Program, Recipe, free_port, running
from bench.proxy import at_least
from bench.request import SMALL, encoded

GOAL: Final = 0.150
"""Seconds for 24 megapixels of JPEG to a WebP of 320 pixels."""
BOUNDS: Final = Bounds(64 * 1024 * 1024, 50_000_000, 4096)
CASES: Final = (
    Wish("webp", 80, width=320),
    Wish("jpeg", 80, width=320),
    Wish("avif", 80, width=320),
    Wish("webp", 80, width=1600),
    Wish("jpeg", 80, width=1600),
)
RATE: Final = 200
"""Requests a second whose latency is taken: few enough that they do not wait for each other."""
ASKING: Final = 48
"""Clients that want pictures, each another one: a worker and its queue take 33."""


def photo(width: int, height: int) -> bytes:
    """As much detail as a photograph has: a JPEG of 24 megapixels comes to about 8 MB."""
    noise = Image.effect_noise((width // 4, height // 4), 40).convert("RGB")
    out = BytesIO()
    noise.resize((width, height), Image.Resampling.BICUBIC).save(out, "JPEG", quality=92)
    return out.getvalue()


def bare(source: Path) -> None:
    """The least that Pillow can be asked for: nothing is checked, turned, or brought to sRGB."""
    with Image.open(source) as image:
        image.draft("RGB", (320, 320))
        image.thumbnail((320, 320))
        image.save(BytesIO(), "WEBP", quality=80)


async def in_pool(pool: Pool, source: Path, wish: Wish) -> float:
    """Seconds for one picture, from asking to having it on disk."""
    out = source.with_name("out")
    start = perf_counter()
    await pool.make(Job(source, wish, out, {}), 60.0)
    seconds = perf_counter() - start
    out.unlink()
    return seconds


async def made(folder: Path, rounds: int) -> dict[str, Spread]:
    """Each case by each engine, taking turns with bare Pillow, so that what disturbs one disturbs all."""
    source = folder / "source.jpg"
    source.write_bytes(photo(6000, 4000))
    print(f"\n24 megapixels of JPEG, {source.stat().st_size / 1e6:.1f} MB; milliseconds, {rounds} rounds")
    found: dict[str, list[float]] = {}
    pools: dict[str, Pool] = {}
    for name in ("pillow", "vips"):
        pool = Pool(engine=name, size=1, queue=1, memory=1 << 30, timeout=60.0, bounds=BOUNDS)
        try:
            await in_pool(pool, source, CASES[0])  # the worker starts
        except Exception as error:  # a program that is not installed is named and left out
            print(f"{name} is left out: {error}", file=sys.stderr)
            await pool.close()
        else:
            pools[name] = pool
    for _ in range(rounds):
        start = perf_counter()
        await asyncio.to_thread(bare, source)
        found.setdefault("bare Pillow in this process, webp 320", []).append(perf_counter() - start)
        for name, pool in pools.items():
            for wish in CASES:
                seconds = await in_pool(pool, source, wish)
                found.setdefault(f"{name} in the pool, {wish.format} {wish.width}", []).append(seconds)
    for pool in pools.values():
        await pool.close()
    spreads = {name: spread(values) for name, values in found.items()}
    for name, value in spreads.items():
        print(f"  {name:<40} {value.median * 1000:7.1f}   ({value.low * 1000:.1f} to {value.high * 1000:.1f})")
    return spreads


class Clock:
    """Asks for a small answer at a fixed rate, whatever becomes of those before, and notes how long each takes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._request = encoded(port, SMALL)
        self.seconds: list[float] = []
        self.failed = 0

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        begun = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(seconds * RATE)):
                due = begun + number / RATE
                await asyncio.sleep(max(0.0, due - loop.time()))
                tasks.create_task(self._ask(idle))
        for _, writer in idle:
            writer.close()

    async def _ask(self, idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
        start = perf_counter()
        try:
            reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
        except (OSError, EOFError):
            self.failed += 1
            return
        self.seconds.append(perf_counter() - start)
        if not head.startswith(b"HTTP/1.1 200"):
            self.failed += 1
        idle.append((reader, writer))

    def percentile(self, share: float) -> float:
        values = sorted(self.seconds)
        return values[min(len(values) - 1, int(share * len(values)))]


async def greedy(port: int, path: str, sizes: Sequence[int], statuses: Counter[int]) -> None:
    """One client that wants one new size after another."""
    for width in sizes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        target = f"/img/-/w={width},f=webp/local/{path}"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        with suppress(OSError, EOFError):
            answer = await reader.read(-1)
            status = int(answer[9:12])
            statuses[status] += 1
            if status == 503:
                await asyncio.sleep(0.2)
        writer.close()


async def beside(folder: Path, seconds: float) -> dict[str, dict[str, float]]:
    """The latency of small requests with no pictures under way, and with as many as the pool takes."""
    store = Store(folder / "cdn", Limits(1 << 30, None, 0))
    await store.start()
    row, _ = await store.upload(UploadRequest(photo(6000, 4000), "photo.jpg", "image"))
    await store.close()
    app, port = free_port(), free_port()
    settings = {
        "listen": f"127.0.0.1:{port}",
        "servers": [f"http://127.0.0.1:{app}"],
        "admin": {"listen": f"127.0.0.1:{free_port()}", "state": str(folder / "overlay.yaml")},
        "logs": {"access": {"to": "none"}},
        "cdn": {
            "local": {"directory": str(folder / "cdn")},
            "images": {"sign": False, "workers": 1, "per_client": None},
        },
    }
    (folder / "balancer.yaml").write_text(json.dumps(settings))
    server_folder = folder / "server"
    server_folder.mkdir()
    server = Recipe("server", (sys.executable, "-m", "bench.canned_server", str(app)), app, server_folder)
    command = (sys.executable, "-m", "balancer", "run", "-c", "balancer.yaml")
    figures: dict[str, dict[str, float]] = {}
    proxy_core, other_core = machine.cores()
    with running(server, other_core), running(Recipe("balancer", command, port, folder), proxy_core) as program:
        for name, wanted in (("no pictures", 0), ("as many as may be", ASKING), ("no pictures again", 0)):
            figures[name] = await _latency(program, port, row.path, wanted, seconds)
    return figures


async def _latency(program: Program, port: int, path: str, wanted: int, seconds: float) -> dict[str, float]:
    statuses: Counter[int] = Counter()
    clock = Clock(port)
    sizes = [range(16 + client, 4000, ASKING) for client in range(wanted)]
    others = [asyncio.ensure_future(greedy(port, path, mine, statuses)) for mine in sizes]
    if others:
        await asyncio.sleep(2.0)  # until the worker has started and the queue is full
    before = program.cpu()
    await clock.run(seconds)
    busy = (program.cpu() - before) / seconds
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    if others:
        await asyncio.sleep(8.0)  # those that wait are made all the same
    figures = {
        "median ms": clock.percentile(0.5) * 1000,
        "99 % ms": clock.percentile(0.99) * 1000,
        "99.9 % ms": clock.percentile(0.999) * 1000,
        "longest ms": max(clock.seconds) * 1000,
        "failed": clock.failed,
        "pictures": statuses[200],
        "refused 503": statuses[503],
        "processor": busy,
    }
    print("  " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    return figures


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description=__doc__)
    parser.add_argument("--only", choices=("made", "beside"), help="one of the two")
    parser.add_argument("--rounds", type=at_least(1), default=9, help="of `made`")
    parser.add_argument("--seconds", type=at_least(2), default=15, help="of each line of `beside`")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    wanted = parser.parse_args(given)
    machine.warn_if_busy()
    kept: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if wanted.only != "beside":
            spreads = uvloop.run(made(folder, wanted.rounds))
            kept["made"] = {case: [value.median, value.low, value.high] for case, value in spreads.items()}
            reached = spreads.get("pillow in the pool, webp 320")
            if reached is not None:
                print(f"  goal: at most {GOAL * 1000:.0f} ms: {'reached' if reached.median <= GOAL else 'MISSED'}")
        if wanted.only != "made":
            print(f"\nsmall requests at {RATE} a second, beside {ASKING} clients that want pictures of 24 megapixels")
            kept["beside"] = uvloop.run(beside(folder, wanted.seconds))
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(kept, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
