"""Small rules that keep mischief from a route: which bodies it takes, noise of scanners, and fields for browsers."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from config.pool import Model
from config.problems import Unfit

_PATTERN = r"^[!-~]([ -~]*[!-~])?$"


def _one_line(text: str) -> str:
    if not re.fullmatch(_PATTERN, text):
        raise Unfit("must be one line of ASCII text, without blanks around it", text)
    return text


FieldText = Annotated[str, AfterValidator(_one_line), Field(json_schema_extra={"pattern": _PATTERN})]
ScannedPath = Annotated[str, Field(pattern=r"^/[!-)+-~]*(/\*\*)?$", examples=["/actuator/**"])]


class RequestBody(Model):
    """Which bodies a route takes; how long they may be says `limits.body`."""

    types: tuple[Annotated[str, Field(pattern=r"^[!-~]+/[!-~]+$", examples=["application/json"])], ...] = ()
    """Media types; * stands for any characters. Others get 415; none: all are taken."""
    length_required: bool = False
    """Refuse bodies that do not say how long they are, with 411."""


class Scanners(Model):
    """Paths that only those ask for who look for holes."""

    status: Literal[403, 404] = 404
    also: tuple[ScannedPath, ...] = ()
    """Further paths: /exact or /prefix/**; capitals and small letters are the same."""
    allow: tuple[ScannedPath, ...] = ()
    """Paths that this site has, though they look so."""


class SecurityHeaders(Model):
    """Fields that make browsers careful. What the server says itself stays; null leaves one out."""

    hsts: FieldText | None = "max-age=31536000"
    """Strict-Transport-Security, over https only."""
    content_type_options: FieldText | None = "nosniff"
    """X-Content-Type-Options."""
    frame_options: FieldText | None = "SAMEORIGIN"
    """X-Frame-Options."""
    referrer_policy: FieldText | None = "strict-origin-when-cross-origin"
    """Referrer-Policy."""
    permissions_policy: FieldText | None = "camera=(), geolocation=(), microphone=()"
    """Permissions-Policy."""
    content_security_policy: FieldText | None = None
    """Content-Security-Policy, where the server sends none."""
    cross_origin_opener_policy: FieldText | None = None
    """Cross-Origin-Opener-Policy."""
