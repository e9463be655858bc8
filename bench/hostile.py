"""Clients that mean harm, against the balancer and others: `python -m bench.hostile`.

Good clients ask now and then while slowhttptest, wrk, h2load and a crowd of our own do their worst. What counts is
what the good ones get, before, during and after, and that descriptors and memory come back. Deadlines are the same
for all proxies. Everything stays on this machine's loopback network, bounded in time and number.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import uvloop

from bench import machine, usage
from bench.program import NotStarted, Program, Recipe, running
from bench.recipes import PROXIES, Place, server, where
from bench.request import LARGE, SMALL, answer_size, encoded

GOOD = 8
"""Good clients, each with one request every `PAUSE` seconds."""
PAUSE = 0.02
CALM = 2.0
"""Seconds of measuring before and after."""
TOO_LATE = 10.0
"""Seconds after which a good client gives up."""

_ENDED = re.compile(r"Exit status: *(.+)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_DEADLINES = {
    "nginx.conf": (
        "    keepalive_timeout",
        "    client_header_timeout 10s;\n    client_body_timeout 30s;\n    send_timeout 60s;\n",
    ),
    "haproxy.cfg": ("    timeout http-keep-alive", "    timeout http-request 10s\n"),
}
"""The balancer's own defaults, for those that have others: where they go in which file."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to be a nuisance; `act` returns what came of it, in a few words."""

    name: str
    needs: str | None
    act: Callable[[Program, int], Awaitable[str]]
    patient: bool = False
    """The server behind has to be one that reads a request to its end before it answers."""


class Good:
    """What good clients got: times of answers, and everything else by its name."""

    def __init__(self, port: int) -> None:
        self.times: list[float] = []
        self.failures: Counter[str] = Counter()
        self._port = port
        self._request = encoded(port, SMALL)

    async def ask_on(self) -> None:
        """Ask now and then, over one connection while it lasts."""
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self.failures[type(error).__name__] += 1
                await asyncio.sleep(PAUSE)
                continue
            try:
                while True:
                    await self._ask(reader, writer)
                    await asyncio.sleep(PAUSE)
            except (OSError, EOFError) as error:  # a TimeoutError is an OSError, an IncompleteReadError an EOFError
                self.failures[type(error).__name__] += 1
                await asyncio.sleep(PAUSE)
            finally:
                writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = perf_counter()
        writer.write(self._request)
        async with asyncio.timeout(TOO_LATE):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly((answer_size(head) or 0) - len(head))
        if head.startswith(b"HTTP/1.1 200 "):
            self.times.append(perf_counter() - start)
        else:
            self.failures[head[9:12].decode("latin-1")] += 1

    def since(self) -> list[str]:
        """Since the last time: answers, failures, median and 99th percentile."""
        times, self.times = sorted(self.times), []
        failures, self.failures = self.failures, Counter()
        bad = " ".join(f"{name}:{count}" for name, count in sorted(failures.items())) or "0"
        if not times:
            return ["0", bad, "-", "-"]
        at = [times[min(int(len(times) * share), len(times) - 1)] * 1000 for share in (0.5, 0.99)]
        return [str(len(times)), bad, *(f"{one:.1f}" for one in at)]


