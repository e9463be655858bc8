"""Paths as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.naming import quoted, setting
from config.problems import path_text

CONFIG = {
    "pools": {"app": {"servers": {"127.0.0.1:80": {"weight": 1}, "127.0.0.1:8080": {}, "[::1]:80": {}, "a": {}}}},
    "listeners": {"main": {"address": ":80"}},
}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("pools.app.servers.127.0.0.1:80.weight", ("pools", "app", "servers", "127.0.0.1:80", "weight")),
        ("pools.app.servers.127.0.0.1:8080", ("pools", "app", "servers", "127.0.0.1:8080")),
        ("pools.app.servers.[::1]:80.weight", ("pools", "app", "servers", "[::1]:80", "weight")),
        ('pools.app.servers["127.0.0.1:80"].weight', ("pools", "app", "servers", "127.0.0.1:80", "weight")),
        ("servers.127.0.0.1:80.tls", ("pools", "app", "servers", "127.0.0.1:80", "tls")),
        ("strategy", ("pools", "app", "strategy")),
        ("listen", ("listeners", "main", "address")),
        ("pools.app.servers.a.weight", ("pools", "app", "servers", "a", "weight")),
        ("pools.new.strategy", ("pools", "new", "strategy")),
    ],
)
def test_a_path_is_what_its_writer_meant(text: str, path: tuple[str, ...]) -> None:
    assert setting(text, CONFIG) == path
    assert quoted(path, CONFIG) is None


def test_a_short_form_that_could_be_one_of_several_is_none() -> None:
    with pytest.raises(ValueError, match=r"there are a and b: say which, such as pools\.a\.strategy"):
        setting("strategy", {"pools": {"a": {}, "b": {}}})
    assert setting("strategy", {"pools": {"a": {}, "default": {}}}) == ("pools", "default", "strategy")


def test_a_new_name_with_dots_is_put_together_again() -> None:
    assert quoted(setting("routes.www.example.com.pool", CONFIG), CONFIG) == 'routes["www.example.com"].pool'
    assert quoted(setting("pools.app.servers.a.weigth", CONFIG), CONFIG) is None


KEYS = st.text(st.sampled_from('ab.:[]1"'), min_size=1, max_size=5).filter(lambda key: '"' not in key)


@given(path=st.lists(KEYS, min_size=1, max_size=4))
def test_a_path_that_is_written_with_its_quotes_is_that_path_whatever_is_there(path: list[str]) -> None:
    there: object = 1
    for key in reversed(path):
        there = {key: there}
    assert isinstance(there, dict)
    assert setting(path_text(tuple(path)), {"x": 1, **there}) == tuple(path)
