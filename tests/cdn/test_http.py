"""One call to a provider, against servers on this machine that behave and that do not."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from socket import socket

import aiohttp
import pytest
from aiohttp import web
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from balancer.cdn.answer import LONGEST_WAIT, Allowance, Answer, allowance, retry_after
from balancer.cdn.calls import Calls
from balancer.cdn.errors import (
    AuthError,
    CdnError,
    ConfigError,
    Invalid,
    MissingRight,
    NotFound,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    TooLarge,
    Unavailable,
)
from balancer.cdn.http import LARGEST, Call, Caller, open_session
from tests.health.sites import say, site, wire

SECRET = "s3cr3t/to+ken"


class Zone(TypedDict):
    name: str


class Provider:
    """A caller with its session, for as long as the test."""

    def __init__(self, base: str, timeout: float = 5.0, headers: Mapping[str, str] | None = None) -> None:
        self.session = open_session()
        self.calls = Calls("acme")
        fields = {"Authorization": f"Bearer {SECRET}"} if headers is None else headers
        self.caller = Caller(self.session, "acme", base, fields, timeout, [SECRET], calls=self.calls)

    async def __aenter__(self) -> Caller:
        return self.caller

    async def __aexit__(self, *exc: object) -> None:
        await self.session.close()


LOOK = Call("look", "GET", "/zone")


async def failed(caller: Caller, call: Call = LOOK) -> CdnError:
    with pytest.raises(CdnError) as caught:
        await caller.make(call)
    return caught.value


def raw(head: str, body: str) -> bytes:
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


async def test_a_call_sends_what_it_says_and_gives_the_answer() -> None:
    seen: list[tuple[str, str, str | None, bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.raw_path, request.headers.get("Authorization"), await request.read()))
        return web.json_response({"name": "example.com"}, headers={"CF-Ray": "abc-FRA"})

    async with site(handler) as url, Provider(url + "/v4") as caller:
        call = Call("look", "POST", "/zones/1", params={"url": "https://a/b?c=d e&f"}, json={"x": [1]})
        answer = await caller.make(call)
    assert seen == [("POST", "/v4/zones/1?url=https%3A%2F%2Fa%2Fb%3Fc%3Dd%20e%26f", f"Bearer {SECRET}", b'{"x":[1]}')]
    assert answer.into(TypeAdapter(Zone)) == {"name": "example.com"}
    assert answer.request_id == "abc-FRA"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, AuthError),
        (403, MissingRight),
        (404, NotFound),
        (408, Unavailable),
        (413, TooLarge),
        (418, Invalid),
        (429, RateLimited),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
async def test_a_status_says_whose_fault_it_is(status: int, kind: type[CdnError]) -> None:
    async with site(say("so it is", status)) as url, Provider(url) as caller:
        error = await failed(caller)
    assert type(error) is kind
    assert str(error) == f"acme answered {status} to look: so it is"
    assert (error.provider, error.status) == ("acme", status)


async def test_a_provider_judges_before_the_status_does() -> None:
    def judge(answer: Answer) -> CdnError | None:
        return answer.fault(QuotaExhausted, "spent", code="9422") if b"9422" in answer.body else None

    async with site(say("err 9422")) as url, open_session() as session:
        error = await failed(Caller(session, "acme", url, {}, 5.0, [], judge=judge))
    assert (type(error), error.provider_code, error.status) == (QuotaExhausted, "9422", 200)


async def test_a_redirect_is_an_error_and_nobody_gets_the_credential() -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async with site(elsewhere) as other:

        async def handler(request: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": f"{other}/zone"})

        async with site(handler) as url, Provider(url) as caller:
            error = await failed(caller)
    assert isinstance(error, ProtocolError)
    assert "redirect" in str(error)
    assert asked == []


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with site(say("{}")) as url, Provider(url) as caller:
        assert (await caller.make(LOOK)).status == 200


async def test_a_server_that_says_nothing_is_unavailable_after_the_timeout() -> None:
    async with wire(b"", "hang") as url, Provider(url, timeout=0.05) as caller:
        error = await failed(caller)
    assert isinstance(error, Unavailable)
    assert error.retryable
    assert str(error) == "acme at 127.0.0.1 could not be asked for look: no answer within 0.05 s"


async def test_a_server_that_stops_in_mid_body_is_unavailable_after_the_timeout() -> None:
    async with wire(b'HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"a', "hang") as url:
        async with Provider(url, timeout=0.05) as caller:
            assert isinstance(await failed(caller), Unavailable)


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_connection_that_breaks_in_mid_body_is_unavailable(end: str) -> None:
    async with wire(b'HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"a', "reset" if end == "reset" else "close") as url:
        async with Provider(url) as caller:
            assert isinstance(await failed(caller), Unavailable)


async def test_nobody_there_is_unavailable() -> None:
    async with site(say()) as url:
        pass
    async with Provider(url) as caller:
        assert isinstance(await failed(caller), Unavailable)


async def test_what_was_closed_is_unavailable() -> None:
    async with site(say()) as url:
        async with Provider(url) as caller:
            pass
        assert isinstance(await failed(caller), Unavailable)


async def test_bytes_that_are_no_http_are_unavailable() -> None:
    async with wire(b"\x00\x01\x02 nonsense\r\n\r\n") as url, Provider(url) as caller:
        assert isinstance(await failed(caller), Unavailable)


async def test_an_answer_is_bounded() -> None:
    async with site(say("x" * (LARGEST + 1))) as url, Provider(url) as caller:
        error = await failed(caller)
    assert isinstance(error, ProtocolError)
    assert "more than 2097152 bytes" in str(error)


async def test_truncated_json_is_kept_in_part_and_without_secrets() -> None:
    text = '{"key": "' + SECRET + '", "again": "s3cr3t%2Fto%2Bken", "json": "s3cr3t\\/to+ken", "more": "' + "y" * 5000
    async with wire(raw("200 OK", text)) as url, Provider(url) as caller:
        answer = await caller.make(LOOK)
    with pytest.raises(ProtocolError) as caught:
        answer.json()
    error = caught.value
    assert error.kept.startswith('{"key": "***", "again": "***", "json": "***", "more": "yyy')
    assert len(error.kept) == 2048
    assert "s3cr3t" not in str(error)


async def test_json_of_another_shape_says_where_and_shows_no_secret() -> None:
    async with site(say('{"name": ["' + SECRET + '"]}')) as url, Provider(url) as caller:
        answer = await caller.make(LOOK)
    with pytest.raises(ProtocolError, match="to look: name is not as expected") as caught:
        answer.into(TypeAdapter(Zone))
    assert SECRET not in str(caught.value)


async def test_what_an_answer_says_can_not_write_into_the_log() -> None:
    async with site(say("a\r\nb\x1b[31m" + SECRET, 400)) as url, Provider(url) as caller:
        error = await failed(caller)
    assert str(error) == "acme answered 400 to look: a  b [31m***"


async def test_how_long_to_wait_is_in_the_error() -> None:
    async with wire(raw("429 Slow\r\nRetry-After: 17", "")) as url, Provider(url) as caller:
        error = await failed(caller)
    assert (type(error), error.retry_after_s) == (RateLimited, 17.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("999999999999", LONGEST_WAIT),
        ("9" * 500, LONGEST_WAIT),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, "Wed, 21 Oct 2026 07:28:00 GMT") == seconds


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('"default";r=50;t=30', Allowance(50, 30.0)),
        ('"burst";r=90;t=1, "default";r=0;t=300', Allowance(0, 300.0)),
        ('"default";r=5', Allowance(5, 0.0)),
        ('"default"', None),
        ('"default";r=-5;t=3', None),
        ("r=5;;", None),
        ("", None),
        (None, None),
    ],
)
def test_ratelimit_tells_the_tightest_limit(value: str | None, found: Allowance | None) -> None:
    assert allowance(value) == found


@pytest.mark.parametrize(
    "base",
    ["http://10.0.0.1", "http://api.example.com", "https://user:pw@api.example.com", "ftp://127.0.0.1", "https:///x"],
)
async def test_a_base_that_would_give_the_credential_away_is_refused(base: str) -> None:
    async with open_session() as session:
        with pytest.raises(ConfigError, match="endpoints"):
            Caller(session, "acme", base, {}, 1.0, [])


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:1", "http://[::1]:1/v4/", "http://localhost", "https://api.example.com"]
)
async def test_this_machine_may_be_asked_in_the_clear(base: str) -> None:
    async with open_session() as session:
        Caller(session, "acme", base, {}, 1.0, [])


@pytest.mark.parametrize("key", ["a\r\nX: y", "näh", "a\tb"])
async def test_a_credential_that_is_no_field_value_is_refused(key: str) -> None:
    async with open_session() as session:
        with pytest.raises(ConfigError) as caught:
            Caller(session, "acme", "https://api.example.com", {"AccessKey": key}, 1.0, [key])
    assert key not in str(caught.value)


async def test_calls_are_counted_by_what_became_of_them() -> None:
    statuses = iter([200, 500, 401, 200])

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=next(statuses))

    async with site(handler) as url:
        provider = Provider(url)
        async with provider as caller:
            await caller.make(LOOK)
            await failed(caller)
            await failed(caller)
            await caller.make(Call("purge", "POST", "/purge"))
    assert provider.calls.results == {
        ("look", "ok"): 1,
        ("look", "unavailable"): 1,
        ("look", "auth"): 1,
        ("purge", "ok"): 1,
    }
    assert set(provider.calls.seconds) == {"look", "purge"}


class Taker:
    """A server that takes a body; `lengths` of those that came whole."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        self.lengths.append(len(await request.read()))
        return web.Response(status=201)


