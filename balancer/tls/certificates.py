"""Certificates and their keys as files: read, held against each other, and told apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from config.schema import CertificateFiles

LONGEST: Final = 1024 * 1024  # bytes of a file: hundreds of certificates


class Unusable(Exception):
    """A file that TLS cannot be spoken with. `setting` is the key that names it, within the listener's `tls`."""

    def __init__(self, setting: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.setting = setting


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says, and those that were in the file with it."""

    names: tuple[str, ...]
    """In lower case; "*.example.com" stands for one label in the place of the star."""
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    key_type: str
    """Such as "ECDSA P-256" or "RSA 2048"."""
    key_bits: int
    chain: tuple[x509.Certificate, ...]
    """Itself first."""

    @property
    def name(self) -> str:
        """The one to tell it by."""
        return self.names[0] if self.names else self.subject


def read(files: CertificateFiles, *setting: str | int) -> Certificate:
    """The certificate of these files, whose key is known to fit; Unusable tells what is wrong, and where."""
    cert_at, key_at = (*setting, "cert"), (*setting, "key")
    chain = read_all(files.cert, cert_at)
    own = chain[0]
    content = _content(files.key, key_at)
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        message = f"{files.key} is encrypted: write the key without its passphrase (openssl pkey -in ... -out ...)"
        raise Unusable(key_at, message) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable(key_at, f"{files.key} must hold a private key in PEM, and holds none that can be read") from None
    public = _public(own)
    if not public:
        raise Unusable(cert_at, f"{files.cert} has a key of a kind that is not known here: use ECDSA or RSA")
    if key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
        mine = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if any(_public(other) == mine for other in chain[1:]):
            raise Unusable(cert_at, f"the certificate that {files.key} belongs to must be the first in {files.cert}")
        raise Unusable(key_at, f"{files.key} is not the key of the certificate in {files.cert}")
    kind, bits = _kind(own)
    return Certificate(
        names=_names(own),
        subject=own.subject.rfc4514_string(),
        issuer=own.issuer.rfc4514_string(),
        not_before=own.not_valid_before_utc,
        not_after=own.not_valid_after_utc,
        key_type=kind,
        key_bits=bits,
        chain=chain,
    )


def read_all(path: str, setting: tuple[str | int, ...]) -> tuple[x509.Certificate, ...]:
    """Every certificate of a file, at least one."""
    content = _content(path, setting)
    try:
        chain = tuple(x509.load_pem_x509_certificates(content))
    except (ValueError, x509.InvalidVersion):
        raise Unusable(setting, f"{path} must hold certificates in PEM, and holds none that can be read") from None
    return chain


def links(chain: tuple[x509.Certificate, ...]) -> bool:
    """Whether each certificate was issued by the one after it."""
    try:
        for one, above in pairwise(chain):
            one.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _content(path: str, setting: tuple[str | int, ...]) -> bytes:
    if "-----BEGIN" in path or not path.isprintable():
        # What is meant to be a path may be a private key, as `${file:site.key}` would make it: it is not repeated.
        raise Unusable(setting, "must be the path of a file, and not what is in it")
    try:
        with Path(path).open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise Unusable(setting, f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > LONGEST:
        raise Unusable(setting, f"{path} is larger than {LONGEST} bytes: it holds something else")
    return content


def _public(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):  # of a kind that nobody has a key for here
        return b""


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return ()
    hosts = [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]
    return (*hosts, *map(str, alternatives.get_values_for_type(x509.IPAddress)))


def _kind(certificate: x509.Certificate) -> tuple[str, int]:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {_CURVES.get(key.curve.name, key.curve.name)}", key.key_size
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519", 256
    if isinstance(key, ed448.Ed448PublicKey):
        return "Ed448", 456
    return type(key).__name__.removesuffix("PublicKey"), 0


_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
