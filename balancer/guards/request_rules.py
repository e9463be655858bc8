"""Rules by the request itself: its method, the kind of its body, and paths that only scanners ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from balancer.decision import Decision
from balancer.guards.limiter import Step
from balancer.guards.verdict import Refusal, Verdict
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client
from balancer.http1.paths import is_doubtful, match_path, other_readings
from config.protection import RequestBody, Scanners

METHOD: Final = "method"
BODY: Final = "body"
SCANNER: Final = "scanner"

SCANNED: Final = (
    "/.aws/**",
    "/.docker/**",
    "/.ds_store",
    "/.env/**",
    "/.git/**",
    "/.hg/**",
    "/.htaccess",
    "/.htpasswd",
    "/.npmrc",
    "/.ssh/**",
    "/.svn/**",
    "/.vscode/**",
    "/_ignition/**",
    "/actuator/**",
    "/adminer.php",
    "/boaform/**",
    "/cgi-bin/**",
    "/hnap1/**",
    "/phpinfo.php",
    "/phpmyadmin/**",
    "/phpunit/**",
    "/pma/**",
    "/server-status",
    "/solr/**",
    "/vendor/phpunit/**",
    "/wp-admin/**",
    "/wp-config.php",
    "/wp-content/**",
    "/wp-includes/**",
    "/wp-login.php",
    "/xmlrpc.php",
)
"""What is refused, in small letters. Each is asked for by robots on any site, whatever runs there."""
ANYWHERE: Final = ("/.env", "/.git/config", "/wp-login.php", "/xmlrpc.php")
"""The same below any folder: robots try these everywhere."""
_FILE: Final = re.compile(r"/\.env\.[^/]*")
_TYPE: Final = re.compile(rb"[\t ]*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)[\t ]*(?:;.*)?", re.DOTALL)


OVERRIDES: Final = frozenset((b"x-http-method", b"x-http-method-override", b"x-method-override"))
"""Fields in which some servers look for another method than that of the request."""


def method_step(methods: Iterable[str]) -> Step:
    """Refuse all methods but these (RFC 9110 section 15.5.6)."""
    taken = frozenset(methods)
    meant = frozenset(method.encode("ascii") for method in taken)
    allow = b"Allow: %b\r\n" % ", ".join(sorted(taken)).encode("ascii")
    refusal = Refusal(405, "this method is not offered here", METHOD, allow)

    def step(head: RequestHead, client: Client, decision: Decision) -> Verdict:
        if decision.method not in taken:
            return refusal
        for field in head.common.fields:
            if field[5] in OVERRIDES and field[1].upper() not in meant:
                return refusal
        return None

    return step


def body_step(settings: RequestBody) -> Step:
    """Refuse bodies of another kind, or without a length."""
    taken = _types(settings.types) if settings.types else None
    accept = ", ".join(kind for kind in settings.types if "*" not in kind).encode("ascii")
    other = Refusal(
        415, "a body of this type is not taken here", BODY, b"Accept: %b\r\n" % accept if accept else b""
    )  # RFC 9110 section 15.5.16
    endless = Refusal(411, "the request must say how long its body is", BODY)

    def step(head: RequestHead, client: Client, decision: Decision) -> Verdict:
        common = head.common
        if not common.has_body:
            return None
        if common.chunked and settings.length_required:
            return endless
        if taken is None:
            return None
        said = head.value(b"content-type") or b""
        # Two of them are joined with a comma, and are no type.
        match = _TYPE.fullmatch(said) if b"," not in said.partition(b";")[0] else None
        return None if match is not None and taken.fullmatch(match[1].lower()) else other

    return step


def _types(patterns: Iterable[str]) -> re.Pattern[bytes]:
    parts = [re.escape(pattern.lower()).replace(r"\*", "[^/]*") for pattern in patterns]
    return re.compile("|".join(parts).encode("ascii"))


def scanner_step(settings: Scanners) -> Step:
    """Refuse paths that only scanners ask for, in whatever way a server may read them."""
    patterns = (*SCANNED, *settings.also)
    refused = _paths(patterns, anywhere=True)
    firsts = frozenset(pattern[1:].partition("/")[0].lower().encode("ascii") for pattern in patterns)
    lasts = frozenset(path.rpartition("/")[2].encode("ascii") for path in ANYWHERE)
    allowed = _paths(settings.allow, anywhere=False) if settings.allow else None
    reason = "there is nothing here" if settings.status == 404 else "requests for this path are refused"
    refusal = Refusal(settings.status, reason, SCANNER)

    def looks_so(path: bytes) -> bool:
        lower = path.lower()
        # Nearly all paths are let through by how they begin and end, which is quicker than all patterns one by one.
        last = lower.rpartition(b"/")[2]
        first = lower[1:].partition(b"/")[0]
        if first not in firsts and last not in lasts and not last.startswith(b".env."):
            return False
        return refused.fullmatch(lower) is not None and (allowed is None or allowed.fullmatch(lower) is None)

    def step(head: RequestHead, client: Client, decision: Decision) -> Verdict:
        target = head.target
        path = match_path(target)
        if looks_so(path):
            return refusal
        if is_doubtful(target):
            for reading in other_readings(target, path):
                if looks_so(reading):
                    return refusal
        return None

    return step


def _paths(patterns: Iterable[str], *, anywhere: bool) -> re.Pattern[bytes]:
    """One expression for whole paths in small letters. No part of it can begin where another has failed."""
    parts = [_path(pattern.lower()) for pattern in patterns]
    if anywhere:
        parts += [f".*{re.escape(path)}" for path in ANYWHERE]
        parts.append(f".*{_FILE.pattern}")
    return re.compile("|".join(parts).encode("ascii"), re.DOTALL)


def _path(pattern: str) -> str:
    if pattern.endswith("/**"):
        return re.escape(pattern[:-3]) + "(?:/.*)?"
    return re.escape(pattern)
