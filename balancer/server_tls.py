"""TLS towards servers: what a pool's `tls` makes of OpenSSL, and what went wrong, in words."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext, SSLSession
from typing import Final, Literal
from urllib.parse import urlsplit

from config.schema import Config, Pool, ServerTls

LONGEST_FILE: Final = 4 * 1024 * 1024
"""Bytes; the authorities that a system trusts are a quarter of a megabyte."""

_OTHER_NAME: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_UNKNOWN_AUTHORITY: Final = (18, 19, 20, 21)  # self-signed, or no way from it to what is trusted
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_NO_TLS: Final = frozenset(
    ("HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "WRONG_VERSION_NUMBER")
)
"""OpenSSL's reasons for what came instead of a handshake; they differ between its versions."""


@dataclass(slots=True)
class Way:
    """How connections to a server begin, where that is not with the first request.

    When the configuration has it otherwise, another one takes its place, and connections made this way are not kept.
    """

    context: SSLContext | None
    """None: no TLS."""
    name: str = ""
    """What the server is asked for in TLS, and what its certificate must have."""
    proxy_protocol: Literal["v1", "v2"] | None = None
    session: SSLSession | None = field(default=None, compare=False)
    """Of an earlier connection, to be resumed (owner: proxy.dialer)."""


class BadTls(Exception):
    """A pool's `tls` cannot be used. `key` is the one at fault within it."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class BadPools(Exception):
    """The `tls` of some pools cannot be used; `problems` are sentences for the operator."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def secured(url: str) -> bool:
    """Whether TLS is spoken with the server of this URL."""
    return url[:6].lower() == "https:"


def name_of(url: str, settings: ServerTls) -> str:
    """What the server is asked for, and what its certificate must have: a host name or an IP address."""
    return settings.server_name or (urlsplit(url).hostname or "").removesuffix(".")


def way(url: str, pool: Pool, context: SSLContext | None) -> Way | None:
    """How the server of this URL is reached, with the context of its pool."""
    if not secured(url):
        context = None
    if context is None and pool.proxy_protocol is None:
        return None
    return Way(context, name_of(url, pool.tls), pool.proxy_protocol)


