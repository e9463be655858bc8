"""How often a server could find a cookie of one name."""

from __future__ import annotations

from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from balancer.http1.cookies import alike, last, names, places

TEXT = st.text(alphabet='sS_;,= \t%73["a.', max_size=24).map(str.encode)


def slowly(value: bytes, like: bytes) -> int:
    """The same of every name, one by one."""
    return sum(like in (alike(before), alike(last(before))) for before in names(value))


@given(TEXT, st.sampled_from([b"s", b"ss", b"s_s", b"_s", b"a.s"]))
def test_the_short_way_counts_as_the_long_one(value: bytes, name: bytes) -> None:
    assert places(value, alike(name)) == slowly(value, alike(name))


def test_names_that_differ_only_by_what_some_server_does_not_see_are_alike() -> None:
    for name in (b"my_id", b" my_id ", b"my.id", b"My_Id", b'"my_id"', b"my%5fid", b"my_id[0]", b"my_id\xc2\xa0"):
        assert alike(name) == b"my_id", name
    for name in (b"my_ids", b"_my_id", b"myid", b"__Host-my_id"):
        assert alike(name) != b"my_id", name


def test_each_name_is_what_stands_before_its_sign() -> None:
    assert names(b"a=1; b =2, c=3 d=4") == [b"a", b" b ", b" c", b"3 d"]
    assert [last(name) for name in (b"a", b" b ", b"3 d", b"3\td\t", b"")] == [b"a", b"b", b"d", b"d", b""]


def test_long_nonsense_is_gone_through_once() -> None:
    begin = process_time()
    for odd in (b"%", b" ", b"\x80", b"=", b";", b"s ", b"%=", b" =", b"[", b"\t\x80"):
        for end in (b"", b"x", b"x=", b"%s="):
            places(odd * 30_000 + end, b"s")
    assert process_time() - begin < 30  # quadratic, it would be minutes
