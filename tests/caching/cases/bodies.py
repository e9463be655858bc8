"""Bodies that are not what they should be: never stored."""

from __future__ import annotations

from tests.caching.case import case, fetch, hit, says, theme
from tests.caching.lab import MOST

theme("Bodies")

CC = "Cache-Control: max-age=3600"
NEXT = says("Cache-Control: no-store")

case(
    "an-over-long-body-is-not-stored",
    "RFC 9112 section 6.3",
    "An answer with bytes behind its end is not stored.",
    fetch(says(CC, extra=b"HTTP/1.1 200 OK\r\n\r\n")),
    fetch(NEXT),
)
case(
    "a-body-until-the-end-is-not-stored",
    "RFC 9112 section 8",
    "A body that lasts until the connection ends is not stored: nobody can tell whether it was whole.",
    fetch(says(CC, framing="close")),
    fetch(NEXT),
)
case(
    "a-body-too-large-is-not-stored",
    "cache.max_object",
    "A body over max_object is passed on and not stored.",
    fetch(says(CC, body=b"x" * (MOST + 1))),
    fetch(NEXT),
    site="ruled",
)
case(
    "a-body-too-large-in-chunks-is-not-stored",
    "cache.max_object",
    "Also when its length shows only on the way.",
    fetch(says(CC, body=b"x" * (MOST + 1), framing="chunked")),
    fetch(NEXT),
    site="ruled",
)
case(
    "a-body-just-large-enough",
    "cache.max_object",
    "One of max_object is stored.",
    fetch(says(CC, body=b"x" * MOST, framing="chunked")),
    hit(),
    site="ruled",
)