def build(settings: ServerTls, protocols: Sequence[str] = ("http/1.1",)) -> SSLContext:
    """What connections are made with. Reads files, and may take a tenth of a second. Raises BadTls.

    `protocols`: what is offered to be spoken in TLS (ALPN); none: whatever the server speaks.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # a name is one of subjectAltName (RFC 9525 section 6.3)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if settings.ca is not None:
        _content("ca", settings.ca)  # what cannot be read is told in words of our own
        try:
            context.load_verify_locations(settings.ca)
        except ssl.SSLError:
            raise BadTls(
                "ca", f"{settings.ca} must hold certificates in PEM, and holds none that can be read"
            ) from None
        except (OSError, ValueError) as error:
            raise BadTls("ca", f"cannot read {settings.ca}: {_told(error)}") from None
        if not context.cert_store_stats()["x509"]:  # a list of revoked ones is taken, too
            raise BadTls("ca", f"{settings.ca} must hold certificates in PEM, and holds none")
        # Whatever the operator names is trusted, also one that an authority of somebody else's has signed.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    elif settings.verify:
        context.load_default_certs()
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate is not None:
        _load_own(context, settings.certificate.cert, settings.certificate.key)
    return context


def _load_own(context: SSLContext, cert: str, key: str) -> None:
    for setting, path in (("cert", cert), ("key", key)):
        _content(f"certificate.{setting}", path)
    try:
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except (OSError, ValueError):  # an SSLError is an OSError; which file is at fault it does not tell
        message = f"{cert} and {key} must hold a certificate and its key in PEM, the key without a passphrase"
        raise BadTls("certificate", message) from None


def _content(key: str, path: str) -> bytes:
    """What is in a file. Raises BadTls."""
    if "-----BEGIN" in path or not path.isprintable():
        # What is meant to be a path may be a private key, as `${file:client.key}` would make it: it is not repeated.
        raise BadTls(key, "must be the path of a file, and not what is in it")
    try:
        with open(path, "rb") as file:
            content = file.read(LONGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise BadTls(key, f"cannot read {path}: {_told(error)}") from None
    if len(content) > LONGEST_FILE:
        raise BadTls(key, f"{path} must have at most 4 MiB")
    return content


def _no_passphrase() -> str:
    """Without this OpenSSL would ask at the terminal."""
    return ""


def _told(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


@dataclass(frozen=True, slots=True)
class _Built:
    signature: tuple[object, ...]
    context: SSLContext


class Contexts:
    """The contexts of a configuration, by pool: never built for a connection, and kept as long as they would be equal.

    They are built outside of the loop and take effect only by `adopt`, once everything else has worked out.
    """

    def __init__(self) -> None:
        self.of: Mapping[str, SSLContext] = {}
        self._built: dict[ServerTls, _Built] = {}
        self._reads = 0

    async def prepare(self, config: Config, reads: int) -> Prepared:
        """Those that the configuration needs. Raises BadPools."""
        pools = {name: pool.tls for name, pool in config.pools.items() if any_secured(pool)}
        known = self._built if reads == self._reads else {}
        if all(settings in known for settings in pools.values()):
            return Prepared(pools, known, reads)
        built, problems = await asyncio.to_thread(_all, pools, dict(self._built), frozenset(known))
        if problems:
            raise BadPools(problems)
        return Prepared(pools, built, reads)

    def adopt(self, prepared: Prepared) -> None:
        self._reads = prepared.reads
        self._built = {settings: prepared.built[settings] for settings in prepared.pools.values()}
        self.of = prepared.contexts


@dataclass(frozen=True, slots=True)
class Prepared:
    """Contexts that may come into force."""

    pools: Mapping[str, ServerTls]
    built: Mapping[ServerTls, _Built]
    reads: int

    @property
    def contexts(self) -> dict[str, SSLContext]:
        return {name: self.built[settings].context for name, settings in self.pools.items()}


def any_secured(pool: Pool) -> bool:
    """Whether TLS is spoken with any server of the pool."""
    return any(secured(server.url) for server in pool.servers.values())


def _all(
    pools: Mapping[str, ServerTls], old: dict[ServerTls, _Built], settled: frozenset[ServerTls]
) -> tuple[dict[ServerTls, _Built], list[str]]:
    """What is needed, taken from `old` if it is `settled`, or if its files are as they were."""
    built: dict[ServerTls, _Built] = {}
    problems = []
    for name, settings in pools.items():
        if settings in built:
            continue
        before = old.get(settings)
        try:
            if before is None or settings not in settled:
                signature = tuple(_signature(settings))
                if before is None or before.signature != signature:
                    before = _Built(signature, build(settings))
        except BadTls as error:
            problems.append(f"pools.{name}.tls.{error.key}: {error}")
        else:
            built[settings] = before
    return built, problems


def _signature(settings: ServerTls) -> Iterator[object]:
    """What differs when one of the files has another content. Raises BadTls."""
    files = {} if settings.ca is None else {"ca": settings.ca}
    if settings.certificate is not None:
        files |= {"certificate.cert": settings.certificate.cert, "certificate.key": settings.certificate.key}
    for key, path in files.items():
        yield hashlib.sha256(_content(key, path)).digest()
    if settings.ca is None:
        default = ssl.get_default_verify_paths()
        for place in (default.cafile, default.capath):
            if place is not None:
                try:
                    found = os.stat(place)
                except OSError:
                    continue
                yield place, found.st_ino, found.st_mtime_ns, found.st_size


def explain(error: Exception) -> str:
    """Why a handshake with a server has failed, for a person, without names and addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _OTHER_NAME:
            return "its certificate is for another name"
        if code in _UNKNOWN_AUTHORITY:
            return "its certificate is not signed by a known authority"
        if code == _EXPIRED:
            return "its certificate has expired"
        if code == _NOT_YET_VALID:
            return "its certificate is not valid yet"
        return f"its certificate is refused ({error.verify_message})"
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return "it closed the connection during the TLS handshake"
    if isinstance(error, ssl.SSLError):
        if error.reason in _NO_TLS:
            return "it does not speak TLS"
        return f"the TLS handshake failed ({_reason(error)})"
    return "the TLS handshake could not begin"


def broken(error: ssl.SSLError) -> str:
    """Why a connection that had been agreed on has ended: with TLS 1.3 a server says only then that it wants another
    certificate."""
    return f"TLS with it broke off ({_reason(error)})"


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "for no known reason").replace("_", " ").lower()
