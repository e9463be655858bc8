"""Attacks on what only comes through the CDN, in bytes, against the running process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from balancer.http1.proxy_protocol import encode_v1, encode_v2
from tests.system.house import OWNER, Answer, House, Line, opened, request

pytestmark = pytest.mark.slow  # all of them together
SECRET = "a-secret-that-only-our-zone-sends"
EDGE, STRANGER, MONITOR = "8.8.4.4", "203.0.113.9", "198.51.100.1"
"""The first is the CDN's by what is kept on disk alone: the shipped list does not have it."""
SETTINGS: dict[str, Any] = {
    "trusted_proxies": ["127.0.0.1", "cloudflare"],
    "require_cdn": {"mode": "refuse", "allow": [MONITOR], "secret": SECRET},
    "cache": {"purge_from": ["127.0.0.0/8"]},
    "routes": {"all": {"pool": "web", "cache": True}},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("past-the-cdn")
    house = House(folder, settings=dict(SETTINGS))
    house.settings["listeners"] = {
        "direct": {"address": f"127.0.0.1:{house.port}"},
        "behind": {"address": f"127.0.0.1:{house.admin + 1}", "proxy_protocol": "require"},
    }
    house.settings["listen"] = None
    # As if fetched a minute ago: so it is in force, and nobody outside is asked.
    kept = {"cloudflare": {"at": time.time() - 60, "networks": ["8.8.4.0/24", "8.8.8.0/24"]}}
    (folder / "ranges.json").write_text(json.dumps(kept))
    with opened(house) as running:
        yield running


def come(house: House, head: bytes, address: str | None = None, version: int = 1) -> Answer:
    """One request from this address, told by a proxy on this machine; None: from this machine itself."""
    port = house.port if address is None else house.admin + 1
    with Line(port) as line:
        if address is not None:
            encode = encode_v1 if version == 1 else encode_v2
            line.say(encode((address, 4711), ("192.0.2.1", 443)))
        line.say(head)
        answer = line.answer()
    assert answer is not None
    return answer


def get(*lines: str, path: str = "/") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", "Host: site", *lines, "")).encode("latin-1")


def test_what_the_cdn_sends_is_served(house: House) -> None:
    for version in (1, 2):
        assert come(house, get(f"X-Origin-Secret: {SECRET}"), EDGE, version).status == 200
    assert come(house, get(), MONITOR).status == 200


CLAIMS = {
    "nothing": (),
    "the address of the CDN": (f"X-Forwarded-For: {EDGE}",),
    "the address of a monitor": (f"X-Forwarded-For: {MONITOR}",),
    "many addresses": (f"X-Forwarded-For: {EDGE}, {MONITOR}", f"X-Forwarded-For: {EDGE}"),
    "Forwarded": (f"Forwarded: for={MONITOR};proto=https",),
    "the fields of a CDN": (f"CF-Connecting-IP: {MONITOR}", "CF-Ray: 1-FRA", "CDN-Loop: cloudflare"),
    "X-Real-IP": (f"X-Real-IP: {EDGE}",),
    "a wrong secret": ("X-Origin-Secret: " + "x" * len(SECRET),),
    "an empty secret": ("X-Origin-Secret:",),
    "half a secret": (f"X-Origin-Secret: {SECRET[:16]}",),
    "a secret and more": (f"X-Origin-Secret: {SECRET}, {SECRET}",),
    "a secret twice": (f"X-Origin-Secret: {SECRET}", f"X-Origin-Secret: {SECRET}"),
    "a secret in a field that is alike": (f"X_Origin_Secret: {SECRET}",),
    "a secret in a cookie": (f"Cookie: X-Origin-Secret={SECRET}",),
    "a secret for one hop": ("Connection: X-Origin-Secret", "X-Origin-Secret: x"),
}


WHO = {"a stranger": STRANGER, "another customer": EDGE, "this machine": None}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("who", WHO)
def test_a_request_that_only_claims_to_come_through_the_cdn_is_refused(house: House, who: str, claim: str) -> None:
    answer = come(house, get(*CLAIMS[claim]), WHO[who])
    assert answer.status == 403, answer
    assert b"through its CDN only" in answer.body


def test_a_stranger_with_the_secret_is_refused_by_its_address(house: House) -> None:
    assert come(house, get(f"X-Origin-Secret: {SECRET}"), STRANGER).status == 403


def test_an_answer_in_the_cache_is_not_given_past_the_cdn(house: House) -> None:
    assert come(house, get(f"X-Origin-Secret: {SECRET}", path="/stored"), EDGE).status == 200
    assert come(house, get(path="/stored"), STRANGER).status == 403


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "PURGE", "TRACE", "PROPFIND"])
def test_no_method_comes_past_the_cdn(house: House, method: str) -> None:
    answer = come(house, f"{method} / HTTP/1.1\r\nHost: site\r\nContent-Length: 0\r\n\r\n".encode(), STRANGER)
    assert answer.status == 403


def test_no_upgrade_comes_past_the_cdn(house: House) -> None:
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
    assert come(house, get(*lines), STRANGER).status == 403


def test_a_second_request_of_a_connection_is_judged_anew(house: House) -> None:
    with Line(house.admin + 1) as line:
        line.say(encode_v1((EDGE, 1), ("192.0.2.1", 443)))
        line.say(get(f"X-Origin-Secret: {SECRET}") + get() + get(f"X-Origin-Secret: {SECRET}"))
        answers = [line.answer() for _ in range(3)]
    assert [one.status for one in answers if one is not None] == [200, 403, 200]


def test_the_share_is_in_the_metrics_and_the_networks_in_the_figures(house: House) -> None:
    come(house, get(), STRANGER)
    page = house.ask(request("GET", "/metrics"), OWNER).body.decode()
    for result in ("through", "address", "secret", "allowed"):
        assert f'balancer_require_cdn_requests_total{{result="{result}"}}' in page
    assert 'balancer_trusted_ranges_networks{cdn="cloudflare"} 2' in page
    (told,) = house.look("/api/infrastructure/stats")["trusted_ranges"]
    assert (told["cdn"], told["source"], told["networks"], told["fetched"], told["failed"]) == (
        "cloudflare",
        "disk",
        2,
        0,
        0,
    )


def test_the_secret_is_nowhere_to_be_read(house: House) -> None:
    for path in ("/api/config", "/api/infrastructure/stats", "/metrics"):
        assert SECRET not in house.ask(request("GET", path, house.key("admin")), OWNER).body.decode()
    assert SECRET not in house.said()


def test_the_access_log_says_who_came_past_the_cdn(house: House) -> None:
    come(house, get(path="/marked"), STRANGER)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        lines = [json.loads(line) for line in house.access.read_text().splitlines()]
        if marked := [line for line in lines if line["path"] == "/marked"]:
            assert (marked[0]["guard"], marked[0]["status"], marked[0]["client"]) == ("past-cdn", 403, STRANGER)
            return
        time.sleep(0.05)
    raise AssertionError("the log has no line of it")
