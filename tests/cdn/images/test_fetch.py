"""Pictures are fetched over real connections, from where they may be and from nowhere else."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
import structlog
import trustme

from balancer.cdn.errors import CdnError, Full, SourceBlocked, SourceUnreachable
from balancer.cdn.images.fetch import LOOP_MARK, MOST_OF_ONE, Fetched, Fetcher, looped
from balancer.cdn.images.magic import TYPES, kind
from balancer.cdn.lookups import Lookup, Lookups
from config.cdn import CdnImages
from tests.cdn.images.names import Answers, Names, answers

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 50
LOOPBACK = (ip_network("127.0.0.0/8"),)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def picture(body: bytes = PNG, *more: str, kind: str = "image/png", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {size}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(where: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()


class Server:
    """One that answers with bytes, by the path that is asked for, and keeps what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, bytes] = {}
        self.heads: list[bytes] = []
        self.handler: Handler | None = None
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if self.handler is not None:
                await self.handler(reader, writer)
            else:
                writer.write(self.answers.get(head.split()[1].decode(), picture()))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def server(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Server]:
    one = Server()
    running = await asyncio.start_server(one.serve, host, port, ssl=tls)
    one.port = running.sockets[0].getsockname()[1]
    async with running:
        yield one


@asynccontextmanager
async def fetching(
    *sources: str,
    names: Lookup | None = None,
    tls: ssl.SSLContext | None = None,
    networks: bool = True,
    timeout: float = 5.0,  # noqa: ASYNC109  # a setting under test
    largest: int = 100_000,
) -> AsyncIterator[Fetcher]:
    settings = CdnImages(sources=sources, networks=LOOPBACK if networks else (), timeout=timeout, max_source=largest)
    fetcher = Fetcher(settings, lookups=Lookups(names or Names()), tls=tls)
    await fetcher.start()
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def failure(fetcher: Fetcher, url: str) -> tuple[type[CdnError], str]:
    """How a fetch fails, and the reason that the log has."""
    with structlog.testing.capture_logs() as told, pytest.raises(CdnError) as error:
        await fetcher.fetch(url)
    (line,) = told
    assert line["event"] == error.value.code
    assert str(error.value) in {"The picture is not fetched from there.", "The picture could not be fetched."}
    return type(error.value), line["reason"]


async def test_a_picture_comes_with_its_type_and_tag() -> None:
    async with server() as one, fetching(f"http://media.test:{one.port}/") as fetcher:
        one.answers["/cat.png"] = picture(PNG, 'ETag: "1"')
        assert await fetcher.fetch(f"http://media.test:{one.port}/cat.png#top") == Fetched(PNG, "image/png", '"1"')


async def test_a_request_says_who_asks_and_nothing_else() -> None:
    async with server() as one, fetching(f"http://media.test:{one.port}/") as fetcher:
        one.answers["/a"] = redirect("/b?c=d").replace(b"Content-Length", b"Set-Cookie: a=b; Path=/\r\nContent-Length")
        await fetcher.fetch(f"http://media.test:{one.port}/a")
    fields = [
        b"GET /b?c=d HTTP/1.1",
        f"Host: media.test:{one.port}".encode(),
        b"Accept: image/*",
        b"Accept-Encoding: identity",
        b"User-Agent: balancer-pictures",
        b"CDN-Loop: balancer-pictures",
    ]
    head = one.heads[1].removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert sorted(head) == sorted([*fields, b"Connection: close"])


async def test_our_own_mark_is_known_when_it_comes_back() -> None:
    assert looped(LOOP_MARK)
    assert looped(f"other, {LOOP_MARK.upper()}; id=3, more")
    assert not looped("")
    assert not looped(f"other; x={LOOP_MARK}, not-{LOOP_MARK}")


async def test_an_environment_with_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as proxy, server() as one:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with fetching(f"http://media.test:{one.port}/") as fetcher:
            await fetcher.fetch(f"http://media.test:{one.port}/x")
        assert (proxy.connections, one.connections) == (0, 1)


async def test_a_source_is_who_its_certificate_says() -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context, believing, doubting = (
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        *(ssl.create_default_context() for _ in range(2)),
    )
    authority.issue_cert("media.test").configure_cert(context)
    authority.configure_trust(believing)
    stranger.configure_trust(doubting)
    async with server(context) as one:
        place = f"https://media.test:{one.port}/"
        async with fetching(place, f"https://other.test:{one.port}/", tls=believing) as fetcher:
            assert (await fetcher.fetch(place)).content == PNG
            assert (await failure(fetcher, f"https://other.test:{one.port}/"))[0] is SourceUnreachable
        async with fetching(place, tls=doubting) as fetcher:
            assert (await failure(fetcher, place))[0] is SourceUnreachable
        async with fetching(place) as fetcher:
            assert (await failure(fetcher, place))[0] is SourceUnreachable
        assert len(one.heads) == 1


