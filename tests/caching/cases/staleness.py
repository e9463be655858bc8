"""When what is stale may be served: RFC 9111 section 4.2.4, RFC 5861."""

from __future__ import annotations

from tests.caching.case import ANY, UNCHANGED, Step, case, checked, fetch, hit, own, says, theme

theme("stale-while-revalidate")

SWR = "RFC 5861 section 3"
SIE = "RFC 5861 section 4"
OFF = "RFC 9111 section 4.2.4"
WINDOW = says("Cache-Control: max-age=60, stale-while-revalidate=600", "Age: 100", 'ETag: "a"')
NEW = says("Cache-Control: max-age=600")

case(
    "stale-while-it-is-fetched",
    SWR,
    "Within the window what is stale is served at once, and fetched anew behind it.",
    fetch(WINDOW),
    Step(answers=(NEW,), of=1, age=(100, 102), hit=True, cache={"ttl": (-42, -38)}),
    hit(of=2, eventually=True),
)
case(
    "the-fetch-behind-is-a-check",
    SWR,
    "What is fetched behind it is asked about.",
    fetch(WINDOW),
    Step(answers=(says("Cache-Control: max-age=600", 'ETag: "a"', status=304),), of=1, asked=('If-None-Match: "a"',)),
    hit(of=1, age=(0, 1), eventually=True),
)
case(
    "beyond-the-window",
    SWR,
    "Behind the window it waits for the server.",
    fetch(says("Cache-Control: max-age=60, stale-while-revalidate=10", "Age: 100", 'ETag: "a"')),
    fetch(NEW),
    hit(of=2),
)
case(
    "a-failed-fetch-behind",
    SWR,
    "If the server fails behind it, what is stale stays in use within the window.",
    fetch(WINDOW),
    Step(answers=(says("Cache-Control: no-store", status=500),), of=1),
    Step(of=1, reaches=ANY),
)
for strict in ("must-revalidate", "proxy-revalidate", "no-cache"):
    case(
        f"stale-while-revalidate-against-{strict}",
        OFF,
        f"Against {strict} there is no window.",
        fetch(says(f"Cache-Control: max-age=60, stale-while-revalidate=600, {strict}", "Age: 100", 'ETag: "a"')),
        fetch(NEW),
        hit(of=2),
    )
case(
    "stale-while-revalidate-against-s-maxage",
    "RFC 9111 section 5.2.2.10",
    "s-maxage means proxy-revalidate: against it there is no window.",
    fetch(says("Cache-Control: s-maxage=60, stale-while-revalidate=600", "Age: 100", 'ETag: "a"')),
    fetch(NEW),
    hit(of=2),
)
case(
    "a-broken-window",
    SWR,
    "What is no number is no window.",
    fetch(says("Cache-Control: max-age=60, stale-while-revalidate=abc", "Age: 100", 'ETag: "a"')),
    fetch(NEW),
)
case(
    "no-cache-of-a-request-within-the-window",
    "RFC 9111 section 5.2.1.4",
    "A request with no-cache gets nothing stale.",
    fetch(WINDOW),
    fetch(NEW, "Cache-Control: no-cache"),
)
case(
    "max-age-of-a-request-within-the-window",
    "RFC 9111 section 5.2.1.1",
    "Nor does one whose max-age is exceeded.",
    fetch(WINDOW),
    fetch(NEW, "Cache-Control: max-age=30"),
)
case(
    "the-window-of-a-rule",
    "rules",
    "Where an answer does not say, the rule's window holds.",
    fetch(says("Cache-Control: max-age=60", "Age: 90", 'ETag: "a"')),
    Step(answers=(NEW,), of=1, hit=True),
    hit(of=2, eventually=True),
    site="ruled",
    prefix="/swr",
)
case(
    "no-window-without-a-lifetime",
    "rules",
    "Not of what says nothing of itself: it may be for one client only, and is not stored at all.",
    fetch(says()),
    fetch(says()),
    site="ruled",
    prefix="/swr",
)
case(
    "the-window-of-a-rule-against-must-revalidate",
    OFF,
    "Not against must-revalidate.",
    fetch(says("Cache-Control: max-age=60, must-revalidate", "Age: 90", 'ETag: "a"')),
    fetch(NEW),
    site="ruled",
    prefix="/swr",
)