@pytest.mark.slow
async def test_an_upload_whose_file_comes_slowly_may_take_longer_than_the_timeout() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await asyncio.sleep(0.6)  # longer than the timeout below: that is what is to be shown
        yield b"x" * 1000

    taker = Taker()
    async with site(taker.take) as url, Provider(url, timeout=0.5) as caller:
        answer = await caller.make(Call("upload", "PUT", "/a", body=pieces(), headers={"Content-Length": "2000"}))
    assert (answer.status, taker.lengths) == (201, [2000])


async def test_an_upload_that_nobody_takes_is_unavailable() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async with wire(b"", "hang") as url, Provider(url, timeout=0.2) as caller:
        error = await failed(caller, Call("upload", "PUT", "/a", body=endless()))
    assert isinstance(error, Unavailable)


async def test_what_a_body_raises_is_raised_as_it_is_and_no_part_of_it_counts() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise TooLarge("more than there may be")

    taker = Taker()
    async with site(taker.take) as url, Provider(url) as caller:
        error = await failed(caller, Call("upload", "PUT", "/a", body=broken()))
    assert str(error) == "more than there may be"
    assert taker.lengths == []


async def test_a_form_is_sent_as_one() -> None:
    fields: dict[str, object] = {}

    async def handler(request: web.Request) -> web.Response:
        form = await request.post()
        fields.update({name: value if isinstance(value, str) else value.file.read() for name, value in form.items()})
        return web.Response()

    form = aiohttp.FormData()
    form.add_field("file", b"bytes", filename="a.png")
    form.add_field("id", "7")
    async with site(handler) as url, Provider(url) as caller:
        await caller.make(Call("upload", "POST", "/images", body=form))
    assert fields == {"file": b"bytes", "id": "7"}


async def test_where_nobody_listens_nothing_is_said_of_tls() -> None:
    with socket() as held:  # bound, and not listening
        held.bind(("127.0.0.1", 0))
        async with Provider(f"http://127.0.0.1:{held.getsockname()[1]}") as caller:
            error = await failed(caller)
    assert isinstance(error, Unavailable)
    assert str(error).startswith("acme at 127.0.0.1 could not be asked for look: ")
    assert "ssl" not in str(error)