# Addresses ---------------------------------------------------------------------------------------------------------

ADDRESSES = {
    "loopback": ["127.0.0.1"],
    "IPv6 loopback": ["::1"],
    "loopback mapped into IPv6": ["::ffff:127.0.0.1"],
    "loopback by NAT64": ["64:ff9b::127.0.0.1"],
    "unspecified": ["0.0.0.0"],
    "unspecified IPv6": ["::"],
    "the metadata of a cloud": ["169.254.169.254"],
    "the metadata of a cloud over IPv6": ["fd00:ec2::254"],
    "a private network": ["10.0.0.1"],
    "a provider's network": ["100.64.0.1"],
    "multicast": ["224.0.0.1"],
    "a link-local address": ["fe80::1%lo"],
    "a private address after a public one": ["8.8.8.8", "127.0.0.1"],
    "a private address before a public one": ["127.0.0.1", "8.8.8.8"],
    "what is no address": ["localhost"],
}


@pytest.mark.parametrize("addresses", ADDRESSES.values(), ids=ADDRESSES.keys())
async def test_a_name_of_an_address_that_is_not_public_is_not_connected_to(addresses: list[str]) -> None:
    async with server() as one:
        async with fetching(f"http://media.test:{one.port}/", names=Names(addresses), networks=False) as fetcher:
            assert (await failure(fetcher, f"http://media.test:{one.port}/"))[0] is SourceBlocked
        assert one.connections == 0


async def test_the_name_of_this_machine_is_no_way_around() -> None:
    async with server() as one:
        fetcher = Fetcher(CdnImages(sources=(f"http://localhost:{one.port}/",)))  # asks the machine
        await fetcher.start()
        assert (await failure(fetcher, f"http://localhost:{one.port}/"))[0] is SourceBlocked
        await fetcher.close()
        assert one.connections == 0


async def test_an_address_that_a_source_names_must_be_in_a_named_network_all_the_same() -> None:
    async with server() as one:
        place = f"http://127.0.0.1:{one.port}/"
        async with fetching(place, networks=False) as fetcher:
            assert (await failure(fetcher, place))[0] is SourceBlocked
            assert one.connections == 0
        async with fetching(place) as fetcher:
            assert (await fetcher.fetch(place)).content == PNG


async def test_an_answer_that_changes_between_the_check_and_the_connection_changes_nothing() -> None:
    """The name is asked for once: what was checked is what is connected to."""
    async with server() as good, server(host="127.0.0.2", port=good.port) as evil:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        async with fetching(f"http://media.test:{good.port}/", names=names) as fetcher:
            await fetcher.fetch(f"http://media.test:{good.port}/")
        assert (names.asked, good.connections, evil.connections) == (["media.test"], 1, 0)


async def test_a_name_that_turns_private_is_blocked_from_the_next_connection_on() -> None:
    async with server() as one:
        names = Names(["127.0.0.1"], ["192.168.0.1"])
        async with fetching(f"http://media.test:{one.port}/", names=names) as fetcher:
            await fetcher.fetch(f"http://media.test:{one.port}/")
            assert (await failure(fetcher, f"http://media.test:{one.port}/"))[0] is SourceBlocked
        assert one.connections == 1


async def test_a_name_that_turns_private_between_two_hops_is_blocked() -> None:
    async with server() as one:
        one.answers["/a"] = redirect("/b")
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        async with fetching(f"http://media.test:{one.port}/", names=names) as fetcher:
            assert (await failure(fetcher, f"http://media.test:{one.port}/a"))[0] is SourceBlocked
        assert [head.split()[1] for head in one.heads] == [b"/a"]


async def test_a_name_without_addresses_is_unreachable() -> None:
    def unknown(host: str, port: int, family: int, kind: int) -> Answers:
        raise OSError(f"{host} is not known")

    for names in (Names([]), unknown):
        async with fetching("http://media.test/", names=names) as fetcher:
            assert (await failure(fetcher, "http://media.test/"))[0] is SourceUnreachable


