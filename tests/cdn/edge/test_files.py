"""Files over HTTP, as they go to the balancer: real files, real sockets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from yarl import URL

from balancer.cdn.edge.app import make_edge
from balancer.cdn.edge.files import PIECE, Files
from balancer.cdn.local.counts import Counts
from balancer.cdn.local.index import Row
from balancer.cdn.local.store import Store
from balancer.cdn.types import IMMUTABLE
from tests.cdn.local.samples import SVG, picture, request, store_in, zipped


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Edge:
    """The application that the balancer asks, over a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = store_in(folder)
        self.counts = Counts()
        files = Files(self.store, "/cdn/", self.counts)
        self._server = TestServer(make_edge(lambda path: files.handle if files.covers(path) else None))
        self._session = ClientSession()

    async def start(self) -> None:
        await self.store.start()
        await self._server.start_server()

    async def close(self) -> None:
        await self._session.close()
        await self._server.close()
        await self.store.close()

    async def put(self, content: bytes, name: str, kind: str = "other", **more: object) -> Row:
        row, _ = await self.store.upload(request(content, name, kind, **more))
        return row

    async def ask(self, path: str, method: str = "GET", **fields: str) -> Answer:
        url = URL(f"http://127.0.0.1:{self._server.port}/cdn/{path}", encoded=True)
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        async with self._session.request(method, url, headers=headers, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await response.read())

    async def raw(self, text: bytes) -> bytes:
        """The first bytes that answer these, whatever they are."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        writer.write(text)
        answer = await reader.read(200)
        writer.close()
        await writer.wait_closed()
        return answer


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    edge = Edge(tmp_path)
    await edge.start()
    yield edge
    await edge.close()


async def test_a_file_comes_back_with_all_that_is_known_of_it(edge: Edge) -> None:
    content = picture("PNG")
    row = await edge.put(content, "cat.png", "image", tags=("cats", "post-7"))
    answer = await edge.ask(row.path)
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == str(len(content))
    assert answer.headers["ETag"] == f'"{sha256(content).hexdigest()[:32]}"'
    assert answer.headers["Last-Modified"] == formatdate(row.modified_ns // 10**9, usegmt=True)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Surrogate-Key"] == f"file:{row.path} cats post-7"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Disposition" not in answer.headers
    assert "Content-Security-Policy" not in answer.headers


async def test_what_may_be_overwritten_is_asked_for_again(edge: Edge) -> None:
    row = await edge.put(b"one", "news.txt", "document", overwrite=True)
    first = await edge.ask(row.path)
    assert first.headers["Cache-Control"] == "no-cache"
    assert (await edge.ask(row.path, If_None_Match=first.headers["ETag"])).status == 304
    await edge.put(b"two", "news.txt", "document", overwrite=True)
    second = await edge.ask(row.path, If_None_Match=first.headers["ETag"])
    assert (second.status, second.body) == (200, b"two")


async def test_head_is_the_answer_without_its_body(edge: Edge) -> None:
    for size in (10, 3 * PIECE):
        row = await edge.put(b"x" * size, "x.txt", "document")
        get, head = await edge.ask(row.path), await edge.ask(row.path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert {k: v for k, v in head.headers.items() if k != "Date"} == {
            k: v for k, v in get.headers.items() if k != "Date"
        }


async def test_a_large_file_comes_whole(edge: Edge) -> None:
    content = os.urandom(5 * PIECE + 7)
    row = await edge.put(content, "x.bin")
    answer = await edge.ask(row.path)
    assert answer.body == content
    assert answer.headers["Content-Length"] == str(len(content))


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=4-2", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=\xe4-2", 200, b"0123456789", None),
    ],
)
async def test_a_part_of_a_file(edge: Edge, asked: str, status: int, body: bytes | None, told: str | None) -> None:
    row = await edge.put(b"0123456789", "x.txt", "document")
    answer = await edge.ask(row.path, Range=asked)
    assert answer.status == status
    assert answer.headers.get("Content-Range") == told
    if body is not None:
        assert answer.body == body
        assert answer.headers["Content-Length"] == str(len(body))
    else:
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_part_that_goes_over_several_pieces(edge: Edge) -> None:
    content = os.urandom(4 * PIECE)
    row = await edge.put(content, "x.bin")
    answer = await edge.ask(row.path, Range=f"bytes=10-{3 * PIECE}")
    assert (answer.status, answer.body) == (206, content[10 : 3 * PIECE + 1])


async def test_a_part_of_another_file_is_all_of_this_one(edge: Edge) -> None:
    row = await edge.put(b"0123456789", "x.txt", "document")
    os.utime(edge.store.folder.files / row.path, (1_700_000_000, 1_700_000_000))
    await edge.ask(row.path)
    await edge.store.catalogue.filled()  # from here on it is known by its content again
    whole = await edge.ask(row.path)
    etag, date = whole.headers["ETag"], whole.headers["Last-Modified"]
    assert date == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert (await edge.ask(row.path, Range="bytes=1-2", If_Range=etag)).status == 206
    assert (await edge.ask(row.path, Range="bytes=1-2", If_Range=date)).status == 206
    assert (await edge.ask(row.path, Range="bytes=1-2", If_Range='"other"')).status == 200
    assert (await edge.ask(row.path, Range="bytes=1-2", If_Range=f"W/{etag}")).status == 200
    assert (await edge.ask(row.path, Range="bytes=1-2", If_Range="Tue, 14 Nov 2023 22:13:21 GMT")).status == 200
    assert (await edge.ask(row.path, "HEAD", Range="bytes=1-2")).status == 200


async def test_who_has_it_is_told_so(edge: Edge) -> None:
    row = await edge.put(b"0123456789", "x.txt", "document", tags=("t",))
    whole = await edge.ask(row.path)
    etag, date = whole.headers["ETag"], whole.headers["Last-Modified"]
    for fields in (
        {"If_None_Match": etag},
        {"If_None_Match": f'"a", W/{etag}, "b"'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": date},
        {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"If_None_Match": etag, "Range": "bytes=0-1"},
    ):
        answer = await edge.ask(row.path, **fields)
        assert (answer.status, answer.body) == (304, b""), fields
        for name in ("ETag", "Last-Modified", "Cache-Control", "Surrogate-Key"):
            assert answer.headers[name] == whole.headers[name]
    for fields in (
        {"If_None_Match": '"other"'},
        {"If_None_Match": '"other"', "If_Modified_Since": date},
        {"If_Modified_Since": "Fri, 01 Jan 2010 00:00:00 GMT"},
        {"If_Modified_Since": "yesterday"},
    ):
        assert (await edge.ask(row.path, **fields)).status == 200, fields


async def test_a_condition_that_does_not_hold_is_told(edge: Edge) -> None:
    row = await edge.put(b"0123456789", "x.txt", "document")
    etag = (await edge.ask(row.path)).headers["ETag"]
    assert (await edge.ask(row.path, If_Match=etag)).status == 200
    assert (await edge.ask(row.path, If_Match="*")).status == 200
    for fields in (
        {"If_Match": f"W/{etag}"},
        {"If_Match": '"other"'},
        {"If_Unmodified_Since": "Fri, 01 Jan 2010 00:00:00 GMT"},
    ):
        answer = await edge.ask(row.path, **fields)
        assert answer.status == 412, fields
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_drawing_runs_nothing(edge: Edge) -> None:
    row = await edge.put(SVG, "dot.svg", "image")
    answer = await edge.ask(row.path)
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert "Content-Disposition" not in answer.headers


@pytest.mark.parametrize("name", ["page.html", "page.xhtml", "run.js", "page.svg.html", "x"])
async def test_a_page_is_saved_and_never_shown(edge: Edge, name: str) -> None:
    row = await edge.put(b"<!doctype html><script>alert(1)</script>", name)
    for answer in (
        await edge.ask(row.path),
        await edge.ask(row.path, "HEAD"),
        await edge.ask(row.path, Range="bytes=0-2"),
    ):
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].endswith("sandbox")


async def test_a_file_is_saved_under_the_name_that_its_owner_gave(edge: Edge) -> None:
    row = await edge.put(zipped(), 'Mein "Archiv" + neu;\r\n.zip', "archive")
    answer = await edge.ask(row.path)
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"Mein-Archiv-neu.zip\"; filename*=UTF-8''Mein%20%22Archiv%22%20%2B%20neu%3B.zip"
    )


async def test_what_was_copied_into_the_folder_is_served_by_what_it_is(edge: Edge) -> None:
    await edge.store.catalogue.filled()
    folder = edge.store.folder.files / "image"
    folder.mkdir()
    (folder / "cat.png").write_bytes(picture("PNG"))
    (folder / "page.png").write_bytes(b"<html><script>alert(1)</script>")
    cat, page = await edge.ask("image/cat.png"), await edge.ask("image/page.png")
    assert (cat.status, cat.headers["Content-Type"]) == (200, "image/png")
    assert cat.headers["Cache-Control"] == "no-cache"
    assert cat.headers["Surrogate-Key"] == "file:image/cat.png"
    await edge.store.catalogue.filled()
    cat = await edge.ask("image/cat.png")
    assert (await edge.ask("image/cat.png", If_None_Match=cat.headers["ETag"])).status == 304
    assert page.headers["Content-Type"] == "application/octet-stream"
    (folder / "cat.png").write_bytes(picture("PNG", (5, 5)))
    assert (await edge.ask("image/cat.png", If_None_Match=cat.headers["ETag"])).status == 200


async def test_what_was_copied_into_the_folder_is_listed_and_counted_once_it_was_asked_for(edge: Edge) -> None:
    await edge.store.catalogue.filled()
    folder = edge.store.folder.files / "image"
    folder.mkdir()
    contents = [picture("PNG", (side, side)) for side in (4, 5)]
    for name, content in zip(("a.png", "b.png"), contents, strict=True):
        (folder / name).write_bytes(content)
    for name in ("a.png", "b.png"):
        assert (await edge.ask(f"image/{name}")).status == 200
        await edge.store.catalogue.filled()
    assert await edge.store.totals() == (2, sum(map(len, contents)))
    assert [row.path for row in await edge.store.catalogue.page("", "", 10)] == ["image/a.png", "image/b.png"]


async def test_a_file_that_is_changed_by_hand_has_another_etag(edge: Edge) -> None:
    row = await edge.put(b"0123456789", "x.txt", "document")
    before = await edge.ask(row.path)
    with (edge.store.folder.files / row.path).open("r+b") as file:
        file.write(b"X")
    os.utime(edge.store.folder.files / row.path, (1_700_000_000, 1_700_000_000))
    after = await edge.ask(row.path, If_None_Match=before.headers["ETag"])
    assert (after.status, after.body) == (200, b"X123456789")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "document",
        "nothing.txt",
        "../index.sqlite3",
        "document/../../index.sqlite3",
        "%2e%2e/index.sqlite3",
        "..%2findex.sqlite3",
        "document%2Fsecret.txt",
        "document/secret.txt%00.png",
        "document/.hidden",
        ".hidden",
        "document//secret.txt",
        "/document/secret.txt",
        "document/secret.txt/",
        "document/./secret.txt",
        "document\\secret.txt",
        "document/secret%2etxt%2f..",
        "document/link.txt",
        "linked/secret.txt",
        "document/pipe",
        "outside",
    ],
)
async def test_nothing_else_is_there(edge: Edge, tmp_path: Path, path: str) -> None:
    (tmp_path / "passwd").write_text("secret")
    folder = edge.store.folder.files / "document"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret")
    (folder / ".hidden").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "passwd")
    (edge.store.folder.files / "linked").symlink_to(folder)
    (edge.store.folder.files / "outside").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    answer = await edge.raw(b"GET /cdn/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer
    assert b"secret" not in answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_files_are_only_read(edge: Edge, method: str) -> None:
    row = await edge.put(b"hello", "x.txt", "document")
    answer = await edge.ask(row.path, method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert (await edge.ask(row.path)).body == b"hello"


async def test_a_file_that_may_not_be_read_is_told_and_not_kept(edge: Edge) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    row = await edge.put(b"hello", "x.txt", "document")
    (edge.store.folder.files / row.path).chmod(0)
    answer = await edge.ask(row.path)
    assert answer.status == 503
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_file_that_is_deleted_while_it_is_read_comes_whole(edge: Edge) -> None:
    content = os.urandom(64 * PIECE)
    row = await edge.put(content, "x.bin")
    reader, writer = await asyncio.open_connection("127.0.0.1", edge._server.port)
    writer.write(b"GET /cdn/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % row.path.encode())
    await reader.readuntil(b"\r\n\r\n")
    assert await edge.store.delete(row.path)
    assert await reader.read() == content
    writer.close()
    await writer.wait_closed()
    assert (await edge.ask(row.path)).status == 404


async def test_a_file_that_is_read_while_the_settings_change_comes_whole(edge: Edge) -> None:
    content = os.urandom(64 * PIECE)
    row = await edge.put(content, "x.bin")
    reader, writer = await asyncio.open_connection("127.0.0.1", edge._server.port)
    writer.write(b"GET /cdn/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % row.path.encode())
    await reader.readuntil(b"\r\n\r\n")
    await edge.store.close()
    assert await reader.read() == content
    writer.close()
    await writer.wait_closed()


async def test_files_are_served_while_their_index_is_broken(edge: Edge) -> None:
    row = await edge.put(b"hello", "x.txt", "document", tags=("t",))
    await edge.store.catalogue.index.close()
    (edge.store.directory / "index.sqlite3").write_bytes(b"no database" * 1000)
    answer = await edge.ask(row.path)
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["Cache-Control"] == IMMUTABLE
    assert answer.headers["Surrogate-Key"] == f"file:{row.path} t"


async def test_requests_are_counted_with_the_bytes_they_got(edge: Edge) -> None:
    row = await edge.put(b"0123456789", "x.txt", "document")
    etag = (await edge.ask(row.path)).headers["ETag"]
    await edge.ask(row.path, Range="bytes=0-3")
    await edge.ask(row.path, "HEAD")
    await edge.ask(row.path, If_None_Match=etag)
    await edge.ask("document/nothing.txt")
    traffic, by_file = edge.counts.take()
    assert (traffic.reads, traffic.bytes_read, traffic.status_4xx) == (5, 14, 1)
    assert by_file == {row.path: 4}


async def test_a_client_that_goes_leaves_no_file_open(edge: Edge) -> None:
    row = await edge.put(bytes(200 * PIECE), "x.bin")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge._server.port)
        writer.write(b"GET /cdn/%b HTTP/1.1\r\nHost: x\r\n\r\n" % row.path.encode())
        await reader.read(1000)
        writer.transport.abort()
    for _ in range(200):
        if len(os.listdir("/proc/self/fd")) <= before:
            break
        await asyncio.sleep(0.02)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_the_handler_is_one_of_aiohttp(tmp_path: Path) -> None:
    files = Files(store_in(tmp_path), "/cdn/", Counts())
    app = web.Application()
    app.router.add_route("*", "/cdn/{path:.*}", files.handle)
    assert files.covers("/cdn/x")
    assert not files.covers("/cdnx")
