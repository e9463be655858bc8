"""How often a server could find a cookie of one name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.cookies import _BEFORE, alike, places

TEXT = st.text(alphabet='sS_;,= \t%73["a.', max_size=24).map(str.encode)


def slowly(value: bytes, like: bytes) -> int:
    """The same of every name, one by one."""
    found = 0
    for before in _BEFORE.findall(value):
        words = before.split()
        found += alike(before) == like or (len(words) > 1 and alike(words[-1]) == like)
    return found


@given(TEXT, st.sampled_from([b"s", b"ss", b"s_s", b"_s", b"a.s"]))
def test_the_short_way_counts_as_the_long_one(value: bytes, name: bytes) -> None:
    assert places(value, alike(name)) == slowly(value, alike(name))


def test_names_that_differ_only_by_what_some_server_does_not_see_are_alike() -> None:
    for name in (b"my_id", b" my_id ", b"my.id", b"My_Id", b'"my_id"', b"my%5fid", b"my_id[0]", b"my_id\xc2\xa0"):
        assert alike(name) == b"my_id", name
    for name in (b"my_ids", b"_my_id", b"myid", b"__Host-my_id"):
        assert alike(name) != b"my_id", name
