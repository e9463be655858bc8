from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from balancer.cdn.errors import Full, ImageRejected
from balancer.cdn.images.engine import Bounds, Wish
from balancer.cdn.images.pool import JOBS, Done, Failed, Gone, Job, Pool
from balancer.cdn.images.worker import _line, is_spent
from tests.cdn.images import gallery

BOUNDS = Bounds(20 * 1024 * 1024, 50_000_000, 4096)
MIB = 1024 * 1024
PATIENCE = 30.0
PLENTY = 1024 * 1024 * 1024

pytestmark = pytest.mark.slow


@asynccontextmanager
async def pool_of(size: int = 1, queue: int = 8, memory: int = PLENTY, engine: str = "pillow") -> AsyncIterator[Pool]:
    pool = Pool(engine=engine, size=size, queue=queue, memory=memory, timeout=PATIENCE, bounds=BOUNDS)
    try:
        yield pool
    finally:
        await pool.close()


class Desk:
    """Makes jobs of one source."""

    def __init__(self, folder: Path, data: bytes | None = None) -> None:
        self.folder = folder
        self.source = gallery.save(folder, "source", data or gallery.as_bytes(gallery.quarters(), "PNG"))
        self._count = 0

    def job(self, wish: Wish = Wish("webp", 80, width=100)) -> Job:  # noqa: B008  # it is frozen
        self._count += 1
        return Job(self.source, wish, self.folder / f"out-{self._count}", {"source": "a"})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def until(fact: Callable[[], object]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(20):
        while not fact():  # noqa: ASYNC110  # other processes set no events here
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def held(pool: Pool) -> int:
    """The pool's one worker, made to stand still."""
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: stopped(pid))
    return pid


async def test_nothing_runs_before_there_is_a_picture_to_make(desk: Desk) -> None:
    async with pool_of() as pool:
        assert pool.workers == 0
        done = await pool.make(desk.job(), PATIENCE)
        assert (done.format, done.width, done.height) == ("webp", 100, 75)
        assert pool.workers == 1


async def test_a_picture_is_on_disk_below_the_line_that_tells_what_it_is(desk: Desk) -> None:
    async with pool_of() as pool:
        job = desk.job()
        done = await pool.make(job, PATIENCE)
        line, _, data = job.out.read_bytes().partition(b"\n")
        said = {"source": "a", "format": "webp", "width": 100, "height": 75, "size": len(data)}
        assert json.loads(line) == {**said, "digest": sha256(data).hexdigest()}
        assert (done.size, done.digest, done.data) == (len(data), sha256(data).hexdigest(), None)
        assert gallery.upright(data).size == (100, 75)
        assert job.out.stat().st_mode & 0o077 == 0


async def test_a_picture_that_cannot_be_written_comes_all_the_same(desk: Desk) -> None:
    async with pool_of() as pool:
        job = replace(desk.job(), out=desk.folder / "not there" / "out")
        done = await pool.make(job, PATIENCE)
        assert done.data is not None
        assert gallery.upright(done.data).size == (100, 75)


async def test_a_worker_that_was_broken_into_puts_nothing_into_a_header(desk: Desk) -> None:
    said = {"format": "webp", "width": 1, "height": 1, "size": 1, "digest": '"\r\nSet-Cookie: a=b'}
    lies = f"import socket; it = socket.socket(fileno=0); it.send(b'{{}}\\n'); it.recv(9); it.send({_line(**said)!r})"
    async with pool_of() as pool:
        pool._command = (sys.executable, "-c", lies, "", "", "", "")
        with pytest.raises(Failed):
            await pool.make(desk.job(), PATIENCE)
        assert pool.tally.died == 1


async def test_a_worker_is_used_again(desk: Desk) -> None:
    async with pool_of(size=2) as pool:
        for _ in range(3):
            await pool.make(desk.job(), PATIENCE)
        assert pool.workers == 1


async def test_a_worker_is_replaced_after_so_many_pictures(tmp_path: Path) -> None:
    desk = Desk(tmp_path, gallery.as_bytes(gallery.quarters(8, 8), "PNG"))
    async with pool_of() as pool:
        await pool.make(desk.job(), PATIENCE)
        first = pool.pids
        for _ in range(JOBS):
            await pool.make(desk.job(), PATIENCE)
        assert pool.pids != first
        await until(lambda: not alive(first[0]))


