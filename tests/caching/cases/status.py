"""Which statuses and methods are stored: RFC 9111 section 3."""

from __future__ import annotations

from tests.caching.case import NEXT, case, fetch, fresh, hit, says, theme, unstored

theme("Status")

for code in (
    200,
    201,
    202,
    203,
    299,
    300,
    301,
    302,
    303,
    307,
    308,
    400,
    403,
    404,
    405,
    410,
    414,
    429,
    451,
    499,
    500,
    501,
    502,
    503,
    504,
    599,
):
    fresh(
        f"explicit-{code}",
        "RFC 9111 section 3",
        f"{code} with a lifetime is stored.",
        "Cache-Control: max-age=60",
        status=code,
    )
case(
    "explicit-204",
    "RFC 9111 section 3",
    "204 with a lifetime is stored.",
    fetch(says("Cache-Control: max-age=60", status=204)),
    hit(status=204),
)
unstored(
    "partial-content-is-not-stored",
    "RFC 9111 section 3.3",
    "206 is not stored, since parts are not put together.",
    "Cache-Control: max-age=60",
    "Content-Range: bytes 0-29/100",
    status=206,
)
fresh(
    "a-redirect-keeps-its-location",
    "RFC 9111 section 3",
    "A redirect is stored with where it leads.",
    "Cache-Control: max-age=60",
    "Location: /elsewhere",
    status=301,
)
case(
    "interim-answers-are-not-stored",
    "RFC 9110 section 15.2",
    "103 is passed on, and is no part of what is stored.",
    fetch(says("Cache-Control: max-age=60", interim=("103 Early Hints\r\nLink: </style.css>; rel=preload",))),
    hit(),
)
case(
    "fields-of-interim-answers-are-not-stored",
    "RFC 9110 section 15.2",
    "Nor do its fields get into it.",
    fetch(says("Cache-Control: max-age=60", interim=("103 Early Hints\r\nX-Early: 1\r\nCache-Control: no-store",))),
    hit(has=("!X-Early", "Cache-Control: max-age=60")),
)

theme("Methods")

LONG = says("Cache-Control: max-age=3600", 'ETag: "a"')
case(
    "head-from-get",
    "RFC 9110 section 9.3.2",
    "HEAD is answered with the head of a stored GET.",
    fetch(says("Cache-Control: max-age=60", "X-Kept: 1", body=b"0123456789")),
    hit(method="HEAD", has=("X-Kept: 1", "Content-Length: 10")),
)
case(
    "get-not-from-head",
    "RFC 9111 section 4",
    "GET is not answered with what a HEAD brought.",
    fetch(LONG, method="HEAD", gets=b""),
    fetch(LONG),
    hit(),
)
case(
    "post-goes-to-the-server",
    "RFC 9111 section 4",
    "POST is not answered from what is stored.",
    fetch(LONG),
    fetch(NEXT, method="POST", body=b"x"),
)
for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO", "get"):
    case(
        f"the-answer-to-{method}-is-not-stored".replace("get", "lower-case-get"),
        "RFC 9111 section 3",
        f"The answer to {method} answers no GET, nor another {method}.",
        fetch(LONG, method=method),
        fetch(says("Cache-Control: no-store"), method=method),
        fetch(NEXT, asked=("!If-None-Match",)),
    )
case(
    "content-location-is-no-key",
    "RFC 9111 section 4",
    "An answer is stored under the URL that was asked for, not under its Content-Location.",
    fetch(says("Cache-Control: max-age=60", "Content-Location: {path}/b"), tail="/a"),
    fetch(NEXT, tail="/b"),
    hit(tail="/a", of=1),
)
