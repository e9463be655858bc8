"""Auth: one way each, hashes and keys that can be used, fields that are nobody else's, and names that are there."""

from __future__ import annotations

import re
from datetime import date
from urllib.parse import urlsplit

from config.addresses import Address
from config.auth import ApiKeys, Auth, Basic, ForwardAuth, Jwt
from config.field_checks import OURS, own_field
from config.findings import Findings
from config.passwords import PasswordHash
from config.patterns import NAME
from config.problems import Path, Unfit, listed, nearest
from config.schema import Config

WAYS = ("api_keys", "basic", "jwt", "forward")
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""A secret is at least as long as what the hash makes (RFC 7518 section 3.2)."""
_USER = re.compile(r"[^\x00-\x1f\x7f:]{1,128}")
"""Without a colon, which ends a name, and control characters (RFC 7617 section 2)."""
_KEY = re.compile(r"-----BEGIN|\s*\{|ssh-|ecdsa-")
"""How texts begin that hold keys: who takes a public one for a secret lets everybody in."""
_NOT_COPIED = frozenset((*OURS, "cookie", "date", "expect", "forwarded", "host", "server", "set-cookie", "via"))


def check_auth(config: Config, found: Findings) -> None:
    for name, auth in config.auth.items():
        path: Path = ("auth", name)
        if not NAME.fullmatch(name):
            found.add(path, "must have a name of at most 128 letters, digits and . _ - : characters")
        _check_way(auth, path, found)
        if auth.subject_to is not None:
            own_field(auth.subject_to, (*path, "subject_to"), found)
        if auth.api_keys is not None:
            _check_keys(auth.api_keys, (*path, "api_keys"), found)
        if auth.basic is not None:
            _check_users(auth.basic, (*path, "basic"), found)
        if auth.jwt is not None:
            _check_jwt(auth.jwt, auth.subject_to, (*path, "jwt"), found)
        if auth.forward is not None:
            _check_forward(auth.forward, config, (*path, "forward"), found)
    _check_routes(config, found)


def _check_way(auth: Auth, path: Path, found: Findings) -> None:
    given = [way for way in WAYS if getattr(auth, way) is not None]
    if len(given) > 1:
        found.add(path, f"must have only one of {listed(WAYS)}, not {listed(given, 'and')}; a route may name several")
    elif not given and not any(found.lost((*path, way)) for way in WAYS):
        found.add(path, f"must have one of {listed(WAYS)}")


def _check_keys(settings: ApiKeys, path: Path, found: Findings) -> None:
    if settings.header.lower() in OURS or settings.header.lower() in ("cookie", "host"):
        found.add((*path, "header"), f"must be another field than {settings.header}, such as X-API-Key")
    if not settings.keys and not found.lost((*path, "keys")):
        found.warn((*path, "keys"), "is empty: nobody is let in")
    seen: dict[str, str] = {}
    for name, key in settings.keys.items():
        place = (*path, "keys", name)
        if not NAME.fullmatch(name):
            found.add(place, "must have a name of at most 128 letters, digits and . _ - : characters")
        if key.hash in seen:
            found.add((*place, "hash"), f"must be another one than that of {seen[key.hash]}: they are the same key")
        seen.setdefault(key.hash, name)
        if key.expires is not None:
            try:
                date.fromisoformat(key.expires)
            except ValueError:
                found.add((*place, "expires"), "must be a date such as 2027-01-31", came=True)


def _check_users(settings: Basic, path: Path, found: Findings) -> None:
    if not settings.users and not found.lost((*path, "users")):
        found.warn((*path, "users"), "is empty: nobody is let in")
    for name, text in settings.users.items():
        place = (*path, "users", name)
        if not _USER.fullmatch(name):
            found.add(place, "must have a name of 1 to 128 characters, without a colon and control characters")
        try:
            PasswordHash.of(text)
        except Unfit as error:
            found.add(place, error.expected)


def _check_jwt(settings: Jwt, subject_to: str | None, path: Path, found: Findings) -> None:
    sources = ("jwks", "public_key", "secret")
    given = [source for source in sources if getattr(settings, source) is not None]
    if len(given) > 1:
        found.add(path, f"must have only one of {listed(sources)}, not {listed(given, 'and')}")
    elif not given and not any(found.lost((*path, source)) for source in sources):
        found.add(path, f"must have one of {listed(sources)}")
    if settings.jwks is not None:
        _check_url(settings.jwks, (*path, "jwks"), found)
    elif settings.ca is not None and given:
        found.add((*path, "ca"), "must go with jwks")
    if settings.public_key is not None and not found.unseen((*path, "public_key")):
        fault = _key_fault(settings.public_key)
        if fault is not None:
            found.add((*path, "public_key"), fault)
    symmetric = [algorithm for algorithm in settings.algorithms if algorithm in SECRET_BYTES]
    if settings.secret is None and symmetric and given:
        message = f"must not have {listed(symmetric, 'and')}: whoever knows a public key could sign with it"
        found.add((*path, "algorithms"), message)
    elif settings.secret is not None and not found.unseen((*path, "secret")):
        _check_secret(settings, settings.secret, path, found)
    if not settings.audience and settings.issuer is None and given:
        found.warn(path, "has neither `audience` nor `issuer`: tokens that are meant for other sites are taken, too")
    seen = {subject_to.lower()} if subject_to is not None else set()
    for claim, name in settings.claims_to.items():
        own_field(name, (*path, "claims_to", claim), found)
        if name.lower() in seen:
            found.add((*path, "claims_to", claim), "must be another field than those of other claims and `subject_to`")
        seen.add(name.lower())


def _check_url(url: str, path: Path, found: Findings) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host:
        found.add(path, "must be a URL such as https://id.example/jwks.json", came=True)
    elif parts.scheme != "https" and not Address(host=host, port=0).is_loopback:
        message = (
            "must begin with https://, or be on this machine: who could change keys on their way could sign tokens"
        )
        found.add(path, message, came=True)


def _key_fault(text: str) -> str | None:
    """Why a text is no public key for tokens; not a word from it."""
    # Only who has one pays for reading it: a tenth of a second.
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if "PRIVATE KEY-----" in text:
        return "must be the public key, not the private one, which only the issuer may have: make another pair"
    try:
        key = load_pem_public_key(text.strip().encode())
    except (ValueError, TypeError, UnicodeError):
        return "must be one public key as PEM, beginning with -----BEGIN PUBLIC KEY-----"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
        return "must have at least 2048 bits: shorter keys of RSA can be broken"
    if not isinstance(
        key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
    ):
        return "must be a key of RSA, of an elliptic curve or of Ed25519"
    return None


def _check_secret(settings: Jwt, secret: str, path: Path, found: Findings) -> None:
    others = [algorithm for algorithm in settings.algorithms if algorithm not in SECRET_BYTES]
    if others:
        found.add((*path, "algorithms"), f"must not have {listed(others, 'and')}: a secret is for HS256 to HS512")
        return
    algorithms = settings.algorithms or ("HS256",)
    least = max(SECRET_BYTES[algorithm] for algorithm in algorithms)
    if _KEY.match(secret):
        found.add((*path, "secret"), "must be no key of another kind: a public one goes into `public_key`")
    elif len(secret.encode()) < least:
        message = f"must have at least {least} bytes for {listed(algorithms, 'and')}: `openssl rand -base64 {least}`"
        found.add((*path, "secret"), message)


def _check_forward(settings: ForwardAuth, config: Config, path: Path, found: Findings) -> None:
    pools = found.written("pools")
    if settings.pool not in pools:
        close = nearest(settings.pool, pools)
        there = f"there is {listed(pools, 'and')}" if pools else "there is none"
        hint = f'did you mean "{close}"?' if close else there
        found.add((*path, "pool"), "must name a pool", came=True, hint=hint)
    for position, name in enumerate(settings.copy_headers):
        lower = name.lower()
        if lower in _NOT_COPIED or lower.startswith(("x-forwarded-", "content-")) or "_" in name:
            found.add((*path, "copy_headers", position), f"must be another field than {name}, such as Remote-User")


def _check_routes(config: Config, found: Findings) -> None:
    known = found.written("auth")
    used: set[str] = set()
    for route, settings in config.routes.items():
        path: Path = ("routes", route, "auth")
        for position, name in enumerate(settings.auth):
            used.add(name)
            place = (*path, position)
            if name not in known:
                close = nearest(name, known)
                there = f"there is {listed(known, 'and')}" if known else "there is none"
                hint = f'did you mean "{close}"?' if close else there
                found.add(place, "must name one of `auth`", came=True, hint=hint)
            elif name in settings.auth[:position]:
                found.add(place, "is there twice", came=False)
            elif position < len(settings.auth) - 1 and name in config.auth and config.auth[name].forward is not None:
                found.add(place, "must be the last: another service has the last word", came=False)
    for name in config.auth:
        if name not in used and not found.problems and not found.unseen(("routes",)):
            found.warn(("auth", name), f"is used by no route: a route chooses it by `auth: {name}`")
