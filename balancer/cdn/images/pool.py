"""The processes that make pictures: few, started when there is work, replaced when one dies."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Final, TypeGuard

import structlog

from balancer.cdn.errors import CdnError, Full, ImageRejected
from balancer.cdn.images.engine import Bounds, Output, Wish

log = structlog.get_logger("balancer.cdn")

JOBS: Final = 200
"""After which a process is replaced: what libraries leak is given back."""
START: Final = 20.0
"""Seconds in which a new process has to be ready: it imports a library of 20 MB, perhaps from a cold disk."""
LONGEST_ANSWER: Final = 64 * 1024
LARGEST_PICTURE: Final = 128 * 1024 * 1024
"""Bytes that come back over the channel: a PNG of 4096 by 4096 has at most 64 MiB."""
RETRY_AFTER: Final = 1.0
"""Seconds after which a full queue is asked again."""
OUTPUTS: Final[dict[object, Output]] = {"avif": "avif", "webp": "webp", "jpeg": "jpeg", "png": "png"}
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_ROOT: Final = Path(__file__).resolve().parents[3]
"""Where the package is imported from."""
_KEPT: Final = ("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
"""What of the environment workers are given: no secret is under these names."""


class Failed(CdnError):
    """A picture that ended its worker, or took too long. What is asked again in a while may succeed."""

    code = "cdn_image_failed"

    def __init__(self, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


class Gone(Exception):
    """The source is not there any more."""


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to be made."""

    source: Path
    wish: Wish
    out: Path
    """Where to write it; it is not there yet."""
    head: dict[str, str | int | float]
    """What is written above it, besides what it has become."""


@dataclass(frozen=True, slots=True)
class Done:
    """A picture that was made."""

    format: Output
    width: int
    height: int
    size: int
    digest: str
    """SHA-256, as its worker says."""
    data: bytes | None
    """None: it is at `out`; else it could not be written there."""


@dataclass(slots=True)
class PoolTally:
    """What has happened so far, in plain numbers."""

    made: int = 0
    rejected: int = 0
    died: int = 0
    """Workers that ended in the middle of a picture."""
    late: int = 0
    """Pictures whose time was over."""
    full: int = 0
    seconds: float = 0.0
    """Spent in workers."""


class Pool:
    """Workers that are given one picture at a time, in the order of asking.

    Owner of all state: the loop it is used on.
    """

    def __init__(self, *, engine: str, size: int, queue: int, memory: int, timeout: float, bounds: Bounds) -> None:
        self.size = size
        self.queue = queue
        self.tally = PoolTally()
        self.inside = 0
        """Pictures that are waited for: waiting and being made."""
        self._command = (sys.executable, "-P", "-m", "balancer.cdn.images.worker", engine, str(memory), str(timeout))
        self._timeout = timeout
        self._bounds = asdict(bounds)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def workers(self) -> int:
        """Processes there are."""
        return len(self._all)

    @property
    def pids(self) -> list[int]:
        return [worker.pid for worker in self._all]

    @property
    def busy(self) -> int:
        """Pictures that are being made."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Pictures that wait for a worker."""
        return len(self._waiting)

    def check(self) -> None:
        """Full: as many as may be are inside already."""
        if self._closed or self.inside >= self.size + self.queue:
            self.tally.full += 1
            raise Full(
                f"{self.inside} pictures are being made or wait for it; more than cdn.images.workers + queue = "
                f"{self.size + self.queue} are not taken",
                retry_after_s=RETRY_AFTER,
            )

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Around all that one picture takes here. Full: as `check` says."""
        self.check()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def make(self, job: Job, patience: float) -> Done:
        """Make one picture: within `patience` seconds from when it has a worker, for which it waits as long at most.
        Those before it take nothing of its time.

        ImageRejected: this one is not made; Failed: it was not made now; Gone: no source; Full: others took all of the
        time. To be cancelled ends the worker that has it.
        """
        try:
            async with asyncio.timeout(patience):
                await self._turn()
        except TimeoutError:
            self.tally.full += 1
            raise Full(f"no worker was free within {self._timeout:g} s", retry_after_s=RETRY_AFTER) from None
        try:
            worker = self._rested() or await self._started()
            begun = monotonic()
            try:
                said, data = await asyncio.wait_for(worker.do(self._line(job)), patience)
                done = _done(said, data)
            except TimeoutError:
                self.tally.late += 1
                raise Failed(f"it took longer than cdn.images.timeout, {self._timeout:g} s", late=True) from None
            except (OSError, EOFError, ValueError) as error:
                self.tally.died += 1
                how = await worker.end()
                log.warning("cdn_image_worker_died", source=str(job.source), how=how, reason=str(error) or None)
                raise Failed(f"its worker ended: {how}") from None
            finally:
                self.tally.seconds += monotonic() - begun
                self._after(worker)
        finally:
            self._give_turn()
        if done is not None:
            self.tally.made += 1
            if done.data is not None:
                log.warning("cdn_image_not_kept", out=str(job.out), reason=said["unkept"])
            return done
        if said.get("gone"):
            raise Gone
        self.tally.rejected += 1
        if said.get("surprise"):
            log.warning("cdn_image_surprise", source=str(job.source), reason=said.get("message"))
        raise ImageRejected(str(said["rejected"]), str(said.get("message", "")))

    async def close(self) -> None:
        """End all workers, whatever they do."""
        self._closed = True
        for waiting in self._waiting:
            waiting.cancel()
        await asyncio.gather(*(worker.end() for worker in list(self._all)))
        self._all.clear()
        self._idle.clear()

    # Turns: as many as there may be workers.

    async def _turn(self) -> None:
        if self._taken < self.size and not self._waiting:
            self._taken += 1
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._give_turn()  # it had been given one already
            else:
                with suppress(ValueError):
                    self._waiting.remove(waiting)
            raise

    def _give_turn(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        self._taken -= 1

    # Workers.

    def _rested(self) -> _Worker | None:
        """One that waits for work. Those that have died since, by the system's will, have cost nobody a picture."""
        while self._idle:
            worker = self._idle.pop()
            if not worker.ended:
                return worker
            self._drop(worker)
        return None

    async def _started(self) -> _Worker:
        worker = await _Worker.started(self._command)
        self._all.add(worker)
        try:
            said, _ = await asyncio.wait_for(worker.read(), START)
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            self._all.discard(worker)
            how = await worker.end()
            raise Failed(f"no worker can be started: {how}", late=isinstance(error, TimeoutError)) from None
        except asyncio.CancelledError:
            self._drop(worker)
            raise
        if "broken" in said:
            self._drop(worker)
            log.error("cdn_images_unusable", reason=said["broken"])
            raise Failed(f"no worker can be started: {said['broken']}")
        return worker

    def _after(self, worker: _Worker) -> None:
        if worker.whole and worker.jobs < JOBS and not self._closed:
            self._idle.append(worker)
        else:
            self._drop(worker)

    def _drop(self, worker: _Worker) -> None:
        self._all.discard(worker)
        worker.kill()

    def _line(self, job: Job) -> bytes:
        said = {
            "source": str(job.source.absolute()),  # a worker is in another folder
            "wish": asdict(job.wish),
            "bounds": self._bounds,
            "out": str(job.out.absolute()),
            "head": json.dumps(job.head),
        }
        return json.dumps(said).encode() + b"\n"


