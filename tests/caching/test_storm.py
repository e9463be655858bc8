"""Many clients that read, write, reload and leave at once: nobody gets what is another's, or older than it may be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from tests.caching.case import proves
from tests.caching.lab import Lab
from tests.caching.server import Asked, says

THEME = "Everything at once"
CLIENTS = 8
TURNS = 150


def at_once(play: Callable[[int, Random], None]) -> None:
    """Let all clients play, each with dice of its own; what goes wrong with any of them is raised."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(play, number, Random(number)) for number in range(CLIENTS)]:
            done.result(60)


class Versions:
    """A page of the server that a POST makes anew, and the newest that a client has been told of."""

    def __init__(self) -> None:
        self.version = 0
        self.told = 0
        self.lock = threading.Lock()

    def page(self, asked: Asked) -> bytes:
        if asked.method == "POST":
            self.version += 1
        return f"{self.version} {','.join(asked.values('foo'))} {asked.target}".encode()

    def tell(self, version: int) -> None:
        with self.lock:
            self.told = max(self.told, version)


@pytest.mark.slow
@pytest.mark.parametrize("site", ["plain", "quiet"])
@proves(
    THEME,
    "RFC 9111 section 4.4",
    "What was read before a write is not served after it, whoever asks for it, and however many do.",
)
def test_nothing_older_than_a_write_is_served_after_it(lab: Lab, site: str) -> None:
    place = lab.place("storm")
    versions = Versions()
    place.always = says(
        "Cache-Control: max-age=3600", "Vary: Foo", body=versions.page, lag=(0.0, 0.006), framing="chunked"
    )
    path = f"{'/on' if site == 'quiet' else ''}/{place.name}"
    clients = [lab.client(site) for _ in range(CLIENTS)]
    hits = [0] * CLIENTS

    def play(number: int, rng: Random) -> None:
        client = clients[number]
        for _ in range(TURNS):
            what = rng.random()
            told = versions.told
            if what < 0.06:
                seen = client.ask(path, method="POST")
                versions.tell(int(seen.body.split()[0]))
                continue
            if what < 0.12:  # leaves
                client.send(path, f"Foo: {rng.randrange(3)}")
                client.close()
                continue
            foo = str(rng.randrange(3))
            extra = ("Cache-Control: no-cache",) if what < 0.2 else ()
            seen = client.ask(path, f"Foo: {foo}", *extra)
            version, of, target = seen.body.decode().split()
            assert seen.whole
            assert (of, target) == (foo, path)
            assert int(version) >= told, f"client {number} got {version}, after it was told of {told}"
            hits[number] += bool(seen.values("age"))

    at_once(play)
    assert sum(hits) > CLIENTS * TURNS // 10  # or nothing was shown


@pytest.mark.slow
@proves(THEME, "RFC 9111 section 5.2.2.7", "What is private stays so, however many ask for it at once.")
def test_what_is_private_stays_so(lab: Lab) -> None:
    place = lab.place("private-storm")

    def page(asked: Asked) -> bytes:
        return f"{','.join(asked.values('cookie'))} {asked.target}".encode()

    place.always = says("Cache-Control: private, max-age=3600", "Set-Cookie: a=1", body=page, lag=(0.0, 0.004))
    clients = [lab.client() for _ in range(CLIENTS)]

    def play(number: int, rng: Random) -> None:
        for turn in range(TURNS):
            path = f"/{place.name}/{rng.randrange(3)}"
            mine = f"id={number}-{turn}"
            seen = clients[number].ask(path, f"Cookie: {mine}", *rng.choice([(), ("Cache-Control: max-stale",)]))
            assert seen.body.decode() == f"{mine} {path}"

    at_once(play)
    assert len(place.asked) == CLIENTS * TURNS


@pytest.mark.slow
@proves(
    THEME,
    "RFC 9111 section 3.3",
    "Answers that break off at any place are never served as whole, however many wait for them.",
)
def test_what_breaks_off_is_never_whole(lab: Lab) -> None:
    place = lab.place("breaking")
    body = bytes(range(256)) * 40
    dice = Random(7)
    lock = threading.Lock()

    def plan() -> None:
        with lock:
            framing = dice.choice(["length", "chunked", "close"])
            cut = dice.choice([None, None, dice.randrange(len(body))])
            place.plan(says("Cache-Control: max-age=3600", framing=framing, body=body, cut=cut, lag=(0.0, 0.004)))

    place.always = says("Cache-Control: no-store", body=body)
    clients = [lab.client() for _ in range(CLIENTS)]

    def play(number: int, rng: Random) -> None:
        client = clients[number]
        for _ in range(TURNS // 2):
            plan()
            seen = client.ask(f"/{place.name}/{rng.randrange(40)}", *rng.choice([(), (), ("Connection: close",)]))
            assert not seen.whole or seen.body == body
            assert body.startswith(seen.body) or seen.status == 502

    at_once(play)


@pytest.mark.slow
@proves(
    THEME, "RFC 9110 section 14.2", "Parts, conditions and heads of what many fetch at once are those of one answer."
)
def test_parts_and_conditions_of_what_many_fetch(lab: Lab) -> None:
    place = lab.place("parts")
    body = bytes(range(256)) * 20
    place.always = says("Cache-Control: max-age=3600", 'ETag: "a"', body=body, honest=True, lag=(0.0, 0.004))
    clients = [lab.client() for _ in range(CLIENTS)]

    def play(number: int, rng: Random) -> None:
        client = clients[number]
        for turn in range(TURNS):
            path = f"/{place.name}/{turn // 4}"
            what = rng.randrange(5)
            first = rng.randrange(5000)
            if what == 0:
                seen = client.ask(path, f"Range: bytes={first}-{first + 50}")
                assert (seen.status, seen.body) == (206, body[first : first + 51])
                assert seen.values("content-range") == [f"bytes {first}-{min(first + 50, len(body) - 1)}/{len(body)}"]
            elif what == 1:
                assert client.ask(path, 'If-None-Match: "a"').status == 304
            elif what == 2:
                seen = client.ask(path, method="HEAD")
                assert (seen.status, seen.body, seen.values("content-length")) == (200, b"", [str(len(body))])
            else:
                seen = client.ask(path, *rng.choice([(), ("Cache-Control: no-cache",)]))
                assert (seen.status, seen.whole, seen.body) == (200, True, body)

    at_once(play)
