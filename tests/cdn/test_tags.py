"""Tags on their way through the running balancer: from the server, past clients, to the CDN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import pytest

from balancer.http1.tag_fields import spelled
from tests.caching.client import Client, Seen
from tests.caching.lab import Site
from tests.caching.server import Place, Server, says
from tests.caching.test_steering import asked

pytestmark = pytest.mark.slow

EDGE: Final = "127.0.0.2"
"""Where the CDN comes from; the test's other clients come from elsewhere."""
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "bunny": {"provider": "bunny", "url": "https://cdn.example.com"},
    "local": {"provider": "local"},
    "kept": {"provider": "local", "tags": False},
}
TAGGED: Final = ("Surrogate-Key: post-42 home", "Cache-Tag: news")
NAMES: Final = ("surrogate-key", "cache-tag", "cdn-tag")


class Stand:
    """A balancer, and clients of it that come past the CDN and through it."""

    def __init__(self, folder: Path, server: Server, name: str) -> None:
        cdn = {**SETTINGS[name], "images": False, "local": {"directory": str(folder / "cdn")}}
        routes = {"all": {"pool": "app"}, "off": {"match": "/off/**", "pool": "app", "cache": False}}
        more = {"cdn": cdn, "trusted_proxies": [EDGE], "routes": routes}
        self.name = name
        self.site = Site(folder, "trusting", server.port, more, name)
        self.site.start()
        self.direct = Client(self.site.port)
        self.edge = Client(self.site.port, EDGE)

    def end(self) -> None:
        self.direct.close()
        self.edge.close()
        self.site.end()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="module", params=list(SETTINGS))
def stand(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    made = Stand(tmp_path_factory.mktemp(request.param), server, request.param)
    yield made
    made.end()


@pytest.fixture
def place(server: Server, request: pytest.FixtureRequest) -> Place:
    return server.place(request.node.name.partition("[")[0])


def tags(seen: Seen) -> dict[str, list[str]]:
    """What an answer says of its tags, by field."""
    assert not seen.fault
    return {name: values for name in NAMES if (values := seen.values(name))}


FOR_EDGE: Final = {"bunny": {"cdn-tag": ["~post-42~home~news~"]}, "local": {}}
AS_SENT: Final = {"surrogate-key": ["post-42 home"], "cache-tag": ["news"]}


def expected(stand: Stand, client: Client) -> dict[str, list[str]]:
    name = stand.name
    if name == "kept":
        return AS_SENT
    return FOR_EDGE[name] if client is stand.edge else {}


def test_an_answer_that_is_passed_on_tells_its_tags_to_the_cdn_alone(stand: Stand, place: Place) -> None:
    place.always = says(*TAGGED)
    for client in (stand.direct, stand.edge):
        assert tags(client.ask(f"/off/{place.name}")) == expected(stand, client)


def test_a_stored_answer_does_too_in_each_of_its_forms(stand: Stand, place: Place) -> None:
    place.always = says("Cache-Control: max-age=60", 'ETag: "a"', *TAGGED)
    for client in (stand.direct, stand.edge, stand.direct):
        for lines, status in (((), 200), ((), 200), (("Range: bytes=0-1",), 206), (("Cache-Control: max-stale",), 200)):
            seen = client.ask(f"/{place.name}", *lines)
            assert (seen.status, tags(seen)) == (status, expected(stand, client))
    assert len(place.asked) == 1


def test_an_answer_that_was_found_unchanged_does_too(stand: Stand, place: Place) -> None:
    place.plan(
        says("Cache-Control: max-age=60", "Age: 100", 'ETag: "a"', "Surrogate-Key: old"),
        says("Cache-Control: max-age=60", 'ETag: "a"', *TAGGED, status=304),
    )
    stand.edge.ask(f"/{place.name}")
    for client in (stand.edge, stand.direct):
        seen = client.ask(f"/{place.name}")
        assert seen.status == 200
        assert tags(seen) == expected(stand, client)
    assert len(place.asked) == 2


def test_what_is_stored_can_be_purged_by_a_tag_that_no_client_has_seen(stand: Stand, place: Place) -> None:
    place.always = says("Cache-Control: max-age=60", *TAGGED)
    before = [stand.direct.ask(f"/{place.name}").body for _ in range(2)]
    asked(stand.site, "/api/infrastructure/cache/purge", {"tags": ["post-42"]})
    assert stand.direct.ask(f"/{place.name}").body not in before


def test_tags_without_room_are_counted_and_told_of_once(stand: Stand, place: Place) -> None:
    many = [f"a-tag-that-is-longer-than-its-hash-{number}" for number in range(60)]
    place.always = says(f"Surrogate-Key: {' '.join(many)}")
    told = [tags(stand.edge.ask(f"/off/{place.name}")).get("cdn-tag", []) for _ in range(2)]
    wanted = ["~" + "~".join(spelled(tag, "bunny") for tag in many[:56]) + "~"]
    assert len(wanted[0]) <= 1024
    assert told == [wanted if stand.name == "bunny" else []] * 2
    end = monotonic() + 15.0
    while stand.name == "bunny" and "cdn_tags_left_out" not in stand.site.said() and monotonic() < end:
        sleep(0.05)
    stand.end()
    assert stand.site.said().count("cdn_tags_left_out") == (stand.name == "bunny")