case(
    "a-part-while-it-is-fetched",
    SWR,
    "Who is served a part of what is stale has the whole of it fetched behind.",
    fetch(WINDOW),
    Step(
        ("Range: bytes=0-3",),
        answers=(NEW,),
        status=206,
        gets=b"answ",
        asked=("!Range", 'If-None-Match: "a"'),
        hit=True,
    ),
    hit(of=2, eventually=True),
)
case(
    "a-condition-while-it-is-fetched",
    SWR,
    "Who has what is stale gets its 304, and what is fetched behind is asked about in our own name.",
    fetch(WINDOW),
    Step(('If-None-Match: "x", "a"',), answers=(NEW,), status=304, asked=('If-None-Match: "a"',), hit=True),
    hit(of=2, eventually=True),
)
case(
    "head-while-it-is-fetched",
    SWR,
    "Behind a HEAD a GET is made.",
    fetch(WINDOW),
    Step(method="HEAD", answers=(NEW,), arrives_as="GET", hit=True),
    hit(of=2, eventually=True),
)
case(
    "no-store-while-it-is-fetched",
    "RFC 9111 section 5.2.1.5",
    "A request with no-store is no reason to keep what is fetched behind it out.",
    fetch(WINDOW),
    Step(("Cache-Control: no-store",), answers=(NEW,), reaches=ANY, page=True),
)

theme("stale-if-error")

ERR = says("Cache-Control: max-age=60, stale-if-error=600", "Age: 100", 'ETag: "a"')
for code in (500, 502, 503, 504):
    case(
        f"stale-in-the-place-of-{code}",
        SIE,
        f"Within the window what is stale is served in the place of {code}.",
        fetch(ERR),
        Step(
            answers=(says("Cache-Control: no-store", status=code),),
            of=1,
            hit=False,
            cache={"fwd": "stale", "fwd-status": code},
        ),
    )
case(
    "stale-in-the-place-of-an-error-to-a-head",
    SIE,
    "So it is for HEAD.",
    fetch(ERR),
    Step(
        method="HEAD",
        answers=(says("Cache-Control: no-store", status=503),),
        of=1,
        hit=False,
        status=200,
        cache={"fwd": "stale", "fwd-status": 503},
    ),
)
for code in (501, 404, 403):
    case(
        f"not-in-the-place-of-{code}",
        SIE,
        f"{code} is passed on.",
        fetch(ERR),
        fetch(says("Cache-Control: no-store", status=code)),
    )
case(
    "an-error-beyond-the-window",
    SIE,
    "Behind the window the error is passed on.",
    fetch(says("Cache-Control: max-age=60, stale-if-error=10", "Age: 100", 'ETag: "a"')),
    fetch(says("Cache-Control: no-store", status=500)),
)
case(
    "an-error-without-a-window",
    OFF,
    "So it is where no window was given.",
    fetch(says("Cache-Control: max-age=60", "Age: 100", 'ETag: "a"')),
    fetch(says("Cache-Control: no-store", status=503)),
)
for strict in ("must-revalidate", "proxy-revalidate", "no-cache"):
    case(
        f"stale-if-error-against-{strict}",
        OFF,
        f"Against {strict} there is no window.",
        fetch(says(f"Cache-Control: max-age=60, stale-if-error=600, {strict}", "Age: 100", 'ETag: "a"')),
        fetch(says("Cache-Control: no-store", status=500)),
    )
