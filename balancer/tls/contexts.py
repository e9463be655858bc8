"""OpenSSL contexts: which versions, ciphers and certificates a listener speaks TLS with.

The profile is Mozilla's "intermediate" one: TLS 1.2 and 1.3, forward secrecy and authenticated encryption only, and
the client's order of ciphers, since it knows whether its processor is quick at AES. Left out of it are the three
suites with finite-field Diffie-Hellman: every client with TLS 1.2 that needed them is long gone.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Final

from balancer.tls.certificates import Certificate, Unusable, read_all
from config.schema import ListenerTls

CIPHERS: Final = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
"""Of TLS 1.2; those of 1.3 are all good, and OpenSSL's own."""
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Contexts:
    """One context for each certificate, and which of them a name gets. All of them ask the same of clients."""

    __slots__ = ("_by_name", "standing")

    def __init__(self, standing: ssl.SSLContext, by_name: Mapping[bytes, ssl.SSLContext]) -> None:
        self.standing = standing  # of the first certificate, for all names that no other one has
        self._by_name = by_name

    @property
    def by_name(self) -> bool:
        """Whether there is anything to choose from."""
        return any(context is not self.standing for context in self._by_name.values())

    def of(self, name: bytes) -> ssl.SSLContext:
        """The context for a name in lower case, empty for none."""
        found = self._by_name.get(name) or self._by_name.get(b"*." + name.partition(b".")[2])
        return found or self.standing


def server_contexts(settings: ListenerTls, certificates: Sequence[Certificate]) -> Contexts:
    """The contexts of a listener. `certificates` are those of `settings`, in their order. Raises Unusable."""
    if settings.client_ca is not None:
        read_all(settings.client_ca, ("client_ca",))  # OpenSSL's own messages say less
    # Certificates for the same names are one choice: OpenSSL takes the one whose kind of key the client knows.
    groups: dict[frozenset[str], list[int]] = {}
    for position, certificate in enumerate(certificates):
        groups.setdefault(frozenset(certificate.names), []).append(position)
    contexts = {names: _context(settings, positions) for names, positions in groups.items()}
    by_name: dict[bytes, ssl.SSLContext] = {}
    for certificate in certificates:
        for name in certificate.names:
            by_name.setdefault(name.encode("utf-8"), contexts[frozenset(certificate.names)])
    return Contexts(contexts[frozenset(certificates[0].names)], by_name)


def _context(settings: ListenerTls, positions: Sequence[int]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[settings.minimum]
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    for position in positions:
        files = settings.certificates[position]
        try:
            context.load_cert_chain(files.cert, files.key, password=_no_passphrase)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; what was read before may have changed
            reason = (error.reason or str(error)) if isinstance(error, ssl.SSLError) else str(error)
            words = reason.replace("_", " ").lower()
            raise Unusable(("certificates", position, "cert"), f"{files.cert} cannot be used: {words}") from None
    if settings.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cafile=settings.client_ca)
        except OSError as error:
            raise Unusable(("client_ca",), f"{settings.client_ca} cannot be used: {error}") from None
    return context


def _no_passphrase() -> str:
    """Without this OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted")
