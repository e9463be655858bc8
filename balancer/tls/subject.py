"""Whose certificate a client has, as text that is safe in a header field."""

from __future__ import annotations

from typing import Final

from cryptography import x509

LONGEST: Final = 2048  # bytes; a real one has a few hundred


class NoSubject(Exception):
    """A subject that cannot be passed on whole. It is never cut: two of them could then look the same."""


def subject(certificate: bytes) -> bytes:
    """The subject of a DER certificate as in RFC 4514, in printable ASCII; empty when there is none.

    Characters beyond that are written as their bytes of UTF-8, each as a backslash and two hexadecimal digits, which
    RFC 4514 section 2.4 allows for any character.
    """
    try:
        text = x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    except (ValueError, x509.InvalidVersion) as error:
        raise NoSubject(f"the client certificate's subject cannot be read: {error}") from None
    if len(text) > LONGEST:
        raise NoSubject(f"the client certificate's subject is longer than {LONGEST} bytes")
    plain = b"".join(
        char.encode("ascii")
        if "\x20" <= char <= "\x7e"
        else b"".join(b"\\%02X" % byte for byte in char.encode("utf-8", "surrogatepass"))
        for char in text
    )
    if len(plain) > LONGEST:
        raise NoSubject(f"the client certificate's subject is longer than {LONGEST} bytes")
    return plain
