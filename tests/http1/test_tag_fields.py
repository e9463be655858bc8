"""Tags of answers as a CDN reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cache.entry import Entry
from balancer.cache.storing import LONGEST_TAG, MOST_TAGS
from balancer.caching.stored import unchanged
from balancer.http1.edits import Edits
from balancer.http1.fields import Field, parse_line
from balancer.http1.head import parse_request
from balancer.http1.tag_fields import FORMS, MARK, TagFields, spelled
from balancer.tally import RouteTally
from config.cdn import Cdn, Provider
from config.schema import Headers

READ = ("Surrogate-Key", "Cache-Tag")
SPEAKING: tuple[Provider, ...] = ("cloudflare", "aws", "bunny")
tags_of_answers = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters=",\x85\xa0"), min_size=1), max_size=300
)


def fields(*lines: bytes) -> list[Field]:
    return [parse_line(line) for line in lines]


def tag_fields(provider: Provider, tally: RouteTally | None = None) -> TagFields:
    return TagFields(Cdn(provider=provider), READ, tally or RouteTally())


def told(line: bytes, provider: Provider) -> list[str]:
    """The tags in a line, read as the provider does."""
    form = FORMS[provider]
    name, _, value = line.removesuffix(b"\r\n").partition(b": ")
    assert name.decode() == form.field
    return [tag for tag in value.decode("ascii").split(form.between.decode()) if tag]


@pytest.mark.parametrize(
    ("provider", "line"),
    [
        ("cloudflare", b"Cache-Tag: post-42,home,news\r\n"),
        ("aws", b"x-amz-meta-cache-tag: post-42,home,news\r\n"),
        ("bunny", b"CDN-Tag: ~post-42~home~news~\r\n"),
        ("local", b""),
    ],
)
def test_all_tags_of_an_answer_are_told_once_in_the_providers_field(provider: Provider, line: bytes) -> None:
    answer = fields(b"Surrogate-Key: post-42 home", b'ETag: "a"', b"Cache-Tag: home, news")
    assert tag_fields(provider).line(answer) == line


def test_the_field_of_a_distribution_is_the_one_that_was_configured() -> None:
    cdn = Cdn.model_validate({"provider": "aws", "aws": {"cache_tag_header": "X-Tags"}})
    assert TagFields(cdn, READ, RouteTally()).line(fields(b"Cache-Tag: a")) == b"X-Tags: a\r\n"


def test_a_distribution_without_a_field_is_told_nothing() -> None:
    cdn = Cdn.model_validate({"provider": "aws", "aws": {"cache_tag_header": ""}})
    made = TagFields(cdn, READ, RouteTally())
    assert not made.speaks
    assert made.line(fields(b"Cache-Tag: a")) == b""


def test_an_answer_without_tags_gets_no_field() -> None:
    assert tag_fields("cloudflare").line(fields(b'ETag: "a"', b"Cache-Tag:  , ,")) == b""


@pytest.mark.parametrize("provider", SPEAKING)
@pytest.mark.parametrize("tag", ["a*", "a~b", "a?", "é", "x" * 1025])
def test_what_a_provider_would_not_take_is_hashed_alike_in_answers_and_in_purges(provider: Provider, tag: str) -> None:
    line = tag_fields(provider).line(fields(b"Cache-Tag: " + tag.encode()))
    assert told(line, provider) == [spelled(tag, provider)]
    assert spelled(tag, provider).startswith(MARK)
    assert tag not in spelled(tag, provider)


@pytest.mark.parametrize("provider", SPEAKING)
def test_a_usual_tag_is_sent_as_it_is(provider: Provider) -> None:
    assert spelled("product:42", provider) == "product:42"


def test_the_local_provider_hashes_nothing() -> None:
    assert spelled("é" * 500, "local") == "é" * 500


@given(tags=tags_of_answers, provider=st.sampled_from(SPEAKING))
def test_a_field_keeps_the_providers_limits_and_has_every_tag_as_a_purge_spells_it(
    tags: list[str], provider: Provider
) -> None:
    tags = [
        tag for tag in dict.fromkeys(" ".join(tags).split()) if re.fullmatch(rb"[^\s\x00-\x1f\x7f,]+", tag.encode())
    ]
    tally = RouteTally()
    line = tag_fields(provider, tally).line(fields(b"Surrogate-Key: " + " ".join(tags).encode()))
    if not tags:
        assert line == b""
        return
    shown = told(line, provider)
    assert shown == [spelled(tag, provider) for tag in tags][: len(shown)]
    assert tally.tags_left_out == len(tags) - len(shown)
    form = FORMS[provider]
    assert len(shown) <= form.most
    assert all(re.fullmatch(r"[!-~]+", tag) and len(tag) <= form.longest for tag in shown)
    assert len(line) - len(f"{form.field}: \r\n") <= form.room
    if tally.tags_left_out:
        following = len(spelled(tags[len(shown)], provider)) + len(form.between)
        assert len(shown) == form.most or len(line) - len(f"{form.field}: \r\n") + following > form.room


@pytest.mark.parametrize("size", [63, LONGEST_TAG])
def test_cloudflare_is_told_all_tags_of_whatever_the_own_cache_stores(size: int) -> None:
    tags = [f"{number:03}".ljust(size, "x") for number in range(MOST_TAGS)]
    tally = RouteTally()
    line = tag_fields("cloudflare", tally).line(fields(b"Surrogate-Key: " + " ".join(tags).encode()))
    assert len(told(line, "cloudflare")) == MOST_TAGS
    assert tally.tags_left_out == 0


def test_bunny_has_room_for_56_long_tags_and_the_rest_is_counted() -> None:
    tags = [f"a-rather-long-tag-{number}" for number in range(60)]
    tally = RouteTally()
    line = tag_fields("bunny", tally).line(fields(b"Surrogate-Key: " + " ".join(tags).encode()))
    assert len(told(line, "bunny")) == 56
    assert tally.tags_left_out == 4


def test_clients_get_no_tags_and_the_cdn_gets_its_own_field() -> None:
    edits = Edits(Headers(), tags=tag_fields("bunny"))
    assert edits.response_drop == {b"surrogate-key", b"cache-tag", b"cdn-tag"}
    assert edits.tag_line(fields(b"Cache-Tag: a")) == b""
    assert edits.for_cdn is not None
    assert edits.for_cdn.tag_line(fields(b"Cache-Tag: a")) == b"CDN-Tag: ~a~\r\n"


def test_nobody_is_given_tags_where_the_provider_reads_none() -> None:
    edits = Edits(Headers(), tags=tag_fields("local"))
    assert edits.response_drop == {b"surrogate-key", b"cache-tag"}
    assert edits.for_cdn is None


def test_a_304_tells_the_cdn_the_tags_and_clients_nothing_of_them() -> None:
    stored = b'ETag: "a"\r\nSurrogate-Key: x y\r\nContent-Type: text/plain\r\n'
    entry = Entry(b"http://h/", (), (), 200, b"HTTP/1.1 200 OK\r\n", stored)
    request = parse_request(b"GET / HTTP/1.1\r\nHost: h", 100, 100)
    edits = Edits(Headers(), tags=tag_fields("cloudflare"))
    assert edits.for_cdn is not None
    assert unchanged(entry, edits.for_cdn, None, request).endswith(b'ETag: "a"\r\nCache-Tag: x,y\r\n')
    assert unchanged(entry, edits, None, request).endswith(b'Not Modified\r\nETag: "a"\r\n')