class _Worker:
    """One process and the channel to it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self._process = process
        self._channel = channel
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.jobs = 0
        self.whole = True
        """It has answered all that it was asked, so that it may be asked again."""

    @classmethod
    async def started(cls, command: tuple[str, ...]) -> _Worker:
        """Start one. In a thread, as a process with much memory is not copied in no time."""
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            process = await asyncio.to_thread(_start, command, theirs)
        except BaseException:
            ours.close()
            raise
        worker = cls(process, ours)
        worker._streams = await asyncio.open_connection(sock=ours, limit=LONGEST_ANSWER)
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    async def do(self, line: bytes) -> tuple[dict[str, object], bytes]:
        """Its answer to a job."""
        assert self._streams is not None
        self.jobs += 1
        self.whole = False
        writer = self._streams[1]
        writer.write(line)
        await writer.drain()
        answer = await self.read()
        self.whole = not answer[0].get("spent")
        return answer

    async def read(self) -> tuple[dict[str, object], bytes]:
        """What it says next. EOFError, ValueError: nothing, or nothing that makes sense."""
        assert self._streams is not None
        reader = self._streams[0]
        line = await reader.readline()  # ValueError for one without an end
        if not line:
            raise EOFError
        try:
            said = json.loads(line)
        except RecursionError:
            raise ValueError("it told nonsense") from None
        if not isinstance(said, dict):
            raise ValueError("it told nonsense")
        if "unkept" not in said:
            return said, b""
        size = _whole(said, "size")
        if size > LARGEST_PICTURE:
            raise ValueError(f"it told of {size} bytes")
        return said, await reader.readexactly(size)

    def kill(self) -> None:
        """End it, whatever it does; its remains are seen to in a thread."""
        self.whole = False
        self._process.kill()
        if self._streams is not None:
            self._streams[1].close()
        asyncio.get_running_loop().run_in_executor(None, self._process.wait)

    async def end(self) -> str:
        """The same; how it ended, if by itself."""
        self.whole = False
        if self._streams is not None:
            self._streams[1].close()
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.to_thread(self._wait, 1.0), 2.0)
        return "it was killed"

    def _wait(self, patience: float) -> str:
        with suppress(subprocess.TimeoutExpired):
            return _how(self._process.wait(patience))
        self._process.kill()
        self._process.wait()
        return "it was killed"


def _start(command: tuple[str, ...], theirs: socket.socket) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # One thread for each picture: others are for other pictures.
    environment |= {"PYTHONPATH": str(_ROOT), "VIPS_CONCURRENCY": "1", "OMP_NUM_THREADS": "1"}
    with theirs:
        return subprocess.Popen(
            command,
            cwd="/",
            env=environment,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"with status {code}"


def _done(said: dict[str, object], data: bytes) -> Done | None:
    """What an answer says of the picture; None: it was not made. ValueError: it makes no sense."""
    if said.get("gone") or "rejected" in said:
        return None
    width, height, size = (_whole(said, name) for name in ("width", "height", "size"))
    kind = said.get("format")
    if kind not in OUTPUTS:
        raise ValueError("it told of no format")
    digest = said.get("digest")
    if not is_digest(digest):
        raise ValueError("it told no digest")
    return Done(OUTPUTS[kind], width, height, size, digest, data if "unkept" in said else None)


def is_digest(value: object) -> TypeGuard[str]:
    """Whether it is a SHA-256 in hexadecimal digits: nothing else of a worker's gets into a header."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _whole(said: dict[str, object], name: str) -> int:
    value = said.get(name)
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"it told no {name}")
    return value