@pytest.mark.parametrize(("taken", "is_so"), [(100, False), (500, False), (560, False), (570, True), (1020, True)])
def test_a_worker_ends_by_itself_once_half_of_its_room_is_gone(taken: int, is_so: bool) -> None:
    assert is_spent(taken * MIB, 110 * MIB, 1024 * MIB) is is_so


async def test_a_worker_that_has_little_room_from_the_start_is_used_all_the_same(desk: Desk) -> None:
    async with pool_of(memory=200 * MIB) as pool:
        await pool.make(desk.job(), PATIENCE)
        first = pool.pids
        await pool.make(desk.job(), PATIENCE)
        assert pool.pids == first


async def test_a_refusal_is_told_and_costs_no_worker(tmp_path: Path) -> None:
    desk = Desk(tmp_path, gallery.bomb())
    async with pool_of() as pool:
        with pytest.raises(ImageRejected, match="more than 50000000 pixels") as refused:
            await pool.make(desk.job(), PATIENCE)
        first = pool.pids
        assert refused.value.reason == "pixels"
        with pytest.raises(ImageRejected):
            await pool.make(desk.job(), PATIENCE)
        assert pool.pids == first


async def test_a_source_that_is_gone_is_told(desk: Desk) -> None:
    async with pool_of() as pool:
        desk.source.unlink()
        with pytest.raises(Gone):
            await pool.make(desk.job(), PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
async def test_what_kills_a_worker_costs_one_picture(desk: Desk, number: signal.Signals) -> None:
    async with pool_of() as pool:
        await pool.make(desk.job(), PATIENCE)
        pid = await held(pool)
        doomed = asyncio.ensure_future(pool.make(desk.job(), PATIENCE))
        waiting = asyncio.ensure_future(pool.make(desk.job(), PATIENCE))
        await until(lambda: pool.waiting == 1)
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(Failed, match=f"signal {number.value}"):
            await doomed
        assert isinstance(await waiting, Done)
        assert pool.pids != [pid]
        assert pool.tally.died == 1


async def test_a_worker_that_died_while_it_was_idle_costs_no_picture(desk: Desk) -> None:
    async with pool_of() as pool:
        await pool.make(desk.job(), PATIENCE)
        (pid,) = pool.pids
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid))
        assert isinstance(await pool.make(desk.job(), PATIENCE), Done)


async def test_a_picture_that_takes_too_long_ends_with_its_worker(desk: Desk) -> None:
    async with pool_of() as pool:
        await pool.make(desk.job(), PATIENCE)
        pid = await held(pool)
        with pytest.raises(Failed, match="timeout") as failed:
            await pool.make(desk.job(), 0.05)
        assert failed.value.late
        await until(lambda: not alive(pid))
        assert isinstance(await pool.make(desk.job(), PATIENCE), Done)


async def test_who_waits_longer_than_may_be_is_told_to_come_again(desk: Desk) -> None:
    async with pool_of() as pool:
        await pool.make(desk.job(), PATIENCE)
        pid = await held(pool)
        first = asyncio.ensure_future(pool.make(desk.job(), PATIENCE))
        await until(lambda: pool.busy == 1)
        with pytest.raises(Full) as full:
            await pool.make(desk.job(), 0.05)
        assert full.value.retry_after_s is not None
        os.kill(pid, signal.SIGCONT)
        assert isinstance(await first, Done)
        assert (pool.busy, pool.waiting) == (0, 0)


async def test_who_leaves_while_a_picture_is_made_ends_its_worker_and_nobody_elses(desk: Desk) -> None:
    async with pool_of() as pool:
        await pool.make(desk.job(), PATIENCE)
        pid = await held(pool)
        first = asyncio.ensure_future(pool.make(desk.job(), PATIENCE))
        second = asyncio.ensure_future(pool.make(desk.job(), PATIENCE))
        third = asyncio.ensure_future(pool.make(desk.job(), PATIENCE))
        await until(lambda: pool.waiting == 2)
        second.cancel()
        first.cancel()
        assert isinstance(await third, Done)
        await until(lambda: not alive(pid))
        assert (pool.busy, pool.waiting) == (0, 0)


