"""Answers that are not the same for everybody: RFC 9111 section 4.1."""

from __future__ import annotations

from tests.caching.case import NEXT, case, fetch, hit, says, theme

theme("Vary")

V = "RFC 9111 section 4.1"
FOO = says("Cache-Control: max-age=60", "Vary: Foo")

case(
    "the-same-value",
    V,
    "An answer is used for requests that are the same in what Vary names.",
    fetch(FOO, "Foo: 1"),
    hit("Foo: 1"),
)
case("another-value", V, "And for no others.", fetch(FOO, "Foo: 1"), fetch(NEXT, "Foo: 2", cache={"fwd": "vary-miss"}))
case("absent-now", V, "A request without the field is another.", fetch(FOO, "Foo: 1"), fetch(NEXT))
case("absent-then", V, "One with it is another than one without.", fetch(FOO), fetch(NEXT, "Foo: 1"))
case("absent-in-both", V, "Two without it are the same.", fetch(FOO), hit())
case("empty-is-not-absent", V, "An empty field is not an absent one.", fetch(FOO), fetch(NEXT, "Foo:"))
case(
    "several-variants-are-kept",
    V,
    "Several answers of one URL are kept, each for its own.",
    fetch(FOO, "Foo: 1"),
    fetch(FOO, "Foo: 2"),
    fetch(FOO),
    hit("Foo: 1", of=1),
    hit("Foo: 2", of=2),
    hit(of=3),
)
case(
    "a-variant-is-renewed-alone",
    V,
    "A new one takes the place of its own and of no other.",
    fetch(FOO, "Foo: 1"),
    fetch(FOO, "Foo: 2"),
    fetch(FOO, "Foo: 1", "Cache-Control: no-cache"),
    hit("Foo: 1", of=3),
    hit("Foo: 2", of=2),
)
for name, lines in (
    ("alone", ("Vary: *",)),
    ("first", ("Vary: *, Foo",)),
    ("last", ("Vary: Foo, *",)),
    ("on-a-line-of-its-own", ("Vary: Foo", "Vary: *")),
    ("between", ("Vary: Foo,*,Bar",)),
):
    case(
        f"star-{name}",
        V,
        "An answer that varies by * is never used again unasked.",
        fetch(says("Cache-Control: max-age=60", *lines), "Foo: 1"),
        fetch(NEXT, "Foo: 1"),
    )
