"""What an upload to the local CDN takes: `python -m bench.cdn_upload`.

One process is measured: it takes a file piece by piece, as the admin API hands it over, and puts it on the disk.
`--balancer` measures the running program instead, with a client that sends the file over the admin API.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

import aiohttp
import yaml

from balancer.cdn.local.room import Limits
from balancer.cdn.local.store import Store
from balancer.cdn.types import UploadRequest
from bench.program import free_port

MIB: Final = 1024 * 1024
_PIECE: Final = 256 * 1024
_KEY: Final = "a-key-for-the-bench-only"
_PATIENCE: Final = 20.0


def resident(pid: int | str = "self") -> tuple[int, int]:
    """Bytes of a process in memory that are its own: now, and the most so far."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["VmHWM"].split()[0]) * 1024


async def content(size: int) -> AsyncIterator[bytes]:
    """Bytes that differ from piece to piece."""
    for number in range(0, size, _PIECE):
        yield number.to_bytes(8, "big") + bytes(min(_PIECE, size - number) - 8)


async def in_process(folder: Path, size: int) -> None:
    store = Store(folder / "cdn", Limits(size, None, 0))
    await store.start()
    await store.upload(UploadRequest(content(8 * MIB), "warm.bin", "other"))
    before, _ = resident()
    begun = perf_counter()
    await store.upload(UploadRequest(content(size), "large.bin", "other"))
    seconds = perf_counter() - begun
    _, most = resident()
    told(size, seconds, before, most)
    await store.close()


async def through_the_balancer(folder: Path, size: int) -> None:
    listen, admin = free_port(), free_port()
    file = folder / "balancer.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "listen": f"127.0.0.1:{listen}",
                "servers": ["http://127.0.0.1:9"],
                "admin": {"listen": f"127.0.0.1:{admin}", "state": str(folder / "state.yaml")},
                "cdn": {
                    "max_upload": size,
                    "images": None,
                    "local": {"directory": str(folder / "cdn"), "keep_free": 0},
                },
            }
        )
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "balancer", "run", "-c", str(file), env={**os.environ, "ADMIN_API_KEY": _KEY},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        headers = {"Authorization": f"Bearer {_KEY}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{admin}", headers=headers) as session:
            await _ready(session)
            await _sent(session, "warm.bin", 8 * MIB)
            before, _ = resident(process.pid)
            begun = perf_counter()
            path = await _sent(session, "large.bin", size)
            seconds = perf_counter() - begun
            _, most = resident(process.pid)
            told(size, seconds, before, most)
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{listen}/cdn/{path}") as response:
            begun = perf_counter()
            got = 0
            async for piece in response.content.iter_chunked(MIB):
                got += len(piece)
            seconds = perf_counter() - begun
            print(f"read back {got / MIB:,.0f} MiB in {seconds:.1f} s, {got / MIB / seconds:,.0f} MiB/s;", end=" ")
            print(f"most memory since {(resident(process.pid)[1] - before) / MIB:.1f} MiB")
    finally:
        process.terminate()
        await process.wait()


async def _ready(session: aiohttp.ClientSession) -> None:
    end = perf_counter() + _PATIENCE
    while perf_counter() < end:
        try:
            async with session.get("/livez") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit("the balancer does not start")


async def _sent(session: aiohttp.ClientSession, name: str, size: int) -> str:
    url = f"/api/infrastructure/cdn/files?name={name}&kind=other"
    timeout = aiohttp.ClientTimeout(total=None)
    async with session.post(url, data=content(size), timeout=timeout) as response:
        if response.status not in (200, 201):
            raise SystemExit(f"the upload is answered {response.status}: {await response.text()}")
        found: str = (await response.json())["path"]
        return found


def told(size: int, seconds: float, before: int, most: int) -> None:
    print(f"uploaded {size / MIB:,.0f} MiB in {seconds:.1f} s, {size / MIB / seconds:,.0f} MiB/s;", end=" ")
    print(f"memory before {before / MIB:.1f} MiB, at most {(most - before) / MIB:.1f} MiB more")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cdn_upload", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file (default: 1024)")
    parser.add_argument("--balancer", action="store_true", help="over the admin API of a running balancer")
    parser.add_argument("--folder", type=Path, help="where the file goes (default: the folder for temporary files)")
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="cdn-upload-", dir=chosen.folder))
    try:
        work = through_the_balancer if chosen.balancer else in_process
        asyncio.run(work(folder, chosen.mib * MIB))
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
