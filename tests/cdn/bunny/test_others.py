"""The stand-in, judged by programs that others have written for Bunny: what they take for Bunny is like it.

They call https://api.bunny.net and https://storage.bunnycdn.com, and nothing of them is changed for that: they run in a
process of their own, whose proxy leads every name to the stand-in, and whose authority has signed its certificate.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trustme

from balancer.cdn.bunny.statistics import Figures
from balancer.cdn.bunny.zone import Zone
from tests.cdn.fakes.bunny import KEY, PASSWORD, ZONE, FakeBunny, running

pytestmark = pytest.mark.slow

pytest.importorskip("bunnynet")
pytest.importorskip("bunnystats")


async def _lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """One connection of a client of the proxy, wherever it is to go."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"CONNECT ")
    there, back = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except ConnectionError:
            pass
        target.close()

    await asyncio.gather(pass_on(reader, back), pass_on(there, writer))


@asynccontextmanager
async def leading(port: int) -> AsyncIterator[int]:
    async with await asyncio.start_server(lambda r, w: _lead(r, w, port), "127.0.0.1", 0) as proxy:
        yield proxy.sockets[0].getsockname()[1]


async def run(fake: FakeBunny, folder: Path, program: str) -> Any:
    """What a program has printed, as JSON."""
    authority = trustme.CA()
    certificate = authority.issue_cert("api.bunny.net", "storage.bunnycdn.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    async with running(fake, context) as server, leading(server.port or 0) as proxy:
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env={
                **clean,
                "HTTPS_PROXY": f"http://127.0.0.1:{proxy}",
                "REQUESTS_CA_BUNDLE": str(trusted),
                "KEY": KEY,
                "PASSWORD": PASSWORD,
                "ZONE": ZONE,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == 0, errors.decode()
    return json.loads(out)


STORAGE = """
import json, logging, os
from bunnynet.client import BunnyClient
from bunnynet.exceptions import BunnyHTTPException
from bunnynet.models import StorageZone
zone = StorageZone()
zone.name, zone.password, zone.region = os.environ["ZONE"], os.environ["PASSWORD"], "DE"
files = BunnyClient(os.environ["KEY"]).storage_zones
told = {}
files.upload_text_file(storage_zone=zone, contents="hello", path="notes", file_name="a.txt")
told["read"] = files.get_text_file(storage_zone=zone, path="notes", file_name="a.txt")
def listed(path):
    found = files.list_files(storage_zone=zone, path=path)
    return [[o.object_name, o.length, o.is_directory, o.checksum] for o in found]
told["listed"], told["folders"] = listed("notes"), listed("a")
files.delete_file(storage_zone=zone, path="notes", file_name="a.txt")
def refused(**more):
    try:
        files.upload_file(path="notes", file_name="b.txt", **more)
    except BunnyHTTPException as error:
        return type(error).__name__
told["checksum"] = refused(storage_zone=zone, contents=b"b", sha256="0" * 64)
zone.password = "another"
told["password"] = refused(storage_zone=zone, contents=b"b")
print(json.dumps(told))
"""


async def test_a_client_of_the_storage_finds_what_it_expects(tmp_path: Path) -> None:
    fake = FakeBunny(files={"a/b/c.txt": b"", "a/d.txt": b""})
    told = await run(fake, tmp_path, STORAGE)
    assert told["read"] == "hello"
    assert told["listed"] == [["a.txt", 5, False, sha256(b"hello").hexdigest().upper()]]
    assert told["checksum"] == "BunnyHTTPBadRequestException"
    assert told["password"] == "BunnyHTTPUnauthorizedException"
    assert [item[::2] for item in told["folders"]] == [["b", True], ["d.txt", False]]
    assert set(fake.files) == {"a/b/c.txt", "a/d.txt"}


PURGE = """
import json, os
from bunnynet.client import BunnyClient
from bunnynet.exceptions import BunnyHTTPException
client = BunnyClient(os.environ["KEY"])
client.purge_url("https://shop.b-cdn.net/a.png")
try:
    BunnyClient("wrong").purge_url("https://shop.b-cdn.net/b.png")
except BunnyHTTPException as error:
    print(json.dumps([type(error).__name__, client.pull_zones.get(999)]))
"""


async def test_a_client_of_the_core_purges_and_is_refused_as_it_expects(tmp_path: Path) -> None:
    fake = FakeBunny(cached=dict.fromkeys(("https://shop.b-cdn.net/a.png", "https://shop.b-cdn.net/b.png"), ""))
    assert await run(fake, tmp_path, PURGE) == ["BunnyHTTPUnauthorizedException", None]
    assert list(fake.cached) == ["https://shop.b-cdn.net/b.png"]


STATISTICS = """
import datetime, json, os
import bunnystats
first, last = datetime.date(2026, 11, 1), datetime.date(2026, 11, 22)
print(json.dumps(bunnystats.get_total_transfer_bytes(12345, first, last, os.environ["KEY"])))
"""


async def test_a_client_of_the_statistics_reads_the_total(tmp_path: Path) -> None:
    assert await run(FakeBunny(statistics={"TotalBandwidthUsed": 4711}), tmp_path, STATISTICS) == 4711


NAMES = """
import json, typing
from bunnynet.models import PullZone
print(json.dumps(sorted(typing.get_type_hints(PullZone))))
"""


async def test_what_is_read_of_a_pull_zone_are_properties_that_others_know(tmp_path: Path) -> None:
    known = {name.replace("_", "") for name in await run(FakeBunny(), tmp_path, NAMES)} | {"id"}
    read = {field.alias.lower() for field in Zone.model_fields.values() if field.alias}
    assert read - known == {"suspended"}  # which only the documentation has
    assert all(field.alias for field in Figures.model_fields.values())