case(
    "two-fields-the-same",
    V,
    "All fields that Vary names count.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo, Bar"), "Foo: 1", "Bar: 2"),
    hit("Bar: 2", "Foo: 1"),
)
case(
    "the-second-field-differs",
    V,
    "One that differs is enough.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo, Bar"), "Foo: 1", "Bar: 2"),
    fetch(NEXT, "Foo: 1", "Bar: 3"),
)
case(
    "two-vary-lines",
    "RFC 9110 section 5.3",
    "Two Vary lines are one list.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo", "Vary: Bar"), "Foo: 1", "Bar: 2"),
    fetch(NEXT, "Foo: 1", "Bar: 3"),
)
case(
    "vary-in-capitals",
    "RFC 9110 section 12.5.5",
    "Names in Vary are the same in any letters.",
    fetch(says("Cache-Control: max-age=60", "Vary: FOO"), "foo: 1"),
    hit("Foo: 1"),
    fetch(NEXT, "Foo: 2"),
)
case(
    "empty-members-in-vary",
    "RFC 9110 section 5.6.1",
    "Empty members in Vary are passed over.",
    fetch(says("Cache-Control: max-age=60", "Vary: , Foo ,,"), "Foo: 1"),
    hit("Foo: 1"),
    fetch(NEXT, "Foo: 2"),
)
case(
    "an-empty-vary",
    "RFC 9110 section 12.5.5",
    "An empty Vary names nothing.",
    fetch(says("Cache-Control: max-age=60", "Vary:"), "Foo: 1"),
    hit("Foo: 2"),
)
case(
    "an-unnamed-field-does-not-matter",
    V,
    "What Vary does not name does not matter.",
    fetch(FOO, "Foo: 1", "Bar: 1"),
    hit("Foo: 1", "Bar: 2"),
)
case(
    "white-space-between-members",
    V,
    "White space between the members of a list makes no other value.",
    fetch(FOO, "Foo: a, b"),
    hit("Foo: a,b"),
    hit("Foo: a ,  b"),
)
case(
    "one-list-on-two-lines",
    V,
    "Nor does it matter whether a list comes on one line or two.",
    fetch(FOO, "Foo: a, b"),
    hit("Foo: a", "Foo: b"),
)
case(
    "another-order",
    V,
    "Another order is another value: what it means is the field's affair.",
    fetch(FOO, "Foo: a, b"),
    fetch(NEXT, "Foo: b, a"),
)
case("other-letters", V, "So are other letters.", fetch(FOO, "Foo: a"), fetch(NEXT, "Foo: A"))
case(
    "white-space-within-quotes",
    V,
    "White space within quotes belongs to the value.",
    fetch(FOO, 'Foo: "a, b"'),
    fetch(NEXT, 'Foo: "a,b"'),
)
case(
    "accept-encoding-in-capitals",
    "RFC 9110 section 8.4.1",
    "Codings are the same in any letters.",
    fetch(says("Cache-Control: max-age=60", "Vary: Accept-Encoding"), "Accept-Encoding: gzip, br"),
    hit("Accept-Encoding: GZIP, Br"),
)
case(
    "accept-language-in-capitals",
    "RFC 9110 section 8.5.1",
    "So are languages.",
    fetch(says("Cache-Control: max-age=60", "Vary: Accept-Language"), "Accept-Language: de-AT"),
    hit("Accept-Language: de-at"),
)
case(
    "other-vary-of-another-variant",
    V,
    "Variants of one URL may vary by other fields.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo"), "Foo: 1", "Bar: 1"),
    fetch(says("Cache-Control: max-age=60", "Vary: Foo, Bar"), "Foo: 2", "Bar: 1"),
    hit("Foo: 1", "Bar: 9", of=1),
    hit("Foo: 2", "Bar: 1", of=2),
    fetch(NEXT, "Foo: 2", "Bar: 2"),
)
case(
    "the-newest-of-several-that-match",
    "RFC 9111 section 4",
    "Of several that match the newest is used.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo", "Date: {-20}"), "Foo: 1", "Bar: 1"),
    fetch(says("Cache-Control: max-age=60", "Vary: Bar", "Date: {-10}"), "Foo: 2", "Bar: 2"),
    hit("Foo: 1", "Bar: 2", of=2),
)
case(
    "vary-by-cookie",
    V,
    "Cookie is a field like others.",
    fetch(says("Cache-Control: max-age=60", "Vary: Cookie"), "Cookie: a=1"),
    hit("Cookie: a=1"),
    fetch(NEXT, "Cookie: a=2"),
)
case(
    "vary-by-host",
    V,
    "What the URL has already does no harm in Vary.",
    fetch(says("Cache-Control: max-age=60", "Vary: Host")),
    hit(),
)
case(
    "vary-by-user-agent",
    V,
    "User-Agent is compared as it is.",
    fetch(says("Cache-Control: max-age=60", "Vary: User-Agent"), "User-Agent: a/1 (x; y)"),
    hit("User-Agent: a/1 (x; y)"),
    fetch(NEXT, "User-Agent: a/1 (x;y)"),
)
case(
    "a-huge-vary-is-not-stored",
    "bounds",
    "An answer that varies by more fields than anybody needs is passed on, and not stored.",
    fetch(says("Cache-Control: max-age=60", "Vary: " + ", ".join(f"X-{n}" for n in range(200)))),
    fetch(NEXT),
)
case(
    "many-variants-are-bounded",
    "bounds",
    "However many variants a URL has, a new one is served and stored.",
    *(fetch(FOO, f"Foo: {n}") for n in range(100)),
    hit("Foo: 99"),
)
case(
    "head-of-a-variant",
    V,
    "HEAD is told apart by Vary as GET is.",
    fetch(FOO, "Foo: 1"),
    hit("Foo: 1", method="HEAD"),
    fetch(NEXT, "Foo: 2", method="HEAD"),
)
