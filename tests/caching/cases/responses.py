"""What an answer says of its storing: RFC 9111 sections 3 and 5.2.2."""

from __future__ import annotations

from tests.caching.case import UNCHANGED, case, checked, fetch, fresh, hit, says, stale, theme, unstored

theme("Cache-Control of answers")

unstored("no-store", "RFC 9111 section 5.2.2.5", "An answer with no-store is not stored.", "Cache-Control: no-store")
unstored(
    "no-store-beside-a-lifetime",
    "RFC 9111 section 5.2.2.5",
    "Whatever else it says.",
    "Cache-Control: public, max-age=60, s-maxage=60, no-store",
    "Expires: {+60}",
)
unstored("private", "RFC 9111 section 5.2.2.7", "A private answer is not stored.", "Cache-Control: private, max-age=60")
unstored(
    "private-beside-public",
    "RFC 9111 section 4.2.1",
    "Of two directives that conflict the stricter one holds.",
    "Cache-Control: private, public, max-age=60",
)
unstored(
    "private-beside-s-maxage",
    "RFC 9111 section 5.2.2.7",
    "Also beside s-maxage.",
    "Cache-Control: s-maxage=60, private",
)
case(
    "private-fields-are-not-stored",
    "RFC 9111 section 5.2.2.7",
    'Of an answer with private="X-Mine" all but X-Mine is stored.',
    fetch(says('Cache-Control: max-age=60, private="X-Mine"', "X-Mine: 1", "X-All: 2"), has=("X-Mine: 1",)),
    hit(has=("!X-Mine", "X-All: 2")),
)
case(
    "several-private-fields",
    "RFC 9111 section 5.2.2.7",
    "Several fields may be listed, in any letters.",
    fetch(says('Cache-Control: max-age=60, private="x-mine, X-OTHER"', "X-Mine: 1", "X-Other: 2", "X-All: 3")),
    hit(has=("!X-Mine", "!X-Other", "X-All: 3")),
)
case(
    "no-cache-is-checked",
    "RFC 9111 section 5.2.2.4",
    "An answer with no-cache is checked each time, fresh or not.",
    fetch(says("Cache-Control: no-cache, max-age=60", 'ETag: "a"')),
    checked(says("Cache-Control: no-cache, max-age=60", 'ETag: "a"', status=304), asked=('If-None-Match: "a"',)),
    checked(UNCHANGED, asked=('If-None-Match: "a"',)),
)
stale(
    "no-cache-without-a-validator",
    "RFC 9111 section 5.2.2.4",
    "Without a validator it is fetched each time.",
    "Cache-Control: no-cache, max-age=60",
)
stale(
    "no-cache-wins-over-s-maxage",
    "RFC 9111 section 5.2.2.4",
    "Whatever lifetime it has.",
    "Cache-Control: no-cache, s-maxage=60",
    'ETag: "a"',
)
unstored(
    "no-cache-does-not-allow-to-store",
    "RFC 9111 section 3",
    "no-cache alone does not make a status storable that is not.",
    "Cache-Control: no-cache",
    status=403,
)
case(
    "no-cache-fields-are-not-used",
    "RFC 9111 section 5.2.2.4",
    'Of an answer with no-cache="X-Mine" all but X-Mine is used again unasked.',
    fetch(says('Cache-Control: max-age=60, no-cache="X-Mine"', "X-Mine: 1", "X-All: 2"), has=("X-Mine: 1",)),
    hit(has=("!X-Mine", "X-All: 2")),
)
case(
    "no-cache-set-cookie",
    "RFC 9111 section 5.2.2.4",
    'no-cache="Set-Cookie" keeps a cookie to the one it was set for.',
    fetch(says('Cache-Control: max-age=60, no-cache="Set-Cookie"', "Set-Cookie: a=1"), has=("Set-Cookie: a=1",)),
    hit(has=("!Set-Cookie",)),
)
fresh(
    "must-revalidate-while-fresh",
    "RFC 9111 section 5.2.2.2",
    "must-revalidate asks nothing of what is fresh.",
    "Cache-Control: max-age=60, must-revalidate",
)
stale(
    "must-revalidate-once-stale",
    "RFC 9111 section 5.2.2.2",
    "And a check of what is stale.",
    "Cache-Control: max-age=60, must-revalidate",
    "Age: 100",
    'ETag: "a"',
)
fresh(
    "must-understand-a-known-status",
    "RFC 9111 section 5.2.2.3",
    "Beside must-understand, no-store does not hold for a status that is understood.",
    "Cache-Control: must-understand, no-store, max-age=60",
)
unstored(
    "must-understand-an-unknown-status",
    "RFC 9111 section 5.2.2.3",
    "For another it does.",
    "Cache-Control: must-understand, no-store, max-age=60",
    status=299,
)
unstored(
    "must-understand-alone",
    "RFC 9111 section 3",
    "must-understand alone keeps a status that is not understood from being stored.",
    "Cache-Control: must-understand, max-age=60",
    status=599,
)
fresh(
    "no-transform",
    "RFC 9111 section 5.2.2.6",
    "no-transform does not keep from storing.",
    "Cache-Control: no-transform, max-age=60",
)
fresh(
    "immutable-while-fresh",
    "RFC 8246 section 2",
    "immutable is served while fresh.",
    "Cache-Control: immutable, max-age=60",
)
case(
    "immutable-once-stale",
    "RFC 8246 section 2",
    "It is no lifetime: stale, it is checked.",
    fetch(says("Cache-Control: immutable, max-age=60", "Age: 100", 'ETag: "a"')),
    checked(UNCHANGED),
)
case(
    "immutable-and-no-cache",
    "RFC 8246 section 2",
    "A request with no-cache is a reason to check it.",
    fetch(says("Cache-Control: immutable, max-age=60", 'ETag: "a"')),
    checked(UNCHANGED, "Cache-Control: no-cache"),
)
stale("immutable-alone", "RFC 8246 section 2", "immutable alone is no lifetime.", "Cache-Control: immutable")
case(
    "cache-control-reaches-clients",
    "RFC 9111 section 5.2",
    "Directives are passed on as they came.",
    fetch(says("Cache-Control: max-age=60, foo=bar", "Expires: Fri, 01 Jan 2100 00:00:00 GMT")),
    hit(has=("Cache-Control: max-age=60, foo=bar", "Expires: Fri, 01 Jan 2100 00:00:00 GMT")),
)
case(
    "a-storable-answer-after-others-is-stored",
    "RFC 9111 section 3",
    "That earlier answers were not to be stored does not keep from storing this one.",
    fetch(says("Cache-Control: no-store")),
    fetch(says("Cache-Control: no-store")),
    fetch(says("Cache-Control: max-age=60")),
    hit(),
)

