"""Errors of the balancer's own: one content in the form its client would rather have."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.canned import HTML, TEXT, Told, told
from balancer.http1.error_page import ErrorPage

FORMS = {
    None: TEXT,
    b"*/*": TEXT,
    b"text/html": HTML,
    b"application/json": b"application/json",
    b"application/problem+json": b"application/problem+json",
}
REASON = "no server of this site can be asked at the moment"


@pytest.mark.parametrize("accept", FORMS, ids=str)
def test_each_form_has_its_type_and_tells_status_reason_and_id(accept: bytes | None) -> None:
    found = told(503, REASON, b"4bf92f35", accept)
    assert found.content_type == FORMS[accept]
    for part in (b"503", b"Service Unavailable", b"o server of this site can be asked at the moment", b"4bf92f35"):
        assert part in found.body


def test_problem_details_have_the_members_of_rfc_9457() -> None:
    assert json.loads(told(503, REASON, b"4bf9", b"application/problem+json").body) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": REASON,
        "request_id": "4bf9",
    }


def test_without_an_id_none_is_spoken_of() -> None:
    assert told(404, REASON).body == b"404 Not Found: no server of this site can be asked at the moment\n"
    assert "request_id" not in json.loads(told(404, REASON, b"", b"application/json").body)
    assert b'<p class="id"></p>' in told(404, REASON, b"", b"text/html").body


@pytest.mark.parametrize("accept", FORMS, ids=str)
def test_an_error_is_neither_kept_nor_taken_for_something_else(accept: bytes | None) -> None:
    fields = told(503, REASON, b"", accept).fields
    assert fields == b"Cache-Control: no-store\r\nVary: Accept\r\nX-Content-Type-Options: nosniff\r\n"


def test_fields_that_the_operator_edits_are_left_to_the_operator() -> None:
    assert told(503, REASON, drop=frozenset((b"cache-control", b"vary"))).fields == (
        b"X-Content-Type-Options: nosniff\r\n"
    )


@pytest.mark.parametrize(
    ("status", "title"),
    [(413, b"Content Too Large"), (414, b"URI Too Long"), (421, b"Misdirected Request"), (508, b"Loop Detected")],
)
def test_titles_are_those_of_the_registry_whatever_python_calls_them(status: int, title: bytes) -> None:
    assert told(status, REASON).body.startswith(b"%d %b: " % (status, title))


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, told: Told) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.feed(told.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "style")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_from_anywhere_and_is_small() -> None:
    found = told(502, REASON, b"4bf92f3577b34da6a3ce929d0e0e4736", b"text/html")
    page = Page(found)
    assert page.links == []
    assert "script" not in page.tags
    assert b"url(" not in found.body
    assert len(found.body) < 1500


@given(reason=st.text(max_size=80), request_id=st.binary(max_size=80))
def test_no_value_becomes_markup_or_breaks_the_json(reason: str, request_id: bytes) -> None:
    plain = Page(told(502, "x", b"x", b"text/html"))
    assert Page(told(502, reason, request_id, b"text/html")).tags == plain.tags
    details = json.loads(told(502, reason, request_id, b"application/json").body)
    assert details.get("detail", "") == reason
    assert details.get("request_id", "") == request_id.decode("latin-1")


def test_a_page_of_the_operators_own_is_filled_with_escaped_values() -> None:
    page = ErrorPage("<style>b{color:red}</style><b title='{request_id}'>{status} {title}</b> {detail} {} { status }")
    found = told(504, "it took <b>long</b> & {status}", b"'\"><script>", b"text/html", page)
    assert found.body == (
        b"<style>b{color:red}</style><b title='&#x27;&quot;&gt;&lt;script&gt;'>504 Gateway Timeout</b> "
        b"It took &lt;b&gt;long&lt;/b&gt; &amp; {status}. {} { status }"
    )


def test_a_page_of_the_operators_own_is_for_browsers_only() -> None:
    page = ErrorPage("mine")
    assert told(504, REASON, b"", b"text/html", page).body == b"mine"
    assert told(504, REASON, b"", b"*/*", page).body.startswith(b"504 ")
