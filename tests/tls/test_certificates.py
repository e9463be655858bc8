"""Certificates as files: what can be used, what is wrong with the others, and what is only doubtful."""

import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from balancer.tls.certificates import Unusable, read
from balancer.tls.credentials import EXPIRED, KEPT, Credentials, Watched, load
from balancer.tls.inspection import inspect
from balancer.tls.subject import LONGEST, NoSubject, subject
from config.schema import CertificateFiles, ListenerTls
from tests.tls.authority import NAME, RSA, authority, issued, rewrite

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def own(
    folder: Path,
    *names: str,
    stem: str = "own",
    days: float = 90,
    begin: float = -1,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    common_name: str = "own",
) -> dict[str, str]:
    """A self-signed certificate that is valid from `begin` days after NOW until `days` days after it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW + timedelta(days=begin))
        .not_valid_after(NOW + timedelta(days=days))
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    cert = builder.sign(key, hashes.SHA256())
    (folder / f"{stem}.pem").write_bytes(cert.public_bytes(Encoding.PEM))
    (folder / f"{stem}.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    return {"cert": str(folder / f"{stem}.pem"), "key": str(folder / f"{stem}.key")}


def tls(*files: dict[str, str], client_ca: str | None = None) -> ListenerTls:
    return ListenerTls(certificates=tuple(CertificateFiles(**one) for one in files), client_ca=client_ca)


def remarks(settings: ListenerTls, now: datetime = NOW) -> list[tuple[bool, str, str]]:
    return [(one.warning, ".".join(map(str, one.setting)), one.message) for one in inspect(settings, now)]


def test_a_certificate_tells_what_is_in_it(tmp_path: Path) -> None:
    found = read(CertificateFiles(**own(tmp_path, "A.test", "*.a.test", days=90)))
    assert found.names == ("a.test", "*.a.test")
    assert found.issuer == "CN=own"
    assert found.key_type == "ECDSA P-256"
    assert found.not_after == NOW + timedelta(days=90)
    assert found.name == "a.test"
    assert read(CertificateFiles(**issued(tmp_path, NAME, key=RSA))).key_type == "RSA 2048"


def test_a_good_pair_is_not_remarked_upon(tmp_path: Path) -> None:
    assert remarks(tls(own(tmp_path, "a.test"))) == []
    leaf = authority().create_child_ca().issue_cert(NAME)
    files = {"cert": str(tmp_path / "chain.pem"), "key": str(tmp_path / "chain.key")}
    rewrite(files["cert"], b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    rewrite(files["key"], leaf.private_key_pem.bytes())
    assert len(leaf.cert_chain_pems) == 2
    assert remarks(tls(files), datetime.now(UTC)) == []


def encrypt(files: dict[str, str]) -> None:
    key = load_pem_private_key(Path(files["key"]).read_bytes(), None)
    rewrite(
        files["key"],
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
    )


def turn_round(files: dict[str, str]) -> None:
    parts = Path(files["cert"]).read_text() + authority().cert_pem.bytes().decode()
    blocks = [part + "-----END CERTIFICATE-----\n" for part in parts.split("-----END CERTIFICATE-----\n") if part]
    rewrite(files["cert"], "".join(reversed(blocks)).encode())


def break_chain(files: dict[str, str]) -> None:
    rewrite(files["cert"], Path(files["cert"]).read_bytes() + trustme.CA().cert_pem.bytes())


@pytest.mark.parametrize(
    ("harm", "setting", "message"),
    [
        (lambda files: os.unlink(files["cert"]), "cert", "cannot be read: No such file or directory"),
        (lambda files: os.unlink(files["key"]), "key", "cannot be read: No such file or directory"),
        (lambda files: rewrite(files["cert"], b"garbage"), "cert", "must hold certificates in PEM"),
        (
            lambda files: rewrite(files["cert"], Path(files["cert"]).read_bytes()[:300]),
            "cert",
            "must hold certificates in PEM",
        ),
        (lambda files: rewrite(files["cert"], b"x" * 2_000_000), "cert", "is larger than"),
        (lambda files: rewrite(files["key"], b""), "key", "must hold a private key in PEM"),
        (encrypt, "key", "is encrypted: write the key without its passphrase"),
        (
            lambda files: rewrite(files["key"], authority().issue_cert("b.test").private_key_pem.bytes()),
            "key",
            "is not the key of the certificate in",
        ),
        (turn_round, "cert", "must be the first in"),
        (break_chain, "cert", "after each one the certificate of its issuer"),
    ],
)
def test_what_is_wrong_with_files_is_said_with_its_place(
    tmp_path: Path, harm: Callable[[dict[str, str]], None], setting: str, message: str
) -> None:
    good, files = issued(tmp_path, "b.test"), issued(tmp_path, "a.test")
    harm(files)
    ((warning, where, said),) = remarks(tls(good, files), datetime.now(UTC))[-1:]
    assert (warning, where) == (False, f"certificates.1.{setting}")
    assert message in said
    assert str(tmp_path) in said


@pytest.mark.parametrize(
    ("begin", "days", "warning", "message"),
    [
        (-90, -1, False, "the certificate of a.test has expired on 2025-12-31 at 00:00 UTC"),
        (1, 90, False, "the certificate of a.test is valid only from 2026-01-02, 00:00 UTC"),
        (-90, 13, True, "the certificate of a.test expires in 13 days, on 2026-01-14"),
        (-90, 0.5, True, "the certificate of a.test expires in less than a day, on 2026-01-01"),
    ],
)
def test_dates_are_looked_at(tmp_path: Path, begin: float, days: float, warning: bool, message: str) -> None:
    files = own(tmp_path, "a.test", begin=begin, days=days)
    assert remarks(tls(files)) == [(warning, "certificates.0.cert", message)]


def test_a_weak_key_is_a_problem_since_openssl_takes_none(tmp_path: Path) -> None:
    files = own(tmp_path, "a.test", key=rsa.generate_private_key(65537, 1024))
    ((warning, where, message),) = remarks(tls(files))
    assert (warning, where) == (False, "certificates.0.cert")
    assert "a key of RSA with 1024 bits" in message
    with pytest.raises(Unusable, match="cannot be used: ee key too small"):
        load(tls(files))


def test_a_name_that_is_there_twice_is_doubtful_unless_the_keys_differ(tmp_path: Path) -> None:
    one, two = own(tmp_path, "a.test", stem="one"), own(tmp_path, "a.test", "b.test", stem="two")
    message = "is for a.test, as is certificates[0], which is shown in its place"
    assert remarks(tls(one, two)) == [(True, "certificates.1.cert", message)]
    other = own(tmp_path, "a.test", stem="rsa", key=rsa.generate_private_key(65537, 2048))
    assert remarks(tls(one, other)) == []


def test_a_certificate_without_names_is_doubtful(tmp_path: Path) -> None:
    ((warning, _, message),) = remarks(tls(own(tmp_path)))
    assert warning
    assert "names no host" in message


def test_the_authority_of_clients_is_looked_at_too(tmp_path: Path) -> None:
    good = own(tmp_path, "a.test")
    missing = str(tmp_path / "none.pem")
    problem = (False, "client_ca", f"{missing} cannot be read: No such file or directory")
    assert remarks(tls(good, client_ca=missing)) == [problem]
    old = own(tmp_path, stem="old", begin=-9, days=-1)
    expired = (False, "client_ca", "the certificate of CN=own has expired on 2025-12-31 at 00:00 UTC")
    assert remarks(tls(good, client_ca=old["cert"])) == [expired]


def test_a_key_in_the_place_of_its_path_is_not_repeated(tmp_path: Path) -> None:
    files = own(tmp_path, "a.test")
    inside = tls({"cert": files["cert"], "key": Path(files["key"]).read_text()})
    assert remarks(inside) == [(False, "certificates.0.key", "must be the path of a file, and not what is in it")]
    with pytest.raises(Unusable) as caught:
        load(inside)
    assert "PRIVATE" not in str(caught.value)


# Contexts.


def test_a_context_keeps_to_the_profile(tmp_path: Path) -> None:
    context = load(tls(own(tmp_path, "a.test"))).contexts.standing
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert not context.options & ssl.OP_NO_TICKET
    assert context.verify_mode == ssl.CERT_NONE
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert all(name.startswith(("TLS_", "ECDHE-")) for name in names)
    assert all("GCM" in name or "CHACHA20" in name for name in names)


def test_a_context_is_found_by_name(tmp_path: Path) -> None:
    files = [own(tmp_path, *names, stem=names[0][-6]) for names in (("a.test",), ("b.test", "*.b.test"), ("*.c.test",))]
    found = load(tls(*files)).contexts
    assert found.by_name
    standing, b, c = found.standing, found.of(b"b.test"), found.of(b"x.c.test")
    assert len({standing, b, c}) == 3
    for name in (b"", b"a.test", b"x.a.test", b"c.test", b"x.y.c.test", b"\xff", b".", b"*", b"b.test."):
        assert found.of(name) is standing
    assert found.of(b"www.b.test") is b
    assert not load(tls(files[0])).contexts.by_name


# Files that change.


def test_files_that_are_as_they_were_are_not_read_again(tmp_path: Path) -> None:
    settings = tls(own(tmp_path, "a.test"))
    told: list[tuple[str, str, str]] = []
    watched = Watched("main", settings, load(settings), lambda *event: told.append(event))
    assert watched.look() is None


def test_a_file_that_was_replaced_with_its_times_kept_is_read_again(tmp_path: Path) -> None:
    settings = tls(own(tmp_path, "a.test"))
    watched = Watched("main", settings, load(settings), lambda *event: None)
    before = os.stat(settings.certificates[0].cert)
    own(tmp_path, "b.test", stem="next")
    for kind in ("pem", "key"):
        os.utime(tmp_path / f"next.{kind}", ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(tmp_path / f"next.{kind}", tmp_path / f"own.{kind}")
    found = watched.look()
    assert isinstance(found, Credentials)
    assert found.certificates[0].names == ("b.test",)


def test_a_broken_file_is_told_once_and_tried_until_it_is_whole(tmp_path: Path) -> None:
    settings = tls(own(tmp_path, "a.test"))
    told: list[tuple[str, str, str]] = []
    watched = Watched("main", settings, first := load(settings), lambda *event: told.append(event))
    whole = Path(settings.certificates[0].cert).read_bytes()
    rewrite(settings.certificates[0].cert, whole[:100])
    for _ in range(3):
        watched.take(watched.look())
    assert watched.current is first
    assert [event[:2] for event in told] == [(KEPT, "main")]
    rewrite(settings.certificates[0].cert, whole)
    watched.take(watched.look())
    assert watched.current is not first
    assert told[1] == (EXPIRED, "main", "a.test, valid until 2026-04-01 00:00 UTC")  # which is long past
    watched.take(watched.look())
    assert len(told) == 2


# Subjects.


def der(tmp_path: Path, common_name: str) -> bytes:
    files = own(tmp_path, common_name=common_name)
    return read(CertificateFiles(**files)).chain[0].public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("alice", b"CN=alice"),
        ("Zo\u00eb", b"CN=Zo\\C3\\AB"),
        ("a\r\nX-Admin: yes", b"CN=a\\0D\\0AX-Admin: yes"),
        ("a\x7f\x1b[31m", b"CN=a\\7F\\1B[31m"),
        ("a,O=root", b"CN=a\\,O\\=root"),
        ("", b""),
    ],
)
def test_a_subject_is_one_line_of_printable_ascii(tmp_path: Path, name: str, shown: bytes) -> None:
    found = subject(der(tmp_path, name))
    assert found.replace(b"\\=", b"=") == shown.replace(b"\\=", b"=")
    assert all(0x20 <= byte <= 0x7E for byte in found)


def test_a_subject_is_never_cut() -> None:
    parts = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 64) for _ in range(LONGEST // 64 + 1)]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(parts)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(NoSubject, match="longer than"):
        subject(cert.public_bytes(Encoding.DER))
    with pytest.raises(NoSubject, match="cannot be read"):
        subject(b"")