theme("Authorization")

AUTH = "Authorization: Basic dTpw"
unstored(
    "with-authorization",
    "RFC 9111 section 3.5",
    "The answer to a request with Authorization is not stored for all.",
    "Cache-Control: max-age=60",
    request=(AUTH,),
)
unstored(
    "with-authorization-and-proxy-revalidate",
    "RFC 9111 section 3.5",
    "proxy-revalidate does not allow it.",
    "Cache-Control: max-age=60, proxy-revalidate",
    request=(AUTH,),
)
unstored(
    "with-authorization-guessed",
    "RFC 9111 section 3.5",
    "Nor is a lifetime guessed for it.",
    "Last-Modified: {-864000}",
    request=(AUTH,),
)
unstored(
    "with-authorization-expires",
    "RFC 9111 section 3.5",
    "Nor does Expires allow it.",
    "Expires: {+60}",
    request=(AUTH,),
)
for allows in ("public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"):
    case(
        f"with-authorization-{allows.partition(',')[0].partition('=')[0]}",
        "RFC 9111 section 3.5",
        f"{allows} allows it.",
        fetch(says(f"Cache-Control: {allows}"), AUTH),
        hit(),
    )
unstored(
    "with-authorization-private",
    "RFC 9111 section 3.5",
    "private does not, beside public.",
    "Cache-Control: public, private, max-age=60",
    request=(AUTH,),
)
case(
    "with-authorization-and-no-cache",
    "RFC 9111 section 3.5",
    "What must be checked each time is checked for all.",
    fetch(says("Cache-Control: public, no-cache", 'ETag: "a"'), AUTH),
    checked(UNCHANGED, AUTH, asked=(AUTH,)),
    checked(UNCHANGED),
)

case(
    "what-is-stored-is-for-all",
    "RFC 9111 section 3.5",
    "What was stored without Authorization is for requests with it as well: that section is about storing.",
    fetch(says("Cache-Control: max-age=60")),
    hit(AUTH),
)

theme("Set-Cookie")

case(
    "an-explicit-lifetime-and-a-cookie",
    "RFC 9111 section 7.3",
    "An answer that sets a cookie is stored with it when it says how long it is fresh.",
    fetch(says("Cache-Control: max-age=60", "Set-Cookie: a=1", "Set-Cookie: b=2")),
    hit(has=("Set-Cookie: a=1", "Set-Cookie: b=2")),
)
unstored(
    "a-guessed-lifetime-and-a-cookie",
    "RFC 9111 section 7.3",
    "No lifetime is guessed for an answer that sets a cookie.",
    "Last-Modified: {-864000}",
    "Set-Cookie: a=1",
)
unstored(
    "a-cookie-where-the-rule-says-never",
    "RFC 9111 section 7.3",
    "With store_set_cookie: never it is not stored at all.",
    "Cache-Control: max-age=60",
    "Set-Cookie: a=1",
    site="ruled",
    prefix="/cookieless",
)
case(
    "a-request-with-cookies",
    "RFC 9111 section 3",
    "A cookie of the request alone does not keep from storing.",
    fetch(says("Cache-Control: max-age=60"), "Cookie: a=1"),
    hit("Cookie: a=2"),
)