# Redirects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_this_machine_is_not_followed(status: int) -> None:
    def names(host: str, port: int, family: int, kind: int) -> Answers:
        return answers(["127.0.0.2" if host == "media.test" else "127.0.0.1"], port)

    async with server(host="127.0.0.2") as one, server() as secret:
        ways = (
            f"http://127.0.0.1:{secret.port}/",
            f"http://localhost:{secret.port}/",
            f"http://inner.media.test:{secret.port}/",  # allowed by its name, not by its address
            f"http://[::ffff:127.0.0.1]:{secret.port}/",
            f"http://2130706433:{secret.port}/",
            f"//127.0.0.1:{secret.port}/",
            "file:///etc/passwd",
        )
        settings = CdnImages(
            sources=(f"http://media.test:{one.port}/", f"http://*.media.test:{secret.port}/"),
            networks=(ip_network("127.0.0.2"),),
        )
        fetcher = Fetcher(settings, lookups=Lookups(names))
        await fetcher.start()
        for way in ways:
            one.answers["/"] = redirect(way, status)
            assert (await failure(fetcher, f"http://media.test:{one.port}/"))[0] is SourceBlocked, way
        await fetcher.close()
        assert (one.connections, secret.connections) == (len(ways), 0)


async def test_three_redirects_are_followed_and_four_are_not() -> None:
    async with server() as one, fetching(f"http://media.test:{one.port}/") as fetcher:
        for hop in range(4):
            one.answers[f"/{hop}"] = redirect(f"/{hop + 1}")
        assert (await fetcher.fetch(f"http://media.test:{one.port}/1")).content == PNG
        kind_, reason = await failure(fetcher, f"http://media.test:{one.port}/0")
        assert (kind_, reason) == (SourceUnreachable, "it redirects more than 3 times")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
    ],
)
async def test_a_redirect_to_nowhere_or_to_two_places_is_not_followed(answer: bytes) -> None:
    async with server() as one, fetching(f"http://media.test:{one.port}/") as fetcher:
        one.answers["/"] = answer
        assert (await failure(fetcher, f"http://media.test:{one.port}/"))[0] is SourceUnreachable
        assert one.connections == 1


# What comes --------------------------------------------------------------------------------------------------------

BAD = {
    "not found": b"HTTP/1.1 404 Not Found\r\nContent-Type: image/png\r\nContent-Length: 0\r\n\r\n",
    "a part of it": picture().replace(b"200 OK", b"206 Partial Content"),
    "an error with a picture": picture().replace(b"200 OK", b"500 Oh"),
    "a page": picture(b"<html>", kind="text/html"),
    "a page that says it is a picture": picture(b"<html><script>" * 9),
    "a drawing": picture(b"<svg xmlns='http://www.w3.org/2000/svg'/>", kind="image/svg+xml"),
    "a picture that says it is another one": picture(b"\xff\xd8\xff\xe0" + b"x" * 50),
    "a picture that says it is a page": picture(kind="text/html"),
    "no type": picture().replace(b"Content-Type", b"X-Type"),
    "nothing": picture(b""),
    "bytes that are packed": picture(PNG, "Content-Encoding: gzip"),
    "bytes that are packed twice": picture(PNG, "Content-Encoding: identity, br"),
    "less than it said": picture(length=len(PNG) + 1),
    "less than it said, in chunks": b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"8\r\n\x89PNG\r\n\x1a\n\r\n",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "more than is taken, as it says": picture(length=100_001),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no answer": b"",
    "a head that does not end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    "a head of many fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000,
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD.keys())
async def test_what_is_no_whole_picture_is_not_taken(answer: bytes) -> None:
    async with server() as one, fetching(f"http://media.test:{one.port}/") as fetcher:
        one.answers["/"] = answer
        assert (await failure(fetcher, f"http://media.test:{one.port}/"))[0] is SourceUnreachable


async def test_a_picture_that_never_ends_is_read_no_further_than_it_may_be_large() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n")
        while True:
            writer.write(b"x" * 10_000)
            sent += 10_000
            await writer.drain()

    async with server() as one, fetching(f"http://media.test:{one.port}/", largest=50_000) as fetcher:
        one.handler = endless
        kind_, reason = await failure(fetcher, f"http://media.test:{one.port}/")
        assert (kind_, reason) == (SourceUnreachable, "it has more than 50000 bytes")
    assert sent < 20_000_000  # what the kernel holds between two of its sockets


