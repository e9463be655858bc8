"""Purges by the API: what they meet is not served once they are answered, and nothing else goes."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any, Final

import pytest

from tests.caching.case import proves
from tests.caching.client import HOST, Client
from tests.caching.lab import Lab
from tests.caching.server import Gate, Place, says
from tests.system.process import KEY

THEME = "Purging"
LASTING: Final = "Cache-Control: max-age=3600"


def purge(lab: Lab, site: str = "plain", **what: Any) -> dict[str, Any]:
    """The receipt."""
    api = HTTPConnection("127.0.0.1", lab.site(site).admin, timeout=10)
    try:
        api.request(
            "POST",
            "/api/infrastructure/cache/purge",
            json.dumps(what),
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        answer = api.getresponse()
        receipt: dict[str, Any] = json.loads(answer.read())
        assert answer.status == 200, receipt
    finally:
        api.close()
    return receipt


def store(place: Place, client: Client, tail: str, *lines: str, host: str = HOST) -> None:
    place.plan(says(LASTING, 'ETag: "a"', *lines))
    client.ask(f"/{place.name}{tail}", host=host)
    assert is_stored(place, client, tail, host)


def is_stored(place: Place, client: Client, tail: str, host: str = HOST) -> bool:
    """Whether it is answered without the server; what is not stored stays so, by the answer that it gets."""
    before = len(place.asked)
    client.ask(f"/{place.name}{tail}", host=host)
    return len(place.asked) == before


@pytest.mark.parametrize(
    ("what", "meets", "leaves"),
    [
        ({"urls": ["http://site.test{p}/a"]}, ["/a"], ["/a?x", "/ab", "/b"]),
        ({"urls": ["site.test{p}/a"]}, ["/a"], ["/a?x", "/b"]),
        ({"urls": ["{p}/a"]}, ["/a"], ["/a/", "/b"]),
        ({"urls": ["{p}/%7Ea?x"]}, ["/~a?x"], ["/~a"]),
        ({"urls": ["{p}/a", "{p}/c"]}, ["/a", "/c"], ["/b"]),
        ({"prefixes": ["{p}/a"]}, ["/a", "/ab", "/a/b", "/a?x"], ["/b", "/b/a"]),
        ({"prefixes": ["http://site.test{p}/a/"]}, ["/a/", "/a/b"], ["/a", "/ab"]),
        ({"patterns": ["{p}/*/x"]}, ["/a/x", "/a/b/x"], ["/x", "/a/xy"]),
        ({"patterns": ["{p}/?"]}, ["/a", "/b"], ["/ab", "/a?x"]),
        ({"patterns": ["site.test{p}/a*"]}, ["/a", "/a/b?x"], ["/b"]),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
@proves(
    THEME, "purge: urls, prefixes, patterns", "A purge by URL, prefix or pattern meets what it names, and nothing else."
)
def test_a_purge_by_url_meets_what_it_names(
    lab: Lab, what: dict[str, list[str]], meets: list[str], leaves: list[str]
) -> None:
    place, client = lab.place("by-url"), lab.client()
    for tail in meets + leaves:
        store(place, client, tail)
    named = {kind: [value.replace("{p}", f"/{place.name}") for value in values] for kind, values in what.items()}
    receipt = purge(lab, **named)
    assert receipt["levels"][0]["entries"] == len(meets)
    assert {tail: is_stored(place, client, tail) for tail in meets + leaves} == {
        **dict.fromkeys(meets, False),
        **dict.fromkeys(leaves, True),
    }


@pytest.mark.parametrize("field", ["Surrogate-Key: {0}-news {0}-front", "Cache-Tag: {0}-news, {0}-front"])
@proves(THEME, "purge: tags", "A purge by tag meets what has it, by either field, whatever its URL and host.")
def test_a_purge_by_tag_meets_what_has_it(lab: Lab, field: str) -> None:
    place, client = lab.place("by-tag"), lab.client()
    store(place, client, "/a", field.format(place.name))
    store(place, client, "/b", field.format(place.name), host="other.test")
    store(place, client, "/c", f"Cache-Tag: {place.name}-other")
    store(place, client, "/d", f"Cache-Tag: {place.name}-new")
    receipt = purge(lab, tags=[f"{place.name}-front"])
    assert receipt["levels"][0]["entries"] == 2
    assert not is_stored(place, client, "/a")
    assert not is_stored(place, client, "/b", "other.test")
    assert is_stored(place, client, "/c")
    assert is_stored(place, client, "/d")


@proves(THEME, "purge: hosts", "A purge by host meets all of it, one by *. all below it.")
def test_a_purge_by_host_meets_all_of_it(lab: Lab) -> None:
    place, client = lab.place("by-host"), lab.client()
    hosts = ("one.test", "a.one.test", "b.a.one.test", "one.test:8080", "two.test", "anone.test")
    for host in hosts:
        store(place, client, "/a", host=host)
    purge(lab, hosts=["one.test"])
    assert [host for host in hosts if is_stored(place, client, "/a", host)] == [
        "a.one.test",
        "b.a.one.test",
        "two.test",
        "anone.test",
    ]
    purge(lab, hosts=["*.one.test"])
    assert [host for host in hosts[1:] if is_stored(place, client, "/a", host)] == ["two.test", "anone.test"]


@proves(THEME, "purge: everything", "A purge of everything leaves nothing.")
def test_a_purge_of_everything_leaves_nothing(lab: Lab) -> None:
    place, client = lab.place("everything"), lab.client("ruled")
    for tail in ("/a", "/b?x"):
        store(place, client, tail)
    purge(lab, "ruled", everything=True)
    assert [is_stored(place, client, tail) for tail in ("/a", "/b?x")] == [False, False]


@proves(THEME, "purge: soft", "What was purged softly is stale: it is checked, or served in its windows.")
def test_a_soft_purge_makes_stale(lab: Lab) -> None:
    place, client = lab.place("softly"), lab.client()
    tag = f"Cache-Tag: {place.name}"
    place.plan(says(LASTING, 'ETag: "a"', tag), says(f"{LASTING}, stale-while-revalidate=600", tag), says(LASTING, tag))
    for tail in ("/checked", "/window", "/fetched"):
        client.ask(f"/{place.name}{tail}")
    purge(lab, tags=[place.name], soft=True)
    place.plan(says(LASTING, 'ETag: "a"', status=304))
    assert client.ask(f"/{place.name}/checked").body == place.body_of(1)
    assert place.asked[-1].values("if-none-match") == ['"a"']
    place.plan(says(LASTING))
    assert client.ask(f"/{place.name}/fetched").body == place.body_of(5)
    place.plan(says(LASTING))
    assert client.ask(f"/{place.name}/window").body == place.body_of(2)
    assert place.wait(6)


@proves(THEME, "purge", "All variants of a URL are met.")
def test_a_purge_meets_all_variants(lab: Lab) -> None:
    place, client = lab.place("variants"), lab.client()
    place.always = says(LASTING, "Vary: Foo")
    for foo in "123":
        client.ask(f"/{place.name}", f"Foo: {foo}")
    assert purge(lab, urls=[f"/{place.name}"])["levels"][0]["entries"] == 3
    for foo in "123":
        client.ask(f"/{place.name}", f"Foo: {foo}")
    assert len(place.asked) == 6


@pytest.mark.parametrize("kind", ["urls", "tags", "everything"])
@proves(
    THEME,
    "purge",
    "What was on its way when it was purged reaches who asked for it, is not stored, and is joined by nobody.",
)
def test_a_purge_holds_for_what_is_on_its_way(lab: Lab, kind: str) -> None:
    place, client, later = lab.place("on-its-way"), lab.client("ruled"), lab.client("ruled")
    gate = Gate()
    lines = (LASTING, f"Surrogate-Key: {place.name}")
    place.plan(says(*lines, before=gate), says(*lines))
    client.send(f"/{place.name}")
    assert place.wait(1)
    what: dict[str, Any] = {"urls": [f"/{place.name}"], "tags": [place.name], "everything": True}
    purge(lab, "ruled", **{kind: what[kind]})
    later.send(f"/{place.name}")
    assert place.wait(2), "it waits for what was asked for before the purge"
    assert later.answer().body == place.body_of(2)
    gate.open()
    assert client.answer().body == place.body_of(1)
    assert later.ask(f"/{place.name}").body == place.body_of(2)


@proves(THEME, "purge", "What is fetched after a purge is stored, and the purge does not meet it.")
def test_what_comes_after_a_purge_is_stored(lab: Lab) -> None:
    place, client = lab.place("afterwards"), lab.client()
    for _ in range(3):
        store(place, client, "/a", f"Cache-Tag: {place.name}")
        purge(lab, tags=[place.name])
    store(place, client, "/a", f"Cache-Tag: {place.name}")
