"""Quantities: what they are read from, what they refuse, and that they are written back as they were."""

from __future__ import annotations

import pickle
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from config.addresses import network, network_text, server_address
from config.schema import Timeouts
from config.values import (
    WRITTEN,
    Address,
    Duration,
    StatusSet,
    Unfit,
    byte_count,
    duration_text,
    seconds,
    share,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("250ms", 0.25),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        ("1.5s", 1.5),
        ("0", 0.0),
    ],
)
def test_a_duration_is_seconds(text: str, number: float) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "5 s", "1e3s", "30sec", "4000d", "9" * 400 + "s", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Unfit):
        seconds(text)


@pytest.mark.parametrize("number", [-1, float("nan"), float("inf"), 10**400, True, None, []])
def test_a_number_that_is_no_time_is_refused(number: object) -> None:
    with pytest.raises(Unfit):
        seconds(number)


def test_a_written_number_without_a_unit_is_refused_with_an_example() -> None:
    with pytest.raises(Unfit, match="must have a unit, such as 30s or 250ms, not 30"):
        seconds(30, written=True)
    assert seconds(0, written=True) == 0


def test_a_program_may_give_seconds() -> None:
    assert Timeouts(connect=0.5).connect == 0.5


@given(st.floats(0, 10 * 365 * 86400))
def test_a_duration_is_written_as_it_is_read(number: float) -> None:
    read = seconds(number)
    assert seconds(duration_text(read)) == read


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0s"),
        (0.03, "30ms"),
        (30.0, "30s"),
        (90.0, "90s"),
        (3600.0, "1h"),
        (600.0, "10m"),
        (1e-6, "0.000001s"),
    ],
)
def test_a_duration_is_written_briefly(number: float, text: str) -> None:
    assert duration_text(number) == text


@given(st.integers(0, 2**50))
def test_a_size_is_written_as_it_is_read(number: int) -> None:
    assert byte_count(size_text(number)) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("100", 100), ("64KiB", 65536), ("10MB", 10**7), ("1.5KiB", 1536), ("1gib", 2**30), ("7B", 7)],
)
def test_a_size_is_bytes(text: str, number: int) -> None:
    assert byte_count(text) == number


@pytest.mark.parametrize("value", ["", "1.5", "-1", "1.5B", "64 KiB", "1TiB", "9" * 30, True, 1.5, float("nan"), None])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(Unfit):
        byte_count(value)


@pytest.mark.parametrize(("value", "number"), [("20%", 0.2), ("0.2", 0.2), (0, 0.0), (1, 1.0), ("100%", 1.0)])
def test_a_share_is_between_nothing_and_all(value: object, number: float) -> None:
    assert share(value) == number


@pytest.mark.parametrize("value", [20, "20", "101%", -0.1, "", "x", True, None, float("nan"), float("inf"), 10**400])
def test_what_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(Unfit):
        share(value)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "0.0.0.0/0"])
def test_a_network_is_written_as_it_is_read(text: str) -> None:
    assert network_text(network(text)) == text


def test_a_network_with_bits_after_its_prefix_names_the_one_that_was_meant() -> None:
    with pytest.raises(Unfit, match=r"write 10\.0\.0\.0/8"):
        network("10.0.0.1/8")
    with pytest.raises(Unfit):
        network("10.0.0.0/99")


@given(st.sets(st.integers(100, 599), min_size=1))
def test_statuses_are_written_as_they_are_read(members: set[int]) -> None:
    statuses = StatusSet.of(members)
    assert {status for status in range(700) if status in statuses} == members
    assert StatusSet.of(str(statuses)) == statuses


def test_statuses_have_ranges_classes_and_lists() -> None:
    assert StatusSet.of("2xx, 301") == StatusSet.of(["200-299", 301])
    assert str(StatusSet.of("200-299,301")) == "200-299,301"
    assert 204 in StatusSet.of(204)


@pytest.mark.parametrize("value", ["", "99", "600", "399-200", "6xx", [], [True], "200-", "200;201", ["200", None]])
def test_what_is_no_status_is_refused(value: str | list[int | str]) -> None:
    with pytest.raises(Unfit):
        StatusSet.of(value)


@pytest.mark.parametrize("text", [":8080", "127.0.0.1:80", "[::1]:80", "unix:/run/b.sock", "localhost:0", "a_b.c:1"])
def test_an_address_gives_its_text_back(text: str) -> None:
    assert str(Address.of(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":",
        ":65536",
        "::1:80",
        "[::1]",
        "[x]:1",
        "a b:1",
        "unix:b.sock",
        "unix:/" + "x" * 107,
        "-a:1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Unfit):
        Address.of(text)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    try:
        address = Address.of(text)
    except Unfit:
        return
    assert Address.of(str(address)) == address


@pytest.mark.parametrize(
    ("text", "local"),
    [
        (":80", False),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/s", True),
        ("10.0.0.1:1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(text: str, local: bool) -> None:
    assert Address.of(text).is_loopback == local


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (":80", "127.0.0.1:80", False),
        ("127.0.0.1:80", "127.0.0.2:80", True),
        ("0.0.0.0:80", "[::]:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", False),
        ("localhost:80", "127.0.0.1:80", False),
        ("localhost:80", "10.0.0.1:80", True),
        (":0", ":0", True),
        (":80", ":81", True),
        ("unix:/a", "unix:/a", False),
        ("unix:/a", ":80", True),
    ],
)
def test_addresses_overlap_when_both_cannot_be_listened_on(one: str, other: str, both: bool) -> None:
    assert Address.of(one).overlaps(Address.of(other)) != both
    assert Address.of(other).overlaps(Address.of(one)) != both


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://10.0.0.1:8000", Address("10.0.0.1", 8000)),
        ("http://App.Internal", Address("app.internal", 80)),
        ("HTTP://my_app:1/", Address("my_app", 1)),
        ("http://[::1]:8000", Address("::1", 8000)),
        ("http://[::1]", Address("::1", 80)),
        ("https://app.internal", Address("app.internal", 443)),
        ("HTTPS://[::1]", Address("::1", 443)),
        ("https://10.0.0.1:8443", Address("10.0.0.1", 8443)),
        ("unix:/run/app.sock", Address(path="/run/app.sock")),
    ],
)
def test_a_server_is_reached_at_its_address(url: str, address: Address) -> None:
    assert server_address(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("wss://a", "such as"),
        ("https://a:0", "port"),
        ("a:80", "with its scheme"),
        ("ftp://a", "such as"),
        ("http://u:p@a:80", "user name"),
        ("http://a/x", "add_prefix"),
        ("http://a?x", "add_prefix"),
        ("http://a:0", "port"),
        ("http://a:99999", "port"),
        ("http://a:", "port"),
        ("http://", "port"),
        ("http://a b:1", "port"),
        ("http://::1:80", "port"),
        ("http://10.0.0.300:80", "up to 255"),
    ],
)
def test_a_server_url_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(Unfit) as refused:
        server_address(url)
    assert reason in refused.value.expected


def test_values_survive_a_pipe_to_another_process() -> None:
    for value in (Address.of("[::1]:80"), StatusSet.of("2xx"), ip_network("10.0.0.0/8")):
        assert pickle.loads(pickle.dumps(value)) == value


def test_a_schema_shows_how_a_value_is_spelt() -> None:
    shown = TypeAdapter(Duration).json_schema()
    assert "30s" in shown["examples"]
    assert TypeAdapter(Duration).validate_python("30s", context=WRITTEN) == 30
    assert TypeAdapter(Duration).dump_python(30.0) == "30s"