async def test_a_picture_of_just_the_largest_size_is_taken() -> None:
    async with server() as one, fetching(f"http://media.test:{one.port}/", largest=len(PNG)) as fetcher:
        assert (await fetcher.fetch(f"http://media.test:{one.port}/")).content == PNG


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", picture(length=10_000)])
async def test_a_source_that_falls_silent_is_waited_for_no_longer_than_said(first: bytes) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await reader.read()  # until the other side is gone

    async with server() as one, fetching(f"http://media.test:{one.port}/", timeout=0.1) as fetcher:
        one.handler = silent
        kind_, reason = await failure(fetcher, f"http://media.test:{one.port}/")
        assert (kind_, reason) == (SourceUnreachable, "it took longer than 0.1 s")


async def test_a_source_that_drips_is_waited_for_no_longer_than_said() -> None:
    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(picture(length=10_000))
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with server() as one, fetching(f"http://media.test:{one.port}/", timeout=0.2) as fetcher:
        one.handler = dripping
        kind_, reason = await failure(fetcher, f"http://media.test:{one.port}/")
        assert (kind_, reason) == (SourceUnreachable, "it took longer than 0.2 s")


async def test_a_name_that_is_not_resolved_is_waited_for_no_longer_than_said() -> None:
    go = threading.Event()

    def mute(host: str, port: int, family: int, kind: int) -> Answers:
        go.wait(20)
        return []

    async with fetching("http://media.test/", names=mute, timeout=0.1) as fetcher:
        assert (await failure(fetcher, "http://media.test/"))[0] is SourceUnreachable
    go.set()


async def test_names_that_hang_hold_no_thread_of_those_who_look_up_servers() -> None:
    go = threading.Event()

    def mute(host: str, port: int, family: int, kind: int) -> Answers:
        if host.endswith(".slow.test"):
            go.wait(20)
        return answers(["127.0.0.1"], port)

    async with server() as one:
        sources = ("http://*.slow.test/", "http://*.lame.slow.test/", f"http://media.test:{one.port}/")
        async with fetching(*sources, names=mute, timeout=0.05) as fetcher:
            urls = [f"http://h{n}.slow.test/" for n in range(40)]
            failures = await asyncio.gather(*map(fetcher.fetch, urls), return_exceptions=True)
            assert {type(error) for error in failures} <= {SourceUnreachable, Full}
            loop = asyncio.get_running_loop()
            assert await asyncio.wait_for(loop.getaddrinfo("localhost", 80), 5)
            assert (await fetcher.fetch(f"http://media.test:{one.port}/")).content == PNG
        go.set()


async def test_a_slow_source_keeps_its_own_pictures_waiting_and_no_others() -> None:
    go = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()

    async with server() as slow, server() as one:
        places = f"http://slow.test:{slow.port}/", f"http://media.test:{one.port}/"
        async with fetching(*places) as fetcher:
            slow.handler = silent
            asked = [asyncio.ensure_future(fetcher.fetch(f"{places[0]}{n}")) for n in range(60)]
            refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert {type(task.exception()) for task in refused} == {Full}
            assert (await fetcher.fetch(places[1])).content == PNG
            go.set()
            await asyncio.wait(asked)


async def test_a_source_is_asked_for_a_few_pictures_at_a_time() -> None:
    here, most = 0, 0
    go = asyncio.Event()

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal here, most
        here += 1
        most = max(most, here)
        if here == MOST_OF_ONE:
            go.set()
        await go.wait()
        here -= 1
        writer.write(picture())
        await writer.drain()

    async with server() as one, fetching(f"http://media.test:{one.port}/") as fetcher:
        one.handler = counted
        found = await asyncio.gather(*(fetcher.fetch(f"http://media.test:{one.port}/{n}") for n in range(30)))
        assert len(found) == 30
    assert most == MOST_OF_ONE


async def test_the_query_of_a_source_is_not_told_to_the_log() -> None:
    async with fetching() as fetcher:
        with structlog.testing.capture_logs() as told, pytest.raises(SourceBlocked):
            await fetcher.fetch("https://media.test/x?signature=secret")
    assert "secret" not in str(told)
    assert told[0]["url"] == "https://media.test/x"
    assert told[0]["log_level"] == logging.getLevelName(logging.WARNING).lower()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (PNG, "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf", "image/avif"),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00avifmif1miaf", "image/avif"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", None),
        (b"\x00\x00\x00\x14ftypmp42\x00\x00\x00\x00isomavif", None),
        (b"%PDF-1.7", None),
        (b"<svg", None),
        (b"", None),
    ],
)
def test_a_picture_is_known_by_how_it_begins(content: bytes, found: str | None) -> None:
    assert kind(content) == found
    assert found is None or found in TYPES
