"""What a request shows of who sent it: read strictly, since another reading would be another person."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from typing import Final, NamedTuple

from balancer.http1.cookies import alike, times
from balancer.http1.fields import usual
from balancer.http1.head import RequestHead

LONGEST: Final = 8192
"""Bytes of a credential: tokens with many groups in them have come to some thousands."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Ambiguous(ValueError):
    """A credential that can be read in more than one way. Its text is for the client and holds nothing of it."""


class Password(NamedTuple):
    """A name and a password, as a client gives them."""

    user: str
    password: bytes


def field(head: RequestHead, name: bytes) -> bytes | None:
    """The value of a field that may come once, under whatever name servers take for it; None without it.

    Raises Ambiguous.
    """
    like = usual(name)
    fields = [one for one in head.common.fields if one[5] == like]
    if len(fields) > 1:
        raise Ambiguous("a credential came more than once")
    found = [one[1] for one in fields if one[0] == name]
    if not found:
        return None
    if len(found[0]) > LONGEST:
        raise Ambiguous(f"a credential is longer than {LONGEST} bytes")
    return found[0]


def authorization(head: RequestHead, scheme: bytes) -> bytes | None:
    """What `Authorization` has after a scheme in small letters; None without it or with another. Raises Ambiguous."""
    value = field(head, b"authorization")
    if value is None:
        return None
    told, _, credential = value.partition(b" ")
    credential = credential.lstrip(b" ")
    # RFC 9110 section 11.4 with one token68: parameters, and lists of credentials, are of no scheme that is known here.
    if b"," in credential or b" " in credential or b"\t" in value:
        raise Ambiguous("Authorization must be a scheme, a space and one credential")
    return credential if told.lower() == scheme else None


def cookie(head: RequestHead, name: bytes) -> bytes | None:
    """The value of a cookie that may come once. Raises Ambiguous.

    Servers differ in which of two cookies with one name they take, and in what one name is: who could plant one would
    be somebody else.
    """
    if times(head, alike(name)) > 1:
        raise Ambiguous("a credential came more than once")
    found = []
    for one in head.common.fields:
        if one[0] == b"cookie":
            for part in one[1].split(b";"):
                told, separator, value = part.strip(b" \t").partition(b"=")
                if separator and told == name:
                    found.append(value.strip(b'"'))
    if not found:
        return None
    if len(found[0]) > LONGEST:
        raise Ambiguous(f"a credential is longer than {LONGEST} bytes")
    return found[0]


def password(token: bytes) -> Password | None:
    """The name and the password of the scheme Basic (RFC 7617 section 2), in UTF-8; None if it is none."""
    try:
        raw = b64decode(token + b"=" * (-len(token) % 4), validate=True)
        text = raw.decode("utf-8")
    except (Error, ValueError):
        return None
    user, colon, rest = text.partition(":")
    if not colon or _CONTROL.search(text):
        return None
    return Password(user, rest.encode("utf-8"))
