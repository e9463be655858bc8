"""Many clients that want the same at once: one request, and nobody waits in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from tests.caching.case import proves
from tests.caching.client import Client
from tests.caching.lab import Lab
from tests.caching.server import Answer, Gate, says

THEME = "Collapsed requests"
COLLAPSE = "RFC 9111 section 4"
"""The last paragraph: a cache may use the answer to one request for those that wait for the same."""
CROWD = 20


@contextmanager
def crowd(lab: Lab, number: int = CROWD, site: str = "plain") -> Iterator[list[Client]]:
    """Clients of whose connections none stays open."""
    clients = [lab.client(site) for _ in range(number)]
    yield clients
    lab.close_clients()


def held(*lines: str, **more: object) -> tuple[Gate, Answer]:
    gate = Gate()
    return gate, says(*lines, before=gate, **more)


@proves(THEME, COLLAPSE, "Twenty clients that ask for the same at once make one request, and each gets the answer.")
def test_a_crowd_makes_one_request(lab: Lab) -> None:
    place = lab.place("crowd")
    gate, answer = held("Cache-Control: max-age=60")
    place.plan(answer)
    with crowd(lab) as clients:
        clients[0].send(f"/{place.name}")
        assert place.wait(1)
        for client in clients[1:]:
            client.send(f"/{place.name}")
        assert clients[-1].quiet()
        gate.open()
        seen = [client.answer() for client in clients]
    assert [(s.status, s.body, s.whole) for s in seen] == [(200, place.body_of(1), True)] * CROWD
    assert len(place.asked) == 1


@proves(THEME, "RFC 9211 section 2.6", "Those that waited for another's request are told: collapsed.")
def test_cache_status_says_collapsed(lab: Lab) -> None:
    place = lab.place("says-collapsed")
    gate, answer = held("Cache-Control: max-age=60")
    place.plan(answer)
    with crowd(lab, 2) as (first, second):
        first.send(f"/{place.name}")
        assert place.wait(1)
        second.send(f"/{place.name}")
        assert second.quiet()
        gate.open()
        one, two = first.answer().cache, second.answer().cache
    assert one is not None
    assert two is not None
    assert "collapsed" not in one
    assert two.get("collapsed") is True
    assert str(two.get("fwd")) == "uri-miss"


@proves(THEME, COLLAPSE, "Who waits gets the body as it comes, and not when it is whole.")
def test_followers_read_along(lab: Lab) -> None:
    place = lab.place("read-along")
    gate, between = Gate(), Gate()
    body = b"0123456789" * 1000
    place.plan(says("Cache-Control: max-age=60", before=gate, between=between, body=body))
    with crowd(lab, 3) as clients:
        for number, client in enumerate(clients):
            client.send(f"/{place.name}")
            if not number:
                assert place.wait(1)
        assert clients[-1].quiet()
        gate.open()
        halves = [client.answer(stop_after=5000) for client in clients]
        assert [half.body for half in halves] == [body[:5000]] * 3
        between.open()
    assert len(place.asked) == 1


@proves(THEME, COLLAPSE, "Who comes in the middle of a body gets it from its beginning.")
def test_a_late_client_gets_the_whole_body(lab: Lab) -> None:
    place = lab.place("late")
    between = Gate()
    body = b"0123456789" * 1000
    place.plan(says("Cache-Control: max-age=60", between=between, body=body))
    with crowd(lab, 2) as (first, second):
        first.send(f"/{place.name}")
        half = first.answer(stop_after=5000)
        assert half.body == body[:5000]
        second.send(f"/{place.name}")
        assert second.answer(stop_after=5000).body == body[:5000]
        between.open()
    with crowd(lab, 1) as (third,):
        seen = third.ask(f"/{place.name}")
    assert (seen.body, len(place.asked)) == (body, 1)


@proves(THEME, COLLAPSE, "That the client whose request was sent has left is nothing to those who wait.")
def test_the_first_client_may_leave(lab: Lab) -> None:
    place = lab.place("first-leaves")
    gate, answer = held("Cache-Control: max-age=60")
    place.plan(answer)
    with crowd(lab, 4) as (first, *others):
        first.send(f"/{place.name}")
        assert place.wait(1)
        for client in others:
            client.send(f"/{place.name}")
        assert others[-1].quiet()
        first.close()
        assert others[-1].quiet()
        gate.open()
        seen = [client.answer() for client in others]
    assert [(s.status, s.body) for s in seen] == [(200, place.body_of(1))] * 3
    assert len(place.asked) == 1


@proves(THEME, COLLAPSE, "It may leave in the middle of the body as well.")
def test_the_first_client_may_leave_in_the_middle(lab: Lab) -> None:
    place = lab.place("leaves-in-the-middle")
    between = Gate()
    body = b"0123456789" * 1000
    place.plan(says("Cache-Control: max-age=60", between=between, body=body))
    with crowd(lab, 2) as (first, second):
        first.send(f"/{place.name}")
        assert first.answer(stop_after=5000).body
        second.send(f"/{place.name}")
        first.close()
        between.open()
        seen = second.answer()
    assert (seen.whole, seen.body, len(place.asked)) == (True, body, 1)


@proves(THEME, COLLAPSE, "An answer that nobody waits for any more is stored for the next.")
def test_an_abandoned_fill_is_stored(lab: Lab) -> None:
    place = lab.place("abandoned")
    between = Gate()
    body = b"0123456789" * 1000
    place.plan(says("Cache-Control: max-age=60", between=between, body=body))
    with crowd(lab, 2) as (first, second):
        first.send(f"/{place.name}")
        assert first.answer(stop_after=5000).body
        first.close()
        between.open()
        seen = second.ask(f"/{place.name}")
    assert (seen.whole, seen.body, len(place.asked)) == (True, body, 1)


@proves(THEME, COLLAPSE, "If the answer is for one only, all others ask at once, and not one after the other.")
def test_a_private_answer_releases_all(lab: Lab) -> None:
    place = lab.place("private")
    gate = Gate()
    place.plan(says("Cache-Control: private", before=gate))
    rest = Gate()
    place.always = says("Cache-Control: private", before=rest)
    with crowd(lab, 6) as clients:
        clients[0].send(f"/{place.name}")
        assert place.wait(1)
        for client in clients[1:]:
            client.send(f"/{place.name}")
        assert clients[-1].quiet()
        gate.open()
        assert place.wait(6), f"{len(place.asked)} requests at once: they wait in line"
        rest.open()
        bodies = [client.answer().body for client in clients]
    assert sorted(bodies) == sorted(place.body_of(number) for number in range(1, 7))


@proves(THEME, COLLAPSE, "What was for one only is remembered: the next crowd does not wait at all.")
def test_no_line_forms_where_nothing_is_shared(lab: Lab) -> None:
    place = lab.place("remembered")
    place.plan(says("Cache-Control: no-store"))
    gate = Gate()
    place.always = says("Cache-Control: no-store", before=gate)
    with crowd(lab, 5) as clients:
        assert clients[0].ask(f"/{place.name}").status == 200
        for client in clients:
            client.send(f"/{place.name}")
        assert place.wait(6)
        gate.open()
        assert {client.answer().status for client in clients} == {200}


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("Range: bytes=0-1", says("Cache-Control: max-age=60", "Content-Range: bytes 0-1/4", status=206, body=b"01")),
        ("Authorization: Basic YTpi", says("Cache-Control: max-age=60")),
    ],
    ids=["range", "authorization"],
)
@proves(THEME, COLLAPSE, "What one client got for what it alone had asked keeps no others from waiting together.")
def test_who_asks_for_a_part_keeps_no_crowd_apart(lab: Lab, line: str, answer: Answer) -> None:
    place = lab.place("apart")
    gate, whole = held("Cache-Control: max-age=60")
    place.plan(answer, whole)
    with crowd(lab, 5) as clients:
        assert clients[0].ask(f"/{place.name}", line).whole
        clients[0].send(f"/{place.name}")
        assert place.wait(2)
        for client in clients[1:]:
            client.send(f"/{place.name}")
        assert clients[-1].quiet()
        gate.open()
        assert [client.answer().body for client in clients] == [place.body_of(2)] * 5
    assert len(place.asked) == 2


@proves(THEME, "RFC 9111 section 4.1", "Who waited for an answer that turns out to be another variant gets its own.")
def test_variants_are_not_mixed(lab: Lab) -> None:
    place = lab.place("mixed")
    gate = Gate()
    answer = says(
        "Cache-Control: max-age=60", "Vary: Foo", before=gate, body=lambda a: f"for {a.values('foo')}".encode()
    )
    place.always = answer
    with crowd(lab, 6) as clients:
        for number, client in enumerate(clients):
            client.send(f"/{place.name}", f"Foo: {number % 2}")
            if not number:
                assert place.wait(1)
        assert clients[-1].quiet()
        gate.open()
        bodies = [client.answer().body for client in clients]
    assert bodies == [f"for ['{number % 2}']".encode() for number in range(6)]


@proves(THEME, COLLAPSE, "If the server hangs up, nobody waits on: each gets an error, or an answer of its own.")
def test_a_failed_fill_releases_all(lab: Lab) -> None:
    place = lab.place("failed")
    gate = Gate()
    place.always = says(silent=True, before=gate)
    with crowd(lab, 5) as clients:
        clients[0].send(f"/{place.name}")
        assert place.wait(1)
        for client in clients[1:]:
            client.send(f"/{place.name}")
        assert clients[-1].quiet()
        gate.open()
        seen = [client.answer() for client in clients]
    assert {s.status for s in seen} == {502}


@proves(THEME, COLLAPSE, "If the body breaks off, it does so for all that read it, visibly, and nothing is stored.")
def test_a_cut_fill_is_cut_for_all(lab: Lab) -> None:
    place = lab.place("cut-for-all")
    gate = Gate()
    place.plan(says("Cache-Control: max-age=60", before=gate, body=b"0123456789" * 100, cut=500))
    with crowd(lab, 3) as clients:
        clients[0].send(f"/{place.name}")
        assert place.wait(1)
        for client in clients[1:]:
            client.send(f"/{place.name}")
        assert clients[-1].quiet()
        gate.open()
        seen = [client.answer() for client in clients]
        whole = [s for s in seen if s.whole]
        assert all(s.body == b"nobody had planned this answer" for s in whole), seen
        assert not seen[0].whole
        place.plan(says("Cache-Control: max-age=60"))
        after = len(place.asked) + 1
        assert clients[0].ask(f"/{place.name}").body == place.body_of(after)


@proves(THEME, "RFC 9111 section 4.3", "A crowd that wants what is stale makes one check.")
def test_a_crowd_makes_one_check(lab: Lab) -> None:
    place = lab.place("one-check")
    gate = Gate()
    place.plan(
        says("Cache-Control: max-age=60", "Age: 100", 'ETag: "a"'),
        says("Cache-Control: max-age=60", 'ETag: "a"', status=304, before=gate),
    )
    with crowd(lab, 10) as clients:
        assert clients[0].ask(f"/{place.name}").status == 200
        for client in clients:
            client.send(f"/{place.name}")
        assert place.wait(2)
        assert clients[-1].quiet()
        gate.open()
        seen = [client.answer() for client in clients]
    assert [(s.status, s.body) for s in seen] == [(200, place.body_of(1))] * 10
    assert len(place.asked) == 2


@proves(THEME, "RFC 5861 section 3", "A crowd that is served what is stale makes one fetch behind it.")
def test_a_crowd_makes_one_fetch_behind(lab: Lab) -> None:
    place = lab.place("one-behind")
    gate = Gate()
    place.plan(
        says("Cache-Control: max-age=60, stale-while-revalidate=600", "Age: 100"),
        says("Cache-Control: max-age=60", before=gate),
    )
    with crowd(lab, 10) as clients:
        assert clients[0].ask(f"/{place.name}").status == 200
        seen = [client.ask(f"/{place.name}") for client in clients]
        assert [s.body for s in seen] == [place.body_of(1)] * 10
        assert place.wait(2)
        gate.open()
    assert len(place.asked) == 2


@proves(
    THEME,
    "RFC 9110 section 9.3.2",
    "HEAD, a condition and a range wait with the others, and each gets what it asked for.",
)
def test_followers_get_what_they_asked_for(lab: Lab) -> None:
    place = lab.place("kinds")
    gate = Gate()
    place.always = says("Cache-Control: max-age=60", 'ETag: "a"', body=b"0123456789", before=gate, honest=True)
    with crowd(lab, 4) as (first, head, condition, part):
        first.send(f"/{place.name}")
        assert place.wait(1)
        head.send(f"/{place.name}", method="HEAD")
        condition.send(f"/{place.name}", 'If-None-Match: "a"')
        part.send(f"/{place.name}", "Range: bytes=2-4")
        assert part.quiet()
        gate.open()
        assert first.answer().body == b"0123456789"
        headed = head.answer("HEAD")
        assert (headed.status, headed.body, headed.values("content-length")) == (200, b"", ["10"])
        assert condition.answer().status == 304
        parted = part.answer()
        assert (parted.status, parted.body) == (206, b"234")


@proves(THEME, "RFC 9111 section 4.4", "What was asked for before an unsafe request, and comes after it, is not kept.")
def test_a_fill_overtaken_by_an_unsafe_request_is_not_kept(lab: Lab) -> None:
    place = lab.place("overtaken")
    gate = Gate()
    place.plan(says("Cache-Control: max-age=60", before=gate), says("Cache-Control: no-store"))
    with crowd(lab, 2) as (first, second):
        first.send(f"/{place.name}")
        assert place.wait(1)
        assert second.ask(f"/{place.name}", method="POST").status == 200
        gate.open()
        assert first.answer().body == place.body_of(1)
        place.plan(says("Cache-Control: max-age=60"))
        assert second.ask(f"/{place.name}").body == place.body_of(3)


@proves(
    THEME, "RFC 9111 section 4.4", "Nor do those who come after the unsafe request wait for what was asked for before."
)
def test_nobody_joins_a_fill_that_was_overtaken(lab: Lab) -> None:
    place = lab.place("not-joined")
    gate = Gate()
    place.plan(
        says("Cache-Control: max-age=60", before=gate),
        says("Cache-Control: no-store"),
        says("Cache-Control: max-age=60"),
    )
    with crowd(lab, 2) as (first, second):
        first.send(f"/{place.name}")
        assert place.wait(1)
        assert second.ask(f"/{place.name}", method="POST").status == 200
        second.send(f"/{place.name}")
        assert place.wait(3), "it waits for an answer from before the unsafe request"
        gate.open()
        assert second.answer().body == place.body_of(3)
        assert first.answer().body == place.body_of(1)


@proves(THEME, COLLAPSE, "A purge of something else lets those who come later go on waiting for what is being fetched.")
def test_a_purge_of_another_url_overtakes_nothing(lab: Lab) -> None:
    place = lab.place("not-overtaken")
    gate = Gate()
    place.plan(says("Cache-Control: max-age=60", before=gate))
    with crowd(lab, 3, "ruled") as (first, second, purger):
        first.send(f"/{place.name}")
        assert place.wait(1)
        assert purger.ask("/another", method="PURGE").status == 200
        second.send(f"/{place.name}")
        assert second.quiet()
        gate.open()
        assert [first.answer().body, second.answer().body] == [place.body_of(1)] * 2
    assert len(place.asked) == 1


@proves(THEME, COLLAPSE, "A client that takes nothing of a large answer holds up nobody else.")
def test_a_client_that_takes_nothing_holds_up_nobody(lab: Lab) -> None:
    place = lab.place("takes-nothing")
    gate = Gate()
    body = b"0123456789abcdef" * 131072  # more than the kernel takes for a client that does not read
    place.plan(says("Cache-Control: max-age=60", before=gate, body=body))
    with crowd(lab, 3) as (first, second, third):
        first.send(f"/{place.name}")
        assert place.wait(1)
        second.send(f"/{place.name}")
        assert second.quiet()
        gate.open()
        begun = monotonic()
        assert second.answer().body == body
        assert third.ask(f"/{place.name}").body == body
        assert monotonic() - begun < 5.0
        assert first.answer().body == body
    assert len(place.asked) == 1


@proves(THEME, "cache.collapse", "With collapse: false each asks for itself.")
def test_without_collapsing_each_asks(lab: Lab) -> None:
    place = lab.place("uncollapsed")
    gate = Gate()
    place.always = says("Cache-Control: max-age=60", before=gate)
    with crowd(lab, 3, site="quiet") as clients:
        for client in clients:
            client.send(f"/on/{place.name}")
        assert place.wait(3)
        gate.open()
        assert {client.answer().status for client in clients} == {200}


@pytest.mark.slow
@proves(THEME, COLLAPSE, "Clients that come and go in any order get whole answers.")
def test_clients_that_come_and_go(lab: Lab) -> None:
    place = lab.place("come-and-go")
    body = b"0123456789" * 5000
    place.always = says("Cache-Control: max-age=60", body=body)
    for turn in range(20):
        with crowd(lab, 6) as clients:
            for client in clients:
                client.send(f"/{place.name}/{turn}")
            for number, client in enumerate(clients):
                if (number + turn) % 3 == 0:
                    client.close()
            seen = [client.answer() for number, client in enumerate(clients) if (number + turn) % 3 != 0]
        assert [(s.whole, s.body) for s in seen] == [(True, body)] * 4, f"turn {turn}"
    assert len(place.asked) <= 2 * 20  # one that left alone may have been given up


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@proves(THEME, COLLAPSE, "A body that grows too large to be stored still reaches all who wait for it.")
def test_a_body_too_large_reaches_all(lab: Lab, framing: str) -> None:
    place = lab.place("too-large")
    gate = Gate()
    body = b"0123456789abcdef" * 65536  # sixteen times max_object of this site
    place.always = says("Cache-Control: max-age=60", framing=framing, body=body, before=gate)
    with crowd(lab, 4, site="ruled") as clients:
        for number, client in enumerate(clients):
            client.send(f"/{place.name}")
            if not number:
                assert place.wait(1)
        assert clients[-1].quiet()
        gate.open()
        seen = [client.answer() for client in clients]
    assert [(s.whole, s.body == body) for s in seen] == [(True, True)] * 4
    assert len(place.asked) <= 4


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@proves(THEME, "RFC 9112 section 6", "Who waits gets the body in the framing that its version of HTTP has.")
def test_followers_of_every_version(lab: Lab, framing: str) -> None:
    place = lab.place("versions")
    gate = Gate()
    body = b"0123456789" * 3000
    place.always = says("Cache-Control: max-age=60", framing=framing, body=body, before=gate)
    with crowd(lab, 4) as (first, old, closing, new):
        first.send(f"/{place.name}")
        assert place.wait(1)
        old.send(f"/{place.name}", version="1.0")
        closing.send(f"/{place.name}", "Connection: close")
        new.send(f"/{place.name}")
        assert new.quiet()
        gate.open()
        seen = [client.answer() for client in (first, old, closing, new)]
    assert [(s.status, s.whole, s.body) for s in seen] == [(200, True, body)] * 4
    assert seen[1].values("transfer-encoding") == []
    assert "close" in seen[2].values("connection")


@proves(
    THEME, "RFC 9112 section 9.3.2", "A connection goes on with its next request after one that waited for another's."
)
def test_a_followers_connection_goes_on(lab: Lab) -> None:
    place = lab.place("goes-on")
    gate = Gate()
    place.plan(says("Cache-Control: max-age=60", before=gate), says("Cache-Control: no-store"))
    with crowd(lab, 2) as (first, second):
        first.send(f"/{place.name}/a")
        assert place.wait(1)
        for tail in ("a", "b", "a"):
            second.send(f"/{place.name}/{tail}")
        assert second.quiet()
        gate.open()
        assert first.answer().body == place.body_of(1)
        assert [second.answer().body for _ in range(3)] == [place.body_of(n) for n in (1, 2, 1)]


@pytest.mark.parametrize("forbids", ["no-cache", "no-cache, max-age=60", "max-age=0"])
@proves(
    THEME, "RFC 9111 section 5.2.2.4", "An answer that may not be used unchecked is used for nobody who waited for it."
)
def test_what_must_be_checked_is_checked_for_each(lab: Lab, forbids: str) -> None:
    place = lab.place("checked-for-each")
    gate = Gate()
    body = b"0123456789"
    place.plan(says(f"Cache-Control: {forbids}", 'ETag: "a"', before=gate, body=body))
    place.always = says(f"Cache-Control: {forbids}", 'ETag: "a"', body=body, honest=True)
    with crowd(lab, 4) as clients:
        clients[0].send(f"/{place.name}")
        assert place.wait(1)
        for client in clients[1:]:
            client.send(f"/{place.name}")
        assert clients[-1].quiet()
        gate.open()
        seen = [client.answer() for client in clients]
    assert [(s.status, s.body) for s in seen] == [(200, body)] * 4
    assert len(place.asked) == 4


@pytest.mark.slow
@pytest.mark.parametrize("leaves", [False, True])
@proves(THEME, "timeouts.first_byte", "Who waits for another's request waits no longer than for one of its own.")
def test_a_server_that_does_not_answer_releases_all(lab: Lab, leaves: bool) -> None:
    place = lab.place("unanswered")
    gate = Gate()
    place.always = says("Cache-Control: max-age=60", before=gate)
    with crowd(lab, 3, site="ruled") as (first, *others):
        first.send(f"/slow/{place.name}")
        assert place.wait(1)
        for client in others:
            client.send(f"/slow/{place.name}")
        assert others[-1].quiet(0.05)
        if leaves:
            first.close()
        begun = monotonic()
        assert [client.answer().status for client in others] == [504, 504]
        assert monotonic() - begun < 4.0
        gate.open()


@pytest.mark.slow
@pytest.mark.parametrize("leaves", [False, True])
@proves(THEME, "timeouts.idle", "A body that stops coming ends for all, and the next one asks anew.")
def test_a_server_that_stalls_releases_all(lab: Lab, leaves: bool) -> None:
    place = lab.place("stalls")
    between = Gate()
    place.plan(says("Cache-Control: max-age=60", between=between, body=b"0123456789" * 100))
    place.always = says("Cache-Control: max-age=60")
    with crowd(lab, 3, site="ruled") as (first, second, third):
        first.send(f"/slow/{place.name}")
        assert first.answer(stop_after=500).status == 200
        second.send(f"/slow/{place.name}")
        begun = monotonic()
        if leaves:
            first.close()
        assert not second.answer().whole
        assert monotonic() - begun < 4.0
        assert third.ask(f"/slow/{place.name}").body == place.body_of(2)
        between.open()
