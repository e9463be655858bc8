"""The scripts as a whole, and that what plays them notices what is wrong."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from tests.wire.play import CLOSED, Seen, answers, complaints
from tests.wire.proxies import SITES
from tests.wire.reasons import REASONS
from tests.wire.script import BadScript, Case, Expected, Step, all_cases, from_text, themes, unescape
from tests.wire.server import Message, Record

CLASSES = (
    "CL.TE",
    "TE.CL",
    "TE.TE",
    "CL.CL",
    "CL.0",
    "0.CL",
    "TE.0",
    "chunk-extension",
    "trailer",
    "Expect",
    "pause-based",
    "connection-state",
    "response-queue poisoning",
    "h2c",
    "header-name normalisation",
    "`_` vs `-`",
)
"""Of advisories."""
REFERENCE = re.compile(r"RFC [0-9]{4} (section [0-9.]+|section [A-C][0-9.]*|appendix [A-C][0-9.]*)")
CASES = all_cases()


def test_there_are_more_than_250_scripts_in_at_least_twenty_themes() -> None:
    assert len(CASES) > 250
    assert len(themes()) >= 20


def test_no_two_scripts_of_a_theme_have_one_name() -> None:
    counts = Counter((case.theme, case.name) for case in CASES)
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_script_names_a_section_or_a_class() -> None:
    for case in CASES:
        for part in case.ref.split("; "):
            assert part in CLASSES or REFERENCE.fullmatch(part), f"{case.theme}: {case.name}: {part!r}"


@pytest.mark.parametrize("advisory", CLASSES)
def test_every_class_of_advisories_has_scripts(advisory: str) -> None:
    assert any(advisory in case.ref.split("; ") for case in CASES)


def test_every_kind_of_script_has_its_reason_and_every_reason_a_script() -> None:
    assert {case.kind for case in CASES} == set(REASONS)


def test_every_site_of_a_script_can_be_started() -> None:
    assert {case.site for case in CASES} == set(SITES)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("GET / HTTP/1.1", b"GET / HTTP/1.1\r\n"),
        ("", b"\r\n"),
        ("5\\", b"5"),
        ("a\\\\", b"a\\\r\n"),
        (r"\0\x7f\r\n\t\s\|", b"\0\x7f\r\n\t |\r\n"),
        ("{ab*3}\\", b"ababab"),
        ("{a}", b"{a}\r\n"),
    ],
)
def test_lines_stand_for_these_bytes(text: str, data: bytes) -> None:
    assert unescape(text) == data


@pytest.mark.parametrize(
    "text",
    [
        "== no kind\nref: RFC 9112 section 3\n> GET / HTTP/1.1\nrefused: 400\n",
        "@kind grammar\n== no reference\n> GET / HTTP/1.1\nrefused: 400\n",
        "@kind grammar\n== no bytes\nref: RFC 9112 section 3\nrefused: 400\n",
        "@kind grammar\n== nothing to see\nref: RFC 9112 section 3\n> GET / HTTP/1.1\n",
        "@kind grammar\n== a word nobody knows\nref: RFC 9112 section 3\n> GET / HTTP/1.1\nexpects: 400\n",
        "@kind grammar\n== an unknown escape\nref: RFC 9112 section 3\n> GET /\\q HTTP/1.1\nrefused: 400\n",
        "@colour red\n",
        "a line between cases\n",
    ],
)
def test_a_script_with_a_mistake_is_not_taken_for_a_shorter_one(text: str) -> None:
    with pytest.raises(BadScript, match=r"^theme\.wire:\d+: "):
        from_text("theme", text)


def request(line: bytes = b"GET /x HTTP/1.1", **values: bytes) -> Message:
    return Message(line, [(name.encode(), value) for name, value in values.items()], b"hello", True)


def response(status: int = 200) -> Message:
    return Message(b"HTTP/1.1 %d OK" % status, [(b"content-length", b"2")], b"ok", True)


CASE = Case(
    "theme",
    "a case",
    "grammar",
    "plain",
    client=[Step("send", b"GET /x HTTP/1.1\r\n")],
    gets=[Expected(b"GET /x HTTP/1.1", [(b"host", b"s")], [b"te"], b"hello")],
    sees=[Expected(b"200", [(b"content-length", b"2")], [b"te"], b"ok")],
    end="kept",
)


def seen(
    arrived: list[Message] | None = None, got: list[Message] | None = None, end: str = "kept", *, others: bool = True
) -> Seen:
    record = Record([], arrived=[request(host=b"s")] if arrived is None else arrived)
    return Seen(answers=[response()] if got is None else got, end=end, record=record, others=others)


def test_what_is_as_it_should_be_is_not_complained_about() -> None:
    assert complaints(CASE, seen()) == []


@pytest.mark.parametrize(
    ("case", "what"),
    [
        (CASE, seen(arrived=[])),
        (CASE, seen(arrived=[request(host=b"s"), request(b"GET /smuggled HTTP/1.1", host=b"s")])),
        (CASE, seen(arrived=[request(b"GET /y HTTP/1.1", host=b"s")])),
        (CASE, seen(arrived=[request(host=b"evil")])),
        (CASE, seen(arrived=[Message(b"GET /x HTTP/1.1", [(b"host", b"s"), (b"host", b"s")], b"hello", True)])),
        (CASE, seen(arrived=[request(host=b"s", te=b"trailers")])),
        (CASE, seen(arrived=[replace(request(host=b"s"), body=b"hell")])),
        (CASE, seen(arrived=[replace(request(host=b"s"), whole=False)])),
        (CASE, seen(got=[])),
        (CASE, seen(got=[response(502)])),
        (CASE, seen(got=[response(), response()])),
        (CASE, seen(got=[replace(response(), body=b"EVIL")])),
        (CASE, seen(got=[replace(response(), whole=False)])),
        (CASE, seen(end="closed")),
        (CASE, seen(end="poisoned")),
        (CASE, seen(others=False)),
    ],
)
def test_what_is_not_as_it_should_be_is_complained_about(case: Case, what: Seen) -> None:
    assert len(complaints(case, what)) >= 1


def test_a_cut_answer_that_only_a_reset_could_tell_needs_the_reset() -> None:
    case = replace(CASE, sees=[Expected(b"200", cut=True)], end="")
    cut = Message(b"HTTP/1.1 200 OK", [], b"hel", False)
    assert complaints(case, replace(seen(got=[cut]), broken=False))
    assert not complaints(case, replace(seen(got=[cut]), broken=True))


def test_answers_are_told_apart_as_their_framing_has_them() -> None:
    raw = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: 1\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"
    )
    found, rest = answers(raw, CLOSED, head=True)
    assert [(m.line.split()[1], m.body, m.whole) for m in found] == [
        (b"103", b"", True),
        (b"200", b"", True),
        (b"200", b"ok", True),
        (b"204", b"", True),
        (b"200", b"hel", False),
    ]
    assert found[2].values(b"trailer/x-a") == [b"1"]
    assert rest == b""
