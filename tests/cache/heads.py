"""Requests and answers as the parser makes them, and what the cache makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from typing import Any, Final

from hypothesis import strategies as st

from balancer.cache.asks import Asks, asks_of
from balancer.cache.entry import Entry
from balancer.cache.rules import Rule, compile_rule
from balancer.cache.storing import Refused, judge
from balancer.http1.head import RequestHead, ResponseHead, parse_request, parse_response
from config.schema import Cache, CacheRule

WALL: Final = 1_795_557_600.0
"""Tue, 24 Nov 2026 22:00:00 GMT, when each answer here comes unless a test says otherwise."""
NOW: Final = 1000.0
KEY: Final = b"http://site.test/x"
LANE: Final = (b"route", b"pool")


def date(after: float = 0.0) -> str:
    """An HTTP date so many seconds after WALL, by the standard library."""
    return formatdate(WALL + after, usegmt=True)


def rule(**said: Any) -> Rule:
    """A rule of these settings; those of `Cache` as cache_...."""
    cache = {name.removeprefix("cache_"): said.pop(name) for name in list(said) if name.startswith("cache_")}
    return compile_rule("rule", CacheRule(**said), Cache(enabled=True, **cache))


PLAIN: Final = rule()


def request(*lines: str, method: str = "GET", target: str = "/x", host: str = "site.test") -> RequestHead:
    head = parse_request(
        "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {host}", *lines)).encode("latin-1"), 500, 8192
    )
    head.common.asks = asks_of(head.common)
    return head


def asks(*lines: str, **more: Any) -> Asks:
    found = request(*lines, **more).common.asks
    assert isinstance(found, Asks)
    return found


def response(*lines: str, status: int = 200, dated: bool = True) -> ResponseHead:
    own = (f"Date: {date()}",) if dated and not any(line.lower().startswith("date:") for line in lines) else ()
    return parse_response("\r\n".join((f"HTTP/1.1 {status} X", *own, *lines)).encode("latin-1"), 500)


def verdict(
    *lines: str,
    of: Sequence[str] = (),
    by: Rule = PLAIN,
    status: int = 200,
    dated: bool = True,
    method: str = "GET",
    took: float = 0.0,
    now: float = NOW,
    wall: float = WALL,
) -> Entry | Refused:
    """What is made of an answer with these lines to a request with those in `of`, which was sent `took` seconds ago."""
    head = request(*of, method=method)
    assert isinstance(head.common.asks, Asks)
    answer = response(*lines, status=status, dated=dated)
    return judge(head, head.common.asks, answer, by, KEY, LANE, asked=now - took, now=now, wall=wall)


def stored(*lines: str, **more: Any) -> Entry:
    made = verdict(*lines, **more)
    assert isinstance(made, Entry), f"refused: {made.reason}"
    return made


def refused(*lines: str, **more: Any) -> str:
    """The reason, or "" for what is stored."""
    made = verdict(*lines, **more)
    return made.reason if isinstance(made, Refused) else ""


def lifetime(*lines: str, **more: Any) -> float:
    """Seconds for which it is still fresh when it comes."""
    return stored(*lines, **more).fresh_until - NOW


def value(entry: Entry, name: str) -> list[str]:
    lower = name.lower().encode()
    return [field.value.decode("latin-1") for field in entry.fields if field.name == lower]


TEXT: Final = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
"""What may stand in a field."""
DIRECTIVES: Final = st.lists(
    st.one_of(
        st.sampled_from(
            ["public", "no-transform", "must-revalidate", "proxy-revalidate", "immutable", "must-understand", "x=y"]
        ),
        st.builds(
            "{}={}".format,
            st.sampled_from(["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error", "MAX-AGE"]),
            st.one_of(st.integers(0, 10**12), st.sampled_from(['"60"', "abc", "", "-1"])),
        ),
    ),
    max_size=6,
)
"""Directives of an answer that do not forbid anything."""
