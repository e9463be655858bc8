"""Files over the API: read as they come, bounded, all or nothing, and by whoever may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from api.auth import Role
from balancer.cdn import errors
from balancer.cdn.errors import CdnError
from balancer.cdn.types import Capability
from balancer.telemetry.cdn_report import UPLOADS
from config.cdn import Cdn
from tests.api.desk import Answer, Desk
from tests.cdn.shelf import Shelf

CDN = "/api/infrastructure/cdn"
FILES = f"{CDN}/files"
MiB = 1 << 20


def shelf(desk: Desk) -> Shelf:
    return cast("Shelf", desk.services.cdn.provider)


async def form(desk: Desk, fields: aiohttp.FormData, query: str = "") -> Answer:
    headers = {"X-API-Key": desk.keys.text["operator"]}
    response = await desk.client.post(FILES + query, data=fields, headers=headers)
    content = await response.read()
    return Answer(response, content, json.loads(content))


def with_file(
    content: bytes = b"meow", filename: str = "cat.jpg", content_type: str = "image/jpeg"
) -> aiohttp.FormData:
    fields = aiohttp.FormData(quote_fields=False)
    fields.add_field("file", content, filename=filename, content_type=content_type)
    return fields


async def upload(desk: Desk, query: str, content: bytes = b"meow", role: Role = "operator") -> Answer:
    headers = {"Content-Type": "application/octet-stream", "X-API-Key": desk.keys.text[role]}
    response = await desk.client.post(FILES + query, data=BytesIO(content), headers=headers)
    found = await response.read()
    return Answer(response, found, json.loads(found))


# What is stored.


async def test_a_file_in_a_form_is_stored_under_its_own_name_and_type(desk: Desk) -> None:
    answer = await form(desk, with_file())
    assert answer.status == 201
    assert answer.json == {
        "path": "document/404cdd7b-cat.jpg",
        "url": "/cdn/document/404cdd7b-cat.jpg",
        "size": 4,
        "content_type": "image/jpeg",
        "sha256": sha256(b"meow").hexdigest(),
        "etag": '"404cdd7b"',
        "provider": "local",
        "stored_at": "2026-11-30T12:00:00Z",
        "tags": [],
        "hits": 0,
        "created": True,
        "ticket": None,
    }
    assert shelf(desk).contents == {"document/404cdd7b-cat.jpg": b"meow"}


async def test_the_same_file_again_is_no_new_one(desk: Desk) -> None:
    assert (await form(desk, with_file())).status == 201
    again = await form(desk, with_file())
    assert (again.status, again.at("created")) == (200, False)


async def test_fields_before_the_file_say_more_of_it(desk: Desk) -> None:
    fields = aiohttp.FormData()
    for name, value in {"name": "dog.bin", "kind": "document", "tags": "a,b,a", "overwrite": "true"}.items():
        fields.add_field(name, value)
    fields.add_field("file", b"woof", filename="x", content_type="application/octet-stream")
    assert (await form(desk, fields)).status == 201
    (request,) = shelf(desk).requests
    assert (request.name, request.kind, request.tags, request.overwrite) == ("dog.bin", "document", ("a", "b"), True)
    assert request.content_type is None  # octet-stream says nothing


async def test_the_query_says_it_as_well_and_nothing_is_said_twice(desk: Desk) -> None:
    assert (await form(desk, with_file(), "?name=dog.png&kind=other")).status == 201
    assert (shelf(desk).requests[0].name, shelf(desk).requests[0].kind) == ("dog.png", "other")
    fields = aiohttp.FormData({"name": "a"})
    fields.add_field("file", b"x", filename="x")
    answer = await form(desk, fields, "?name=b")
    assert answer.faults == {"/name": "is said twice"}


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("content", "content_type", "query", "kind", "told"),
    [
        (PNG, "image/png", "?name=a", "image", "image/png"),
        (PNG, "application/x-www-form-urlencoded", "?name=con", "image", None),  # curl --data-binary
        (PNG, "application/gzip", "?name=a.tar.gz", "image", "application/gzip"),
        (PNG, "image/png", "?name=a.mp3&kind=audio", "audio", "image/png"),  # whoever stores it finds that out
        (b"wOF2", "application/octet-stream", "?name=a", "font", None),
        (b"OggS", "application/octet-stream", "?name=a.ogg", "audio", None),
        (b"OggS", "application/octet-stream", "?name=a.ogv", "video", None),
        (b"PK\x03\x04", "application/octet-stream", "?name=a.docx", "document", None),
        (b"PK\x03\x04", "application/octet-stream", "?name=a", "archive", None),
        (b"a {}", "text/css", "?name=a.css", "document", "text/css"),
        (b"<html>", "image/png", "?name=a.png", "other", "image/png"),
        (b"\0\1\2", "video/mp4", "?name=a.mp4", "other", "video/mp4"),
        (b"", "image/png", "?name=a.png", "other", "image/png"),
    ],
)
async def test_a_file_is_of_the_kind_that_its_bytes_are_unless_it_is_said(
    desk: Desk, content: bytes, content_type: str, query: str, kind: str, told: str | None
) -> None:
    answer = await desk.ask("POST", FILES + query, raw=content, headers={"Content-Type": content_type})
    assert answer.status == 201
    (request,) = shelf(desk).requests
    assert (request.kind, request.content_type, request.size_bytes) == (kind, told, len(content))
    assert list(shelf(desk).contents.values()) == [content]


async def test_white_space_around_tags_is_none_of_theirs(desk: Desk) -> None:
    assert (await upload(desk, "?name=a&tags=cats,%20home%20,")).status == 201
    assert (await upload(desk, "?name=b&tags=")).status == 201
    assert [request.tags for request in shelf(desk).requests] == [("cats", "home"), ()]


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\cat\\passwd", "/passwd", " passwd "])
async def test_only_the_last_part_of_a_path_is_a_name(desk: Desk, name: str) -> None:
    assert (await form(desk, with_file(filename=name))).status == 201
    assert shelf(desk).requests[0].name == "passwd"


async def test_a_large_file_is_never_whole_in_memory(desk: Desk) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(MiB // 4)

    headers = {"X-API-Key": desk.keys.text["operator"]}
    response = await desk.client.post(FILES + "?name=a.bin", data=pieces(), headers=headers)
    assert response.status == 201
    assert sum(shelf(desk).pieces) == 16 * MiB
    assert max(shelf(desk).pieces) <= MiB


# What is not.


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("", {"?name": "is required"}),
        ("?name=", {"?name": "at least 1 character"}),
        ("?name=..", None),
        ("?name=a%2F", {"/name": "must be a name"}),
        ("?name=a&kind=film", {"?kind": "must be"}),
        (
            "?name=a&tags=a%20b",
            {"?tags": 'must have tags of at most 200 visible ASCII characters with commas between them, not "a b"'},
        ),
        (f"?name=a&tags={'a' * 201}", {"?tags": "must have tags of at most 200"}),
        (f"?name=a&tags={','.join(map(str, range(65)))}", {"?tags": "must be at most 64 tags, not 65"}),
        ("?name=a&overwrite=perhaps", {"?overwrite": 'must be true or false, not "perhaps"'}),
        ("?name=a&sha256=12", {"?sha256": "must match"}),
        ("?name=a&size=3", {"?size": "not a field"}),
    ],
)
async def test_what_is_said_of_a_file_must_be_right(desk: Desk, query: str, faults: dict[str, str] | None) -> None:
    answer = await upload(desk, query)
    if faults is None:
        return
    assert answer.status == 422
    assert answer.at("code") == "cdn_invalid"
    assert list(answer.faults) == list(faults)
    for pointer, reason in faults.items():
        assert reason in answer.faults[pointer]
    assert shelf(desk).files_ == {}


async def test_a_form_must_have_one_file_and_that_last(desk: Desk) -> None:
    none = await form(desk, aiohttp.FormData({"name": "a", "kind": "image"}, default_to_multipart=True))
    assert none.faults == {"/file": "is required: curl -F file=@cat.jpg"}
    late = with_file()
    late.add_field("kind", "image")
    assert (await form(desk, late)).faults == {"/kind": "fields must stand before the file"}
    two = with_file()
    two.add_field("file", b"again", filename="b.jpg")
    assert (await form(desk, two)).faults == {"/file": "one file is taken at a time"}
    unknown = aiohttp.FormData({"colour": "red"})
    unknown.add_field("file", b"x", filename="x")
    assert list((await form(desk, unknown)).faults) == ["/colour"]
    assert (await form(desk, with_file(filename=""))).status == 422
    assert shelf(desk).files_ == {}


async def test_a_form_that_is_broken_leaves_nothing(desk: Desk) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    whole = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nmeow\r\n--b--\r\n'
    for body in (whole[:-6], whole[:-20], b"", b"--b", whole + b"x", whole.replace(b"form-data", b"attachment")):
        answer = await desk.ask("POST", FILES, raw=body, headers=headers)
        assert answer.status == 400, body
        assert "is not multipart/form-data as it should be" in str(answer.at("detail"))
    assert (await desk.ask("POST", FILES, raw=whole, headers={"Content-Type": "multipart/form-data"})).status == 400
    assert shelf(desk).files_ == {}
    assert (await desk.ask("POST", FILES, raw=whole, headers=headers)).status == 201


async def test_bytes_with_another_hash_than_was_said_are_not_stored(desk: Desk) -> None:
    right = sha256(b"meow").hexdigest()
    wrong = await upload(desk, f"?name=a&sha256={right}", b"meouw")
    assert (wrong.status, wrong.at("code")) == (422, "cdn_invalid")
    assert (await upload(desk, f"?name=a&sha256={right}")).status == 201


async def test_a_file_must_be_sent_as_it_is(desk: Desk) -> None:
    answer = await desk.ask("POST", f"{FILES}?name=a", raw=b"", headers={"Content-Encoding": "gzip"})
    assert answer.status == 415


async def small(desk: Desk) -> None:
    """Let files have three MiB at most: more than any other body may have."""
    desk.room.write(desk.keys.lines + "\ncdn: {max_upload: 3MiB}\n")
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    await desk.services.cdn.change(desk.room.control.snapshot.config.cdn)


async def test_a_file_may_be_larger_than_other_bodies_but_not_than_cdn_max_upload(desk: Desk) -> None:
    await small(desk)

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(MiB)

    headers = {"X-API-Key": desk.keys.text["operator"]}
    for size, status in ((2, 201), (3, 201), (4, 413)):
        announced = await upload(desk, "?name=a", bytes(size * MiB))
        assert announced.status == status
        response = await desk.client.post(FILES + "?name=b", data=pieces(size), headers=headers)
        assert response.status == status
    assert announced.at("detail") == (
        "the file may have 3 MiB at most (cdn.max_upload), and not 4.0 MiB; nothing is kept"
    )
    assert announced.at("code") == "cdn_too_large"
    assert {len(content) for content in shelf(desk).contents.values()} == {2 * MiB, 3 * MiB}
    purge = await desk.client.post("/api/infrastructure/cache/purge", data=BytesIO(bytes(MiB + 1)), headers=headers)
    assert (await purge.json(content_type=None))["detail"] == f"the body must be at most 1 MiB, not {MiB + 1} bytes"


async def raw(desk: Desk, *lines: str, body: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(desk.client.host, int(desk.client.port or 0))
    writer.write("\r\n".join((f"POST {FILES}?name=a.bin HTTP/1.1", "Host: localhost", *lines, "", "")).encode() + body)
    return reader, writer


@pytest.mark.parametrize("role", [None, "viewer"])
async def test_nothing_of_a_file_is_read_from_who_may_not_upload(desk: Desk, role: str | None) -> None:
    key = [f"X-API-Key: {desk.keys.text[role]}"] if role is not None else []  # type: ignore[index]  # a role's name
    reader, writer = await raw(desk, *key, "Content-Length: 50000000", "Expect: 100-continue")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 401" if role is None else b"HTTP/1.1 403")  # and no 100 before it
    writer.close()


async def test_whoever_may_is_asked_for_the_file(desk: Desk) -> None:
    key = f"X-API-Key: {desk.keys.text['operator']}"
    reader, writer = await raw(desk, key, "Content-Length: 4", "Expect: 100-continue", "Connection: close")
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"meow")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)).startswith(b"HTTP/1.1 201")
    writer.close()


async def test_an_upload_that_breaks_off_leaves_nothing(desk: Desk) -> None:
    key = f"X-API-Key: {desk.keys.text['operator']}"
    _, writer = await raw(desk, key, "Content-Length: 50000", body=b"meow" * 2000)
    await shelf(desk).begun.wait()
    writer.close()
    await shelf(desk).ended.wait()
    assert shelf(desk).files_ == {}


async def test_an_upload_has_a_line_in_the_trail_before_and_after_it(desk: Desk) -> None:
    await form(desk, with_file())
    after, before = list(desk.services.trail.lines(None))[:2]
    assert (before.phase, before.operation, after.phase, after.status) == ("intent", "upload_file", "done", 201)
    assert [(change.path, change.after) for change in after.changes] == [("cdn.files", "document/404cdd7b-cat.jpg")]


# What is there, and what is removed.


async def test_files_are_listed_page_by_page(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        await upload(desk, f"?name={name}.png&kind=image&overwrite=true")
    await upload(desk, "?name=d.pdf&overwrite=true")
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        query = f"&after={after}" if after else ""
        page = await desk.ask("GET", f"{FILES}?prefix=image/&limit=2{query}", role="viewer")
        assert page.status == 200
        found += [item["path"] for item in cast("list[dict[str, str]]", page.json["items"])]
        after = cast("str | None", page.json["next"])
    assert found == ["image/a.png", "image/b.png", "image/c.png"]


@pytest.mark.parametrize("written", ["image/a b.png", "image/a%20b.png", "image%2Fa%20b.png", "image%2fa%20b.png"])
async def test_a_file_is_removed_by_its_path_however_its_slashes_are_written(desk: Desk, written: str) -> None:
    await upload(desk, "?name=a%20b.png&kind=image&overwrite=true")
    target = f"{FILES}/{written.replace(' ', '%20')}"
    first = await _delete(desk, target)
    assert (first.status, first.at("path"), first.at("existed")) == (200, "image/a b.png", True)
    again = await _delete(desk, target)
    assert (again.status, again.at("existed")) == (200, False)


async def _delete(desk: Desk, target: str) -> Answer:
    from yarl import URL

    url = URL(f"http://{desk.client.host}:{desk.client.port}{target}", encoded=True)
    headers = {"X-API-Key": desk.keys.text["operator"]}
    async with aiohttp.ClientSession() as session, session.delete(url, headers=headers) as response:
        content = await response.read()
        return Answer(response, content, json.loads(content))


@pytest.mark.parametrize(
    "path",
    ["", "/", "a//b", "../a", "a/../b", "a/./b", "a/%2e%2e/b", "a%2F..%2Fb", "a%2F%2Fb", "a/", "a%00", "a%5Cb", "a;b"],
)
async def test_what_is_no_path_of_a_file_is_nowhere(desk: Desk, path: str) -> None:
    assert (await _delete(desk, f"{FILES}/{path}")).status == 404


# How it is.


async def test_the_status_tells_what_the_provider_says(desk: Desk) -> None:
    answer = await desk.ask("GET", f"{CDN}/status", role="viewer")
    assert answer.status == 200
    assert (answer.at("enabled"), answer.at("provider"), answer.at("ok"), answer.at("problems")) == (
        True,
        "local",
        True,
        [],
    )
    assert answer.at("limits") == {"purge": {"left": 900.0, "capacity": 1000.0, "refill": 0.5, "blocked": 0.0}}
    assert answer.at("pictures") == {"by": "local", "path": "/img/", "signed": True, "presets": [], "sources": []}


async def test_the_credential_is_checked_once_a_minute_however_many_ask(desk: Desk) -> None:
    await asyncio.gather(*(desk.ask("GET", f"{CDN}/status") for _ in range(5)))
    assert shelf(desk).checks == 1
    desk.clock.now += 61
    await desk.ask("GET", f"{CDN}/status")
    assert shelf(desk).checks == 2


async def test_the_status_has_the_traffic_of_the_last_day(desk: Desk) -> None:
    answer = await desk.ask("GET", f"{CDN}/status")
    expected = {"requests": 3, "bytes_out": None, "hits": 2, "hit_ratio": 2 / 3, "status_5xx": None}
    assert answer.at("last_day") == expected
    await desk.services.cdn.change(None)
    assert (await desk.ask("GET", f"{CDN}/status")).at("last_day") is None


async def test_another_configuration_is_checked_at_once(desk: Desk) -> None:
    await desk.ask("GET", f"{CDN}/status")
    await desk.services.cdn.change(Cdn(url="https://cdn.example.com"))
    answer = await desk.ask("GET", f"{CDN}/status")
    assert (answer.at("url"), shelf(desk).checks) == ("https://cdn.example.com", 1)


async def test_without_a_cdn_it_is_said_how_to_have_one(desk: Desk, tmp_path: Path) -> None:
    await desk.services.cdn.change(None)
    status = await desk.ask("GET", f"{CDN}/status")
    assert (status.status, status.at("enabled"), status.at("ok")) == (200, False, False)
    assert "write `cdn: true`" in str(status.at("problems", 0, "message"))
    for method, path in (("GET", FILES), ("DELETE", f"{FILES}/a"), ("POST", f"{FILES}?name=a")):
        answer = await desk.ask(method, path)
        assert (answer.status, answer.at("code")) == (409, "cdn_config")
        assert "write `cdn: true`" in str(answer.at("detail"))


@pytest.mark.parametrize(
    ("error", "status", "wait"),
    [
        (errors.ConfigError("x"), 409, None),
        (errors.AuthError("x"), 502, None),
        (errors.MissingRight("x"), 502, None),
        (errors.NotFound("x"), 404, None),
        (errors.Invalid("x"), 422, None),
        (errors.TooLarge("x"), 413, None),
        (errors.SourceBlocked("x"), 400, None),
        (errors.SourceUnreachable("x"), 502, None),
        (errors.Unsupported("x"), 501, None),
        (errors.RateLimited("x", retry_after_s=2.2), 503, "3"),
        (errors.QuotaExhausted("x"), 503, None),
        (errors.Full("x"), 507, None),
        (errors.Full("x", retry_after_s=1), 503, "1"),
        (errors.Unavailable("x"), 502, None),
        (errors.ProtocolError("x"), 502, None),
    ],
)
async def test_each_thing_that_goes_wrong_has_its_status(
    desk: Desk, error: CdnError, status: int, wait: str | None
) -> None:
    shelf(desk).failure = error
    answer = await upload(desk, "?name=a")
    assert (answer.status, answer.at("detail"), answer.at("code")) == (status, "x", error.code)
    assert answer.headers.get("Retry-After") == wait


# Figures and pictures.


async def test_figures_are_of_the_period_that_was_asked_for(desk: Desk) -> None:
    answer = await desk.ask("GET", f"{CDN}/stats?from=2026-11-30T00:00:00Z&to=2026-11-30T02:00:00%2B01:00&interval=10m")
    assert answer.status == 200
    assert (answer.at("from"), answer.at("to"), answer.at("interval")) == (
        "2026-11-30T00:00:00Z",
        "2026-11-30T01:00:00Z",
        600.0,
    )
    assert (answer.at("requests"), answer.at("bytes_out")) == (3, None)
    assert answer.at("missing") == {"bytes_out": "is not counted"}
    assert answer.at("series", 0) == {"at": "2026-11-30T00:00:00Z", "requests": 3, "bytes_out": None, "hits": 2}
    assert "from_" not in answer.json


@pytest.mark.parametrize(
    ("query", "pointer", "reason"),
    [
        ("?from=yesterday", "?from", "must be a time such as"),
        ("?from=2026-13-01T00:00:00Z", "?from", "must be a time such as"),
        ("?from=1h&to=2h", "?from", "must be before the end"),
        ("?to=9999999d", "?to", "must be a time such as"),
        ("?interval=1s", "?interval", "must be a duration such as 5m or 1h, at least 60s"),
        ("?interval=soon", "?interval", "must be a duration"),
        ("?from=90d&interval=1m", "?interval", "must be longer"),
        ("?since=1h", "?since", "not a field"),
    ],
)
async def test_a_period_must_be_one(desk: Desk, query: str, pointer: str, reason: str) -> None:
    answer = await desk.ask("GET", f"{CDN}/stats{query}")
    assert answer.status == 422
    assert list(answer.faults) == [pointer]
    assert reason in answer.faults[pointer]


async def test_a_picture_is_where_the_provider_says(desk: Desk) -> None:
    answer = await desk.ask("POST", f"{CDN}/optimize-image", {"url": "image/cat.jpg", "width": 320}, role="operator")
    assert (answer.status, answer.json) == (
        200,
        {
            "url": "/img/w=320/image/cat.jpg",
            "provider": "local",
            "expires_at": None,
            "notes": ["a note"],
            "rendered": None,
        },
    )
    for wrong in ({"url": ""}, {"url": "a", "width": 0}, {"url": "a", "quality": 101}, {"url": "a", "format": "bmp"}):
        assert (await desk.ask("POST", f"{CDN}/optimize-image", wrong)).status == 422


async def test_a_provider_without_figures_says_so(desk: Desk) -> None:
    shelf(desk).capabilities = Capability.UPLOAD
    answer = await desk.ask("GET", f"{CDN}/stats")
    assert (answer.status, answer.at("code")) == (501, "cdn_unsupported")


# What is counted.


async def prometheus(desk: Desk) -> dict[str, float]:
    page = (await desk.ask("GET", "/metrics")).content.decode()
    lines = (line.rpartition(" ") for line in page.splitlines() if line.startswith("balancer_cdn_"))
    return {name: float(value) for name, _, value in lines}


async def test_uploads_purges_and_checks_are_counted(desk: Desk) -> None:
    await upload(desk, "?name=a.png")
    await upload(desk, "?name=a.png")
    shelf(desk).failure = errors.Full("x")
    await upload(desk, "?name=b.png")
    shelf(desk).failure = None
    await desk.services.cdn.purge_cache(["/a"])
    await desk.ask("GET", f"{CDN}/status")
    found = await prometheus(desk)
    assert found['balancer_cdn_up{provider="local"}'] == 1
    counts = {result: found[f'balancer_cdn_uploads_total{{provider="local",result="{result}"}}'] for result in UPLOADS}
    assert counts == {"created": 1, "there": 1, "failed": 1}
    assert found['balancer_cdn_upload_bytes_total{provider="local"}'] == 8
    assert found['balancer_cdn_purges_total{provider="local",state="completed"}'] == 1
    assert found['balancer_cdn_pictures_total{result="made"}'] == 0
    stats = await desk.ask("GET", "/api/infrastructure/stats")
    assert (stats.at("cdn", "uploads"), stats.at("cdn", "upload_bytes")) == (counts, 8)
    await desk.services.cdn.change(None)
    assert await prometheus(desk) == {}
    assert (await desk.ask("GET", "/api/infrastructure/stats")).at("cdn") is None


async def test_health_tells_of_the_cdn_and_never_takes_the_balancer_out_for_it(desk: Desk) -> None:
    health = "/api/monitoring/health"
    first = await desk.ask("GET", health)
    assert first.at("checks", "cdn", "status") == "unknown"
    await desk.ask("GET", f"{CDN}/status")
    assert (await desk.ask("GET", health)).at("checks", "cdn", "status") == "ok"
    shelf(desk).failure = errors.AuthError("the token has expired")
    desk.clock.now += 61
    await desk.ask("GET", f"{CDN}/status")
    ill = await desk.ask("GET", health)
    assert (ill.status, ill.at("checks", "cdn", "status")) == (200, "degraded")
    assert ill.at("checks", "cdn", "reason") == "the token has expired"
    assert shelf(desk).checks == 2  # whoever looks at health asks no provider more often
    await desk.services.cdn.change(None)
    assert "cdn" not in (await desk.ask("GET", health)).json["checks"]  # type: ignore[operator]  # JSON
