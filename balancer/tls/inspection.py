"""What an operator should know of a listener's certificates before they are put to use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from balancer.tls.certificates import Certificate, Unusable, links, read, read_all
from balancer.tls.contexts import server_contexts
from config.load import Loaded
from config.problems import Path, Problem, path_text
from config.schema import ListenerTls

SOON: Final = timedelta(days=14)  # ACME clients renew a month ahead: what is left by then has not been renewed
WEAKEST_RSA: Final = 2048


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that is wrong, or with `warning` only doubtful. `setting` is the path within the listener's `tls`."""

    setting: Path
    message: str
    warning: bool = False


def inspect(settings: ListenerTls, now: datetime) -> Iterator[Remark]:
    """Everything there is to say of these files, read for it."""
    certificates: list[Certificate] = []
    seen: dict[tuple[str, str], int] = {}
    for position, files in enumerate(settings.certificates):
        setting: Path = ("certificates", position)
        try:
            certificate = read(files, *setting)
        except Unusable as error:
            yield Remark(error.setting, str(error))
            continue
        certificates.append(certificate)
        yield from _own((*setting, "cert"), files.cert, certificate, now)
        kind = certificate.key_type.partition(" ")[0]
        for name in certificate.names:
            first = seen.setdefault((name, kind), position)
            if first != position:
                message = f"is for {name}, as is certificates[{first}], which is shown in its place"
                yield Remark((*setting, "cert"), message, warning=True)
    if settings.client_ca is not None:
        try:
            for authority in read_all(settings.client_ca, ("client_ca",)):
                name = authority.subject.rfc4514_string()
                yield from _dates(
                    ("client_ca",), name, authority.not_valid_before_utc, authority.not_valid_after_utc, now
                )
        except Unusable as error:
            yield Remark(error.setting, str(error))
            return
    if len(certificates) == len(settings.certificates):
        try:
            server_contexts(settings, certificates)
        except Unusable as error:
            # Of a weak key, OpenSSL's reason says less than what has been said.
            if not any(one.key_type.startswith("RSA") and one.key_bits < WEAKEST_RSA for one in certificates):
                yield Remark(error.setting, str(error))


def certificate_problems(loaded: Loaded, now: datetime) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with the files of listeners with TLS, and what is doubtful; elsewhere only their names are seen.

    A certificate that has expired is wrong here. It does not keep a balancer from starting: an outage of some
    clients is not to become one of all.
    """
    wrong: list[Problem] = []
    doubtful: list[Problem] = []
    listeners: list[tuple[Path, ListenerTls | None]] = [
        (("listeners", name, "tls"), listener.tls) for name, listener in loaded.config.listeners.items()
    ]
    admin = loaded.config.admin.tls
    if admin is not None:
        listeners.append((("admin", "tls"), ListenerTls(certificates=(admin,))))
    for above, settings in listeners:
        for remark in inspect(settings, now) if settings is not None else ():
            # The admin listener has one certificate, which is in no list.
            setting = remark.setting if above[0] == "listeners" else remark.setting[2:]
            path = (*above, *setting)
            place = loaded.where(path)
            problem = Problem.at(place, remark.message) if place else Problem("", 0, 0, path_text(path), remark.message)
            (doubtful if remark.warning else wrong).append(problem)
    return wrong, doubtful


def _own(setting: Path, file: str, certificate: Certificate, now: datetime) -> Iterator[Remark]:
    yield from _dates(setting, certificate.name, certificate.not_before, certificate.not_after, now)
    if not certificate.names:
        yield Remark(setting, f"{file} names no host (subjectAltName): no client will accept it", warning=True)
    if certificate.key_type.startswith("RSA") and certificate.key_bits < WEAKEST_RSA:
        message = f"{file} has a key of RSA with {certificate.key_bits} bits: OpenSSL takes none below {WEAKEST_RSA}"
        yield Remark(setting, message)
    if not links(certificate.chain):
        message = f"{file} must hold the certificate first, and after each one the certificate of its issuer"
        yield Remark(setting, message)


def _dates(setting: Path, name: str, begin: datetime, end: datetime, now: datetime) -> Iterator[Remark]:
    if end <= now:
        yield Remark(setting, f"the certificate of {name} has expired on {end:%Y-%m-%d at %H:%M} UTC")
    elif begin > now:
        yield Remark(setting, f"the certificate of {name} is valid only from {begin:%Y-%m-%d, %H:%M} UTC")
    elif end - now <= SOON:
        left = "less than a day" if (end - now).days < 1 else f"{(end - now).days} days"
        yield Remark(setting, f"the certificate of {name} expires in {left}, on {end:%Y-%m-%d}", warning=True)