async def _tool(*command: str, most: float) -> str:
    """Run a tool at the lowest priority, and kill it in the middle of its work if it takes longer than `most`."""
    process = await asyncio.create_subprocess_exec(
        "nice",
        "-n19",
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(most):
            output, _ = await process.communicate()
            return output.decode(errors="replace")
    except TimeoutError:
        return "killed in the middle"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _slow(mode: str, connections: int, *options: str, path: str = SMALL) -> Callable[[Program, int], Awaitable[str]]:
    async def act(program: Program, seconds: int) -> str:
        shape = ["-c", str(connections), "-r", str(connections // 2), "-l", str(seconds), "-p", "3", *options]
        url = f"http://127.0.0.1:{program.port}{path}"
        start = perf_counter()
        said = _COLOURS.sub("", await _tool("slowhttptest", mode, *shape, "-u", url, most=seconds + 15))
        ended = _ENDED.findall(said)
        return f"{ended[-1].lower() if ended else 'killed'} after {perf_counter() - start:.0f} s"

    return act


def _killed(*command: str, path: str) -> Callable[[Program, int], Awaitable[str]]:
    """A load maker that is killed in the middle of its work, again and again."""

    async def act(program: Program, seconds: int) -> str:
        turns = 0
        end = perf_counter() + seconds
        while perf_counter() < end:
            await _tool(*command, f"http://127.0.0.1:{program.port}{path}", most=1.0)
            turns += 1
        return f"killed {turns} times"

    return act


class _Idle(asyncio.Protocol):
    closed = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True


async def _idle(program: Program, seconds: int) -> str:
    """Five thousand connections that ask once and then sit there, and all leave at once."""
    loop = asyncio.get_running_loop()
    request = encoded(program.port, "/")
    few = asyncio.Semaphore(64)
    guests: list[tuple[asyncio.Transport, _Idle]] = []

    async def enter(number: int) -> None:
        async with few:
            source = f"127.0.2.{number % 4 + 1}", 0
            with suppress(OSError):
                guest = await loop.create_connection(_Idle, "127.0.0.1", program.port, local_addr=source)
                guest[0].write(request)
                guests.append(guest)

    await asyncio.gather(*(enter(number) for number in range(5000)))
    await asyncio.sleep(seconds)
    stayed = sum(not protocol.closed for _, protocol in guests)
    for transport, _ in guests:
        transport.abort()
    return f"{stayed} of 5000 stayed"


ATTACKS = (
    Attack("2000 slow heads", "slowhttptest", _slow("-H", 2000, "-i", "2")),
    Attack("1000 slow bodies", "slowhttptest", _slow("-B", 1000, "-i", "2", "-s", "8192"), patient=True),
    Attack(
        "500 slow reads",
        "slowhttptest",
        _slow("-X", 500, "-w", "512", "-y", "1024", "-n", "2", "-z", "32", "-k", "3", path=LARGE),
    ),
    Attack("wrk, killed", "wrk", _killed("wrk", "-t1", "-c500", "-d60s", path=LARGE)),
    Attack("h2load, killed", "h2load", _killed("h2load", "--h1", "-c500", "-n9999999", path=SMALL)),
    Attack("5000 idle", None, _idle),
)


def _descriptors(program: Program) -> int:
    """Of the process and its children."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in usage.family(program.pid))


async def under(attack: Attack, program: Program, seconds: int) -> list[list[str]]:
    """One attack on one proxy: a row for before, one for during, one for after."""
    good = Good(program.port)
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(good.ask_on()) for _ in range(GOOD)]
    rows = []
    try:
        await asyncio.sleep(0.3)
        good.since()
        for phase in ("before", "during", "after"):
            peak, result = 0, ""
            work = asyncio.ensure_future(attack.act(program, seconds) if phase == "during" else asyncio.sleep(CALM, ""))
            while not work.done():
                await asyncio.wait([work], timeout=0.5)
                if phase != "after" or work.done():
                    peak = max(peak, _descriptors(program))
            result = str(work.result())
            resident = f"{program.resident() / 2**20:.0f}"
            rows.append([program.name, attack.name, phase, *good.since(), str(peak), resident, result])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return rows


def _with_deadlines(recipe: Recipe) -> Recipe:
    """The same deadlines for all, written into the configuration that the recipe has made."""
    for name, (before, more) in _DEADLINES.items():
        file = recipe.folder / name
        if file.exists():
            file.write_text(file.read_text().replace(before, more + before))
    return recipe


def main(given: Sequence[str] | None = None) -> int:
    """Run all attacks on all proxies that are installed; 1 when something could not be measured."""
    arguments = _arguments(given)
    machine.warn_if_busy()
    machine.raise_descriptor_limit()
    core, other = machine.cores()
    header = ["proxy", "attack", "when", "answers", "failures", "p50 ms", "p99 ms", "fds", "MiB", "attackers"]
    failed = False
    rows = []
    with tempfile.TemporaryDirectory(prefix="balancer-hostile-") as folder, usage.on_core(other):
        Path(folder).chmod(0o755)
        place = Place(Path(folder), sys.executable)
        quick = running(server(place, where("nginx")), other)
        patient = running(server(place, None), other)
        with quick as upstream, patient as reading:
            for name in arguments.only:
                if name != "balancer" and where(name) is None:
                    print(f"{name} is not installed", file=sys.stderr)
                    continue
                for attack in ATTACKS:
                    if arguments.attack not in attack.name or (attack.needs and where(attack.needs) is None):
                        continue
                    try:
                        behind = reading if attack.patient else upstream
                        recipe = PROXIES[name](replace(place, upstream=behind.port))
                        with running(_with_deadlines(recipe), core) as program:
                            rows += uvloop.run(under(attack, program, arguments.seconds))
                    except (NotStarted, OSError) as error:
                        print(f"{name}, {attack.name}: {error}", file=sys.stderr)
                        failed = True
                        continue
                    print(*rows[-3:], sep="\n", file=sys.stderr, flush=True)
    for row in (header, ["---"] * len(header), *rows):
        print("|", " | ".join(row), "|")
    return int(failed)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    known = ("balancer", "nginx", "haproxy")
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=known, default=known, help="the proxies")
    parser.add_argument("--attack", default="", metavar="WORD", help="only attacks with this in their name")
    parser.add_argument("--seconds", type=int, choices=range(1, 61), default=15, metavar="N", help="of each (15)")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