async def test_no_more_are_admitted_than_workers_and_queue_take() -> None:
    async with pool_of(size=1, queue=1) as pool:
        with pool.admitted(), pool.admitted():
            with pytest.raises(Full) as full, pool.admitted():
                pass
        assert full.value.retry_after_s is not None
        with pool.admitted():
            assert pool.inside == 1


async def test_a_picture_that_takes_more_memory_than_there_may_be_is_refused_or_ends_its_worker_alone(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, gallery.as_bytes(gallery.gradient(6000, 6000), "PNG", compress_level=1))
    async with pool_of(memory=160 * 1024 * 1024) as pool:
        with pytest.raises((ImageRejected, Failed)):
            await pool.make(desk.job(), PATIENCE)
        desk.source.write_bytes(gallery.as_bytes(gallery.quarters(), "PNG"))
        assert isinstance(await pool.make(desk.job(), PATIENCE), Done)


async def test_a_worker_has_no_secrets_no_descriptors_of_ours_and_the_lowest_claims(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDN_API_KEY", "a-secret")
    with socket.create_server(("127.0.0.1", 0)) as server, desk.source.open("rb") as file:
        os.set_inheritable(server.fileno(), True)
        os.set_inheritable(file.fileno(), True)
        async with pool_of() as pool:
            await pool.make(desk.job(), PATIENCE)
            (pid,) = pool.pids
            about = Path(f"/proc/{pid}")
            assert b"a-secret" not in (about / "environ").read_bytes()
            kinds = sorted(os.readlink(one).partition(":")[0] for one in (about / "fd").iterdir())
            assert [kind for kind in kinds if kind != "/dev/null"] == ["socket"]
            assert os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, 0) == 10
            limits = (about / "limits").read_text()
            assert f"Max address space         {PLENTY}" in limits
            assert "Max core file size        0" in limits
            assert (about / "oom_score_adj").read_text().strip() == "500"


OWNER = """
import asyncio, sys
from pathlib import Path
from balancer.cdn.images.engine import Bounds, Wish
from balancer.cdn.images.pool import Job, Pool

async def main():
    pool = Pool(engine="pillow", size=1, queue=1, memory=1 << 30, timeout=30.0, bounds=Bounds(1 << 24, 1 << 24, 4096))
    await pool.make(Job(Path(sys.argv[1]), Wish("webp", 80, width=10), Path(sys.argv[2]), {}), 30.0)
    print(*pool.pids, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_workers_end_with_a_balancer_that_was_killed(desk: Desk) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(desk.source), str(desk.folder / "out"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    worker = int(await process.stdout.readline())
    assert alive(worker)
    process.kill()
    await process.wait()
    await until(lambda: not alive(worker))


async def test_closing_ends_workers_whatever_they_do(desk: Desk) -> None:
    async with pool_of() as pool:
        await pool.make(desk.job(), PATIENCE)
        pid = await held(pool)
        lost = asyncio.ensure_future(pool.make(desk.job(), PATIENCE))
        await until(lambda: pool.busy == 1)
        await pool.close()
        await until(lambda: not alive(pid))
        with pytest.raises(Failed):
            await lost
        with pytest.raises(Full), pool.admitted():
            pass


async def test_an_engine_that_is_not_there_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(engine="pillow", size=1, queue=1, memory=1, timeout=PATIENCE, bounds=BOUNDS)  # one byte: no import
    with pytest.raises(Failed, match="no worker can be started"):
        await pool.make(desk.job(), PATIENCE)
    assert pool.busy == 0
    await pool.close()


async def test_vips_works_in_a_pool_as_pillow_does(desk: Desk) -> None:
    pytest.importorskip("pyvips", reason="the extra balancer[vips] is not installed")
    async with pool_of(engine="vips") as pool:
        done = await pool.make(desk.job(), PATIENCE)
        assert (done.format, done.width, done.height) == ("webp", 100, 75)


async def test_folders_may_be_named_from_where_the_balancer_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    desk = Desk(Path())
    async with pool_of() as pool:
        await pool.make(desk.job(), PATIENCE)
    assert (tmp_path / "out-1").exists()


def test_the_balancer_itself_loads_no_decoder() -> None:
    """Whatever one could be brought to do, it is not done where the proxy's memory is."""
    code = "import sys, balancer.app; print(sorted({'PIL', 'pyvips'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
