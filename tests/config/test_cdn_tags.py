"""Whether the tags that a CDN is to be told can come to it."""

from __future__ import annotations

import pytest

from config.load import parse

SITE = "pools: {default: {servers: [http://a:1]}}\ncdn: {provider: bunny, url: 'https://cdn.example.com', %s}\n%s"


def warnings(said: str, more: str = "") -> list[str]:
    text = SITE % (said, more)
    return [str(one) for one in parse(text, "f", {}).warnings if "tags" in str(one)]


def test_tags_for_a_cdn_that_is_not_known_by_its_addresses_are_warned_of() -> None:
    (told,) = warnings("images: false")
    assert "cdn.tags: tags are told to connections from `trusted_proxies` alone, so bunny gets none" in told


@pytest.mark.parametrize(
    ("said", "more"),
    [("tags: false", ""), ("images: false", "trusted_proxies: [192.0.2.0/24]")],
)
def test_tags_that_go_nowhere_or_where_they_should_are_not(said: str, more: str) -> None:
    assert warnings(said, more) == []
