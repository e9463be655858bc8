"""Which URLs pictures are fetched from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from balancer.cdn.images.sources import NoSource, Sources, read
from config.cdn import SourcePrefix

SOURCES = Sources(
    ("https://media.example.com/u/", "https://*.example.org/", "http://old.example.net:8080/", "https://192.0.2.7/")
)

OURS = {
    "a picture below the path": "https://media.example.com/u/cat.png",
    "its port in words": "https://media.example.com:443/u/cat.png",
    "capital letters in scheme and host": "HTTPS://Media.EXAMPLE.com/u/cat.png",
    "a query": "https://media.example.com/u/cat.png?size=1",
    "a fragment, which is not sent": "https://media.example.com/u/cat.png#top",
    "a name below a star": "https://a.example.org/x",
    "a name far below a star": "https://a.b.example.org/x",
    "a port of its own": "http://old.example.net:8080/x",
    "an address that is named": "https://192.0.2.7/x",
    "letters that are encoded without need": "https://media.example.com/%75/cat.png",
    "an international name below a star": "https://m\u00fcller.example.org/x",
    "an encoded letter": "https://media.example.com/u/%C3%BC.png",
}

ATTACKS = {
    # Other hosts.
    "another host": "https://evil.example/u/x",
    "another host that ends alike": "https://evilmedia.example.com/u/x",
    "another host that begins alike": "https://media.example.com.evil.example/u/x",
    "a name that ends like the star's without a dot": "https://evilexample.org/x",
    "the name of the star itself": "https://example.org/x",
    "an empty label below a star": "https://.example.org/x",
    "a host of dots": "https://..example.org/x",
    "a trailing dot": "https://media.example.com./u/x",
    "no host": "https:///u/x",
    "loopback by name": "https://localhost/u/x",
    # Other schemes, ports and paths.
    "no TLS": "http://media.example.com/u/x",
    "another scheme": "ftp://media.example.com/u/x",
    "a file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "data": "data:image/png;base64,AAAA",
    "a scheme with a space before it": " https://media.example.com/u/x",
    "no scheme": "//media.example.com/u/x",
    "one slash": "https:/media.example.com/u/x",
    "no slash": "https:media.example.com/u/x",
    "another port": "https://media.example.com:8443/u/x",
    "the port of SSH": "https://media.example.com:22/u/x",
    "port 0": "https://media.example.com:0/u/x",
    "a port that is too large": "https://media.example.com:65979/u/x",
    "a negative port": "https://media.example.com:-443/u/x",
    "two ports": "https://media.example.com:443:22/u/x",
    "a colon without a port": "https://media.example.com:/u/x",
    "a port with a sign": "https://media.example.com:+443/u/x",
    "a port in full-width digits": "https://media.example.com:\uff14\uff14\uff13/u/x",
    "no port where one is needed": "http://old.example.net/x",
    "another path": "https://media.example.com/private/x",
    "the path without its end": "https://media.example.com/u",
    "a path that climbs": "https://media.example.com/u/../private/x",
    "a path that climbs, encoded": "https://media.example.com/u/%2e%2e/private/x",
    "a path that climbs, half encoded": "https://media.example.com/u/.%2E/private/x",
    "a path that climbs over encoded slashes": "https://media.example.com/u/..%2fprivate/x",
    "an encoded slash": "https://media.example.com/u/a%2Fb",
    "an encoded backslash": "https://media.example.com/u/..%5cprivate",
    "an encoded end of text": "https://media.example.com/u/x%00.png",
    "a path that climbs and ends": "https://media.example.com/u/..",
    # Users.
    "a user": "https://user@media.example.com/u/x",
    "a user and a password": "https://user:password@media.example.com/u/x",
    "our host as a user": "https://media.example.com@evil.example/u/x",
    "our host as a user with a port": "https://media.example.com:443@evil.example/u/x",
    "our host as a user, encoded": "https://media.example.com%40evil.example/u/x",
    "two users": "https://a@media.example.com@evil.example/u/x",
    "our host behind a fragment": "https://evil.example#@media.example.com/u/x",
    "our host behind a query": "https://evil.example?@media.example.com/u/x",
    "our host behind a backslash": "https://evil.example\\@media.example.com/u/x",
    "a backslash for a slash": "https:\\\\media.example.com\\u\\x",
    "a backslash after our host": "https://media.example.com\\.evil.example/u/x",
    # Addresses.
    "an address": "https://127.0.0.1/x",
    "an address of another source's network": "https://192.0.2.8/x",
    "an address in decimal": "https://2130706433/x",
    "an address in hexadecimal": "https://0x7f000001/x",
    "an address in hexadecimal parts": "https://0x7f.0x0.0x0.0x1/x",
    "an address in octal": "https://017700000001/x",
    "an address in octal parts": "https://0177.0.0.01/x",
    "a short address": "https://127.1/x",
    "a shorter address": "https://0/x",
    "an address of mixed parts": "https://0x7f.1/x",
    "an address with a trailing dot": "https://127.0.0.1./x",
    "the named address in octal": "https://192.0.2.07/x",
    "the named address in decimal": "https://3221225991/x",
    "the named address with a trailing dot": "https://192.0.2.7./x",
    "the named address in full-width digits": "https://\uff11\uff19\uff12.0.2.7/x",
    "the named address with ideographic dots": "https://192\u30020\u30022\u30027/x",
    "the named address mapped into IPv6": "https://[::ffff:192.0.2.7]/x",
    "an address with five parts": "https://1.2.3.4.5/x",
    "an address whose part is too large": "https://192.0.2.263/x",
    "loopback in full-width digits": "https://\uff11\uff12\uff17.0.0.1/x",
    "loopback in circled digits": "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/x",
    "an IPv6 address": "https://[::1]/x",
    "an IPv4 address mapped into IPv6": "https://[::ffff:127.0.0.1]/x",
    "an IPv6 address with a zone": "https://[fe80::1%25eth0]/x",
    "an IPv6 address in long form": "https://[0:0:0:0:0:0:0:1]/x",
    "an address of the future": "https://[v1.x]/x",
    "an IPv6 address without brackets": "https://::1/x",
    "brackets around our host": "https://[media.example.com]/u/x",
    "an address as a label below a star": "https://127.0.0.1.example.org.evil/x",
    # Characters.
    "an encoded host": "https://media%2eexample.com/u/x",
    "an encoded dot below a star": "https://evil%2e.example.org/x",
    "a line break": "https://media.example.com/u/x\r\nHost: evil.example",
    "a tab in the host": "https://media.exa\tmple.com/u/x",
    "a space in the host": "https://media.example.com .evil.example/u/x",
    "an end of text": "https://media.example.com\x00.evil.example/u/x",
    "a character without width": "https://media.example\u200b.com/u/x",
    "a soft hyphen": "https://med\u00adia.example.com/u/x",
    "a turned direction of writing": "https://media.example.com/u/\u202egnp.x",
    "half a surrogate pair": "https://media.example.com/u/\ud800",
    "a slash of another script": "https://evil.example\uff0f.example.org/x",
    "an account-of sign that becomes a slash": "https://evil.c\u2100.example.org/x",
    "a question mark of another script": "https://evil.example\uff1f.example.org/x",
    "a full-width at sign": "https://media.example.com\uff20evil.example/u/x",
    "an underscore label that is too long": "https://" + "a" * 64 + ".example.org/x",
    "a name that is too long": "https://" + "a." * 130 + "example.org/x",
    "a label that begins with a hyphen": "https://-a.example.org/x",
    "an exclamation mark in the host": "https://a!.example.org/x",
    "a comma in the host": "https://evil.example,a.example.org/x",
    "a semicolon in the host": "https://evil.example;a.example.org/x",
    "a URL that is too long": "https://media.example.com/u/" + "a" * 5000,
    "nothing": "",
    "a word": "cat.png",
}


@pytest.mark.parametrize("url", OURS.values(), ids=OURS.keys())
def test_a_url_that_begins_as_said_is_taken(url: str) -> None:
    SOURCES.read(url)


@pytest.mark.parametrize("url", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_url_that_does_not_is_refused(url: str) -> None:
    with pytest.raises(NoSource):
        SOURCES.read(url)


@pytest.mark.parametrize(
    "location",
    [url for name, url in ATTACKS.items() if name not in {"no scheme", "a word", "no slash", "one slash"}]
    + ["//evil.example/u/x", "/private/x", "../x", "./x", "x/../../private", "/u/..%2fx", "?x\ny", "https:///x", "\\x"],
)
def test_a_redirect_leads_nowhere_that_a_url_may_not(location: str) -> None:
    with pytest.raises(NoSource):
        SOURCES.follow(SOURCES.read("https://media.example.com/u/a/cat.png"), location)


@pytest.mark.parametrize(
    ("location", "found"),
    [
        ("dog.png", "https://media.example.com/u/a/dog.png"),
        ("/u/dog.png", "https://media.example.com/u/dog.png"),
        ("?large", "https://media.example.com/u/a/cat.png?large"),
        ("//media.example.com/u/dog.png", "https://media.example.com/u/dog.png"),
        ("https://b.example.org/dog.png", "https://b.example.org/dog.png"),
        ("b:8", None),
    ],
)
def test_a_redirect_among_sources_is_followed(location: str, found: str | None) -> None:
    source = SOURCES.read("https://media.example.com/u/a/cat.png")
    if found is None:
        with pytest.raises(NoSource):
            SOURCES.follow(source, location)
    else:
        assert str(SOURCES.follow(source, location).url) == found


def test_no_sources_allow_nothing() -> None:
    with pytest.raises(NoSource):
        Sources(()).read("https://media.example.com/u/cat.png")


def test_an_address_below_a_star_is_no_name_below_it() -> None:
    with pytest.raises(NoSource):
        Sources(("https://*.0.0.1/",))


@given(st.text(max_size=80))
def test_any_text_is_a_source_or_refused(text: str) -> None:
    for url in (text, f"https://{text}/u/", f"https://media.example.com/{text}", f"https://{text}.example.org/"):
        try:
            source = SOURCES.read(url)
        except NoSource:
            continue
        assert source.host in {"media.example.com", "old.example.net", "192.0.2.7"} or source.host.endswith(
            ".example.org"
        )
        assert source.url.raw_host == source.host
        assert str(read(str(source.url)).url) == str(source.url)  # one more reading changes nothing


_hosts = st.from_regex(r"[a-z0-9x_.-]{1,20}", fullmatch=True)


@given(
    st.sampled_from(["", "*."]),
    _hosts,
    st.sampled_from(["", ":0", ":80", ":99999"]),
    st.text("/.%2f5c?#;u", max_size=9),
)
def test_what_the_configuration_takes_is_a_source_that_urls_can_begin_with(
    star: str, host: str, port: str, path: str
) -> None:
    text = f"https://{star}{host}{port}/{path}"
    try:
        TypeAdapter(SourcePrefix).validate_python(text)
    except ValidationError:
        return
    sources = Sources((text,))
    if not path.endswith((".", "%", "%2", "%5")):
        sources.read(text.replace("*.", "a.") + "u")
