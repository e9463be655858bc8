"""Why the balancer does as it does, once for each kind of script; shown beside what other proxies do."""

from __future__ import annotations

from typing import Final

REASONS: Final[dict[str, tuple[str, str]]] = {
    "grammar": (
        "The grammar of request lines and fields",
        "What does not match the grammar is refused and not repaired: the next parser may repair it in another way, and then "
        "it is another message. RFC 9112 sections 2.2 and 3 allow to be lenient with white space; none of today's clients "
        "needs that. Methods are open-ended, as RFC 9110 section 9.1 has them.",
    ),
    "version": (
        "Versions",
        "HTTP/1.1 rules hold for HTTP/1.0 and 1.1 only. Another version is 505, instead of being served as if it had "
        "promised to obey them; the preface of HTTP/2 is such a version, since HTTP/2 is not spoken here.",
    ),
    "blank-lines": (
        "Empty lines before a request",
        "RFC 9112 section 2.2 asks to pass over at least one. More than one is no client's habit but a way to keep a "
        "connection busy without a request.",
    ),
    "line-ends": (
        "Line ends",
        "RFC 9112 section 2.2 allows to take a bare LF for a line end. Where one parser does and the next does not, a field "
        "of the one is part of a value for the other: so only CR LF ends a line. It is refused at once, since a client "
        "that ends its lines so would wait for an answer until its time is over.",
    ),
    "target": (
        "Targets",
        "The absolute form is accepted as RFC 9112 section 3.2.2 demands, its authority overrides Host, and the server gets "
        "a path and a Host that say the same. Schemes and authorities that cannot be for this proxy are refused.",
    ),
    "options-trace": (
        "OPTIONS, TRACE and Max-Forwards",
        "OPTIONS * asks about the proxy and is answered by it; Max-Forwards is counted down for OPTIONS and TRACE as RFC "
        "9110 section 7.6.2 demands. TRACE shows a client what proxies add to its requests, and is 405 unless a route "
        "names it.",
    ),
    "connect": ("CONNECT", "This is no forward proxy: CONNECT is 405, and nothing behind it is read."),
    "host": (
        "Host",
        "Servers choose sites and build links by it, so it has to be one host, perhaps with a port, and nothing else. Two "
        "fields are refused even if they agree: a proxy that joins them and one that takes the first have other hosts.",
    ),
    "framing": (
        "Where a request ends",
        "The heart of smuggling: whatever two parsers may read in two ways is refused. RFC 9112 section 6.3 would allow to "
        "collapse equal lengths and to let Transfer-Encoding override Content-Length; a client that sends either is broken "
        "or means harm. Names with an underscore that CGI and WSGI servers take for a framing field go no further. Who "
        "gets an answer before the body is over is not read any further.",
    ),
    "codings": (
        "Transfer codings",
        "Chunked is the only coding that a client has a use for; a proxy that passes on another trusts the server to "
        "frame it alike. Chunked bodies stay chunked, whatever of them had come.",
    ),
    "chunks": (
        "Chunks",
        "Sizes are hexadecimal digits and nothing else. Blanks around them (BWS in RFC 9112 section 7.1.1) and bare LFs "
        "were at the root of chunk-extension smuggling; extensions are dropped and bounded.",
    ),
    "names": (
        "Names with underscores",
        "CGI and WSGI write both - and _ as _, so that X_Forwarded_For would pass for X-Forwarded-For. Names that would "
        "become one of the fields a proxy is trusted for are dropped; others pass, since applications do use them.",
    ),
    "trailers": (
        "Trailers",
        "They pass in both directions, with the same grammar and bounds, but for fields that RFC 9110 section 6.5.1 has "
        "no place for there: servers that merge trailers into the head would take them for what the proxy had checked.",
    ),
    "hop": (
        "Fields of the hop",
        "What Connection names is removed (RFC 9110 section 7.6.1). But a client must not be able to take away what a server "
        "relies on, so that end-to-end fields of security, content and forwarding cannot be removed by naming them.",
    ),
    "persistence": ("Persistence", "As RFC 9112 sections 9.3 and 9.6 have it: close wins over keep-alive."),
    "forwarding": (
        "Who asked",
        "What a client says of itself is replaced unless it comes from one of `trusted_proxies`. With the other proxies this "
        "is a matter of configuration, and what is shown is only their default.",
    ),
    "via": (
        "Via",
        "RFC 9110 section 7.6.3: a proxy MUST send it. It is also how a circle of proxies is found out.",
    ),
    "te": (
        "TE",
        "Of TE only trailers has a meaning for servers, and it is announced in Connection as RFC 9110 section 10.1.4 asks for.",
    ),
    "expect": (
        "Expect",
        "The expectation is the server's to answer, so that an upload it does not want is not sent at all. Without a body "
        "there is nothing to expect, and a server that takes the next request for the body has been tricked with it. An "
        "unknown expectation is 417.",
    ),
    "upgrade": (
        "Upgrades",
        "Behind a switch of protocols no rule of the proxy holds any more. So only the route's protocols are asked for, never "
        "h2c, never with a body, and a server that switches to something else is not followed.",
    ),
    "interim": (
        "Interim answers",
        "RFC 9110 section 15.2: a proxy MUST forward 1xx, but not without end, not to HTTP/1.0, and without framing fields, "
        "which mean nothing there.",
    ),
    "answers": (
        "Answers",
        "A server behind the proxy is not always the one that was meant, and a client takes the proxy's word for its answer: "
        "what is no HTTP or has two lengths is a 502 and ends the connection to the server.",
    ),
    "cut": (
        "Answers that are cut",
        "A client has to see that something is missing. A bad chunk or a reset is passed on as the end of a connection "
        "without the last chunk, never as a whole answer.",
    ),
    "order": (
        "Order",
        "One request at a time goes on; each client gets its own answers, and bytes that no request asked for end the "
        "connection to the server. An answer that came before the body was over is the last one of its connection.",
    ),
    "http10": (
        "HTTP/1.0",
        "Clients of HTTP/1.0 are served in HTTP/1.0: no chunks, no interim answers, and a body without length that was cut "
        "ends in a reset, since nothing else could tell. The server is spoken to in HTTP/1.1 all the same. Envoy has "
        "`accept_http_10` set.",
    ),
    "limits": (
        "Limits",
        "Every size has a bound and an answer of its own (414, 431, 413), given as soon as it is passed. The others have "
        "bounds, too, at other sizes; HAProxy and Envoy leave the size of bodies to their operators.",
    ),
    "body": ("Bodies", "Bodies arrive as they were sent, and a client that leaves ends the server's work."),
    "paths": (
        "Paths",
        "The path is the server's to understand: it reaches it byte for byte, odd spellings included.",
    ),
    "rules": (
        "Rules for paths",
        "Here /admin/ and /public/group/secret/ are answered with 403 and everything else goes to the server. A path that "
        "some servers would read as one of these, and others not, is refused. The others decide on the path as they read "
        "it; Envoy has options to normalise it, HAProxy too.",
    ),
}
"""By kind: a title, and the reason."""