case(
    "stale-if-error-against-s-maxage",
    "RFC 9111 section 5.2.2.10",
    "Nor against s-maxage.",
    fetch(says("Cache-Control: s-maxage=60, stale-if-error=600", "Age: 100", 'ETag: "a"')),
    fetch(says("Cache-Control: no-store", status=500)),
)
case(
    "stale-if-error-of-a-rule",
    "rules",
    "Where an answer does not say, the rule's window holds.",
    fetch(says("Cache-Control: max-age=60", "Age: 90", 'ETag: "a"')),
    Step(answers=(says(status=500),), of=1),
    site="ruled",
    prefix="/sie",
)
case(
    "no-cache-of-a-request-and-an-error",
    "RFC 9111 section 5.2.1.4",
    "A request with no-cache gets the error.",
    fetch(ERR),
    fetch(says("Cache-Control: no-store", status=500), "Cache-Control: no-cache"),
)
case(
    "the-error-was-not-stored",
    SIE,
    "After the error the server is asked again, about the same.",
    fetch(ERR),
    Step(answers=(says("Cache-Control: max-age=60", status=500),), of=1),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', status=304), of=1, asked=('If-None-Match: "a"',)),
    hit(of=1),
)
case(
    "an-answer-that-never-begins",
    SIE,
    "A server that hangs up instead of answering is an error.",
    fetch(ERR),
    Step(answers=(says(silent=True), says(silent=True)), reaches=ANY, of=1),
)

theme("No server")

case(
    "stale-when-no-server",
    OFF,
    "What is stale is served when no server can be reached.",
    fetch(says("Cache-Control: max-age=60", "Age: 100", 'ETag: "a"')),
    Step(away=True, age=(100, 102), has=('ETag: "a"',)),
)
case(
    "a-304-when-no-server",
    OFF,
    "To a client that has it, as 304.",
    fetch(says("Cache-Control: max-age=60", "Age: 100", 'ETag: "a"')),
    Step(('If-None-Match: "a"',), away=True, status=304),
)
case(
    "fresh-when-no-server",
    "RFC 9111 section 4",
    "What is fresh needs no server.",
    fetch(says("Cache-Control: max-age=60")),
    hit(away=True),
)
for strict in ("must-revalidate", "proxy-revalidate", "no-cache"):
    case(
        f"no-server-and-{strict}",
        "RFC 9111 section 5.2.2.2",
        f"Against {strict} it is 504.",
        fetch(says(f"Cache-Control: max-age=60, {strict}", "Age: 100", 'ETag: "a"')),
        own(504, away=True),
        checked(UNCHANGED, of=1),
    )
case(
    "no-server-and-s-maxage",
    "RFC 9111 section 5.2.2.10",
    "Against s-maxage as well.",
    fetch(says("Cache-Control: s-maxage=60", "Age: 100", 'ETag: "a"')),
    own(504, away=True),
)
case(
    "no-server-and-no-cache-of-the-request",
    "RFC 9111 section 5.2.1.4",
    "A request with no-cache gets nothing that was not checked.",
    fetch(says("Cache-Control: max-age=60", 'ETag: "a"')),
    own(502, "Cache-Control: no-cache", away=True),
)
case(
    "no-server-and-nothing-stored",
    "RFC 9110 section 15.6.3",
    "Where nothing is stored it is 502, as without a cache.",
    own(502, away=True),
)
case(
    "no-server-and-another-variant",
    "RFC 9111 section 4.1",
    "A variant that was not asked for is no substitute.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo"), "Foo: 1"),
    own(502, "Foo: 2", away=True),
)
case(
    "the-server-is-back",
    OFF,
    "When the server is back, it is asked.",
    fetch(says("Cache-Control: max-age=60", "Age: 100", 'ETag: "a"')),
    Step(away=True),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', status=304), of=1),
    hit(of=1),
)
case(
    "max-age-zero-when-no-server",
    OFF,
    "max-age=0 alone forbids nothing of that.",
    fetch(says("Cache-Control: max-age=0", 'ETag: "a"')),
    Step(away=True),
)
