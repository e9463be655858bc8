"""Fields for browsers: those whose values are of a closed set have one of it, as browsers drop any other."""

from __future__ import annotations

import re
from collections.abc import Callable

from config.findings import Findings
from config.problems import Path, listed
from config.protection import SecurityHeaders
from config.schema import Config

_MAX_AGE = re.compile(r"max-age *= *(\"[0-9]+\"|[0-9]+)", re.IGNORECASE)
_DIRECTIVE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+( *= *(\"[^\"]*\"|[^\s;\"]+))?")
FRAMES = ("DENY", "SAMEORIGIN")
REFERRERS = (
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
)
"""Of the W3C's Referrer Policy."""
OPENERS = ("same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none")
"""Of the HTML standard; a report-to may follow."""
_FEATURE = re.compile(r"[a-z*][a-z0-9_.*-]* *=")


def check_browser_fields(config: Config, found: Findings) -> None:
    _check(config.security_headers, ("security_headers",), found)
    for name, route in config.routes.items():
        # What a route has from the top is told once, as it is at one place.
        _check(route.security_headers, ("routes", name, "security_headers"), found)


def _check(fields: SecurityHeaders | None, path: Path, found: Findings) -> None:
    if fields is None:
        return
    for key, fault in _FAULTS.items():
        value = getattr(fields, key)
        expected = fault(value) if value is not None else None
        if expected is not None:
            found.add((*path, key), f"must be {expected}", came=True)


def _hsts(value: str) -> str | None:
    """RFC 6797 section 6.1: directives between semicolons, of which max-age has to be one."""
    parts = [part.strip() for part in value.split(";")]
    ages = [part for part in parts if _MAX_AGE.fullmatch(part)]
    if len(ages) == 1 and all(not part or _DIRECTIVE.fullmatch(part) for part in parts):
        return None
    return "such as max-age=31536000; includeSubDomains, or true for a year"


def _content_type(value: str) -> str | None:
    return None if value.lower() == "nosniff" else "nosniff, or null for none"


def _frame(value: str) -> str | None:
    if value.upper() in FRAMES:
        return None
    return f"{listed(FRAMES)} (for single sites: frame-ancestors in content_security_policy)"


def _referrer(value: str) -> str | None:
    """Several are for browsers that do not know the last ones yet."""
    known = all(part.strip().lower() in REFERRERS for part in value.split(","))
    return None if known else f"{listed(REFERRERS)}, or several of them with commas"


def _permissions(value: str) -> str | None:
    """Its predecessor, Feature-Policy, had `camera 'none'`."""
    return None if _FEATURE.match(value) else "such as camera=(), geolocation=(self)"


def _opener(value: str) -> str | None:
    return None if value.partition(";")[0].strip() in OPENERS else listed(OPENERS)


_FAULTS: dict[str, Callable[[str], str | None]] = {
    "hsts": _hsts,
    "content_type_options": _content_type,
    "frame_options": _frame,
    "referrer_policy": _referrer,
    "permissions_policy": _permissions,
    "cross_origin_opener_policy": _opener,
}
