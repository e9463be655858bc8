"""Auth as it is written: what is refused with its place, what is warned of, and what is never shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.auth import own_fields
from config.diff import diff
from config.load import parse
from config.passwords import PasswordHash
from config.problems import ConfigError, Unfit
from config.protection import Scanners, SecurityHeaders
from config.schema import Config
from config.show import show
from tests.guards.issuer import SECRET, pem, private

HASH = "sha256:" + "0" * 64
SCRYPT = "scrypt:16384:8:5:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
PEM = json.dumps(pem(private("ES256")))
PRIVATE = json.dumps("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


def loaded(auth: str, route: str = "auth: a", more: str = "") -> tuple[Config, list[str]]:
    text = f"servers: [http://a:1]\nauth: {{a: {{{auth}}}}}\nroutes: {{r: {{pool: default, {route}}}}}\n{more}"
    found = parse(text, "f", {})
    return found.config, [str(warning) for warning in found.warnings]


def problems(auth: str, route: str = "auth: a") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(auth, route)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("auth", "reason"),
    [
        ("", "f:2:11: auth.a: must have one of api_keys, basic, jwt or forward"),
        (
            f"api_keys: {{keys: {{k: {HASH}}}}}, basic: {{users: {{u: '{SCRYPT}'}}}}",
            "must have only one of api_keys, basic",
        ),
        (
            "api_keys: {keys: {k: secret}}",
            "auth.a.api_keys.keys.k: must be the hash of a key, sha256: and 64 hex digits",
        ),
        (f"api_keys: {{keys: {{k: '{HASH}', l: '{HASH}'}}}}", "must be another one than that of k: they are the same"),
        (f"api_keys: {{keys: {{'a b': '{HASH}'}}}}", "must have a name of at most 128 letters"),
        (
            f"api_keys: {{keys: {{k: {{hash: '{HASH}', expires: soon}}}}}}",
            'must be a date such as 2027-01-31, not "soon"',
        ),
        (f"api_keys: {{header: Cookie, keys: {{k: '{HASH}'}}}}", "must be another field than Cookie"),
        (f"api_keys: {{header: Content-Length, keys: {{k: '{HASH}'}}}}", "must be another field than Content-Length"),
        (f"jwt: {{audience: [x], public_key: {PRIVATE}}}", "must be the public key, not the private one"),
        ("basic: {users: {alice: hunter2}}", "auth.a.basic.users.alice: must be what `balancer hash-password` prints"),
        (f"basic: {{users: {{'a:b': '{SCRYPT}'}}}}", "without a colon"),
        (f"basic: {{users: {{u: '{SCRYPT.replace('16384', '16000')}'}}}}", "must have an N that is a power of 2"),
        (f"basic: {{users: {{u: '{SCRYPT.replace('16384', '1024')}'}}}}", "at least 8192"),
        (f"basic: {{users: {{u: '{SCRYPT.replace('16384', '1048576')}'}}}}", "must take at most 64 MiB"),
        (f"basic: {{users: {{u: '{SCRYPT.replace(':5:', ':99:')}'}}}}", "must take at most 64 MiB and about a second"),
        ("basic: {realm: 'a\"b', users: {}}", "auth.a.basic.realm"),
        ("jwt: {audience: [x]}", "must have one of jwks, public_key or secret"),
        (f"jwt: {{secret: '{SECRET}', public_key: {PEM}}}", "must have only one of jwks, public_key or secret"),
        ("jwt: {audience: [x], secret: short}", "must have at least 32 bytes for HS256"),
        (
            f"jwt: {{audience: [x], secret: '{SECRET[:40]}', algorithms: [HS512]}}",
            "must have at least 64 bytes for HS512",
        ),
        (f"jwt: {{audience: [x], secret: {PEM}}}", "must be no key of another kind"),
        (f"jwt: {{audience: [x], secret: '{SECRET}', algorithms: [HS256, RS256]}}", "must not have RS256"),
        (
            f"jwt: {{audience: [x], public_key: {PEM}, algorithms: [ES256, HS256]}}",
            "must not have HS256: whoever knows",
        ),
        ("jwt: {audience: [x], jwks: 'https://a/b', algorithms: [HS256]}", "must not have HS256: whoever knows"),
        ("jwt: {audience: [x], jwks: 'https://a/b', algorithms: [none]}", "auth.a.jwt.algorithms"),
        ("jwt: {audience: [x], public_key: nonsense}", "must be one public key as PEM"),
        ("jwt: {audience: [x], jwks: 'http://id.example/x'}", "must begin with https://"),
        ("jwt: {audience: [x], jwks: 'http://127.0.0.1.evil.example/x'}", "must begin with https://"),
        ("jwt: {audience: [x], jwks: 'https://user@id.example/x'}", "auth.a.jwt.jwks"),
        ("jwt: {audience: [x], jwks: 'file:///etc/passwd'}", "auth.a.jwt.jwks"),
        ("jwt: {audience: [x], jwks: 'https://a/b', claims_to: {sub: Authorization}}", "must be a field of its own"),
        ("jwt: {audience: [x], jwks: 'https://a/b', claims_to: {sub: X-Forwarded-User}}", "must be a field of its own"),
        (
            "jwt: {audience: [x], jwks: 'https://a/b', claims_to: {sub: X-Auth-Subject}}",
            "must be another field than those",
        ),
        ("jwt: {audience: [x], jwks: 'https://a/b', claims_to: {sub: X_User}}", "auth.a.jwt.claims_to.sub"),
        ("jwt: {audience: [x], jwks: 'https://a/b', token: 'query:t'}", "auth.a.jwt.token"),
        ("jwt: {audience: [x], secret: '%s', ca: x.pem}" % SECRET, "must go with jwks"),  # noqa: UP031
        ("forward: {pool: sso}", 'must name a pool, not "sso"'),
        ("forward: {pool: default, copy_headers: [Set-Cookie]}", "must be another field than Set-Cookie"),
        ("forward: {pool: default, copy_headers: [X-Forwarded-For]}", "must be another field than X-Forwarded-For"),
        ("forward: {pool: default, copy_headers: [Host]}", "must be another field than Host"),
        ("forward: {pool: default, copy_headers: [Remote_User]}", "must be another field than Remote_User"),
        ("forward: {pool: default, path: verify}", "auth.a.forward.path"),
        ("subject_to: Cookie, forward: {pool: default}", "must be a field of its own"),
    ],
)
def test_auth_that_cannot_work_or_would_let_anybody_in_is_refused(auth: str, reason: str) -> None:
    found = problems(auth)
    assert len(found) == 1, found
    assert reason in found[0]


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        ("auth: b", 'f:3:35: routes.r.auth: must name one of `auth`, not "b"; there is a'),
        ("auth: [a, a]", "routes.r.auth[1]: is there twice"),
    ],
)
def test_a_route_names_what_is_there(route: str, reason: str) -> None:
    found = problems(f"basic: {{users: {{u: '{SCRYPT}'}}}}", route)
    assert [reason in one for one in found] == [True], found


def test_another_service_has_the_last_word() -> None:
    text = f"""
servers: [http://a:1]
auth: {{sso: {{forward: {{pool: default}}}}, keys: {{api_keys: {{keys: {{k: '{HASH}'}}}}}}}}
routes: {{r: {{pool: default, auth: %s}}}}
"""
    with pytest.raises(ConfigError, match="must be the last"):
        parse(text % "[sso, keys]", "f", {})
    assert parse(text % "[keys, sso]", "f", {}).config.routes["r"].auth == ("keys", "sso")


def test_what_lets_nobody_in_or_too_many_is_warned_of() -> None:
    assert "is empty: nobody is let in" in loaded("api_keys: {}")[1][0]
    assert "is empty: nobody is let in" in loaded("basic: {}")[1][0]
    assert "has neither `audience` nor `issuer`" in loaded(f"jwt: {{secret: '{SECRET}'}}")[1][0]
    assert "is used by no route" in loaded(f"jwt: {{secret: '{SECRET}', issuer: x}}", "methods: [GET]")[1][0]
    assert loaded(f"jwt: {{secret: '{SECRET}', issuer: x}}")[1] == []


@pytest.mark.parametrize(
    "url", ["https://id.example:8443/x", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:9/x"]
)
def test_keys_come_by_https_or_from_this_machine(url: str) -> None:
    assert loaded(f"jwt: {{audience: [x], jwks: '{url}'}}")[1] == []


def test_no_secret_is_shown_and_changes_of_one_are_told_without_it() -> None:
    before, _ = loaded(f"jwt: {{secret: '{SECRET}', issuer: x}}")
    after, _ = loaded(f"jwt: {{secret: '{SECRET}2', issuer: x}}")
    assert SECRET not in show(before)
    assert "secret: '***'" in show(before)
    assert SECRET not in str(diff(before, after))
    basic, _ = loaded(f"basic: {{users: {{alice: '{SCRYPT}'}}}}")
    assert SCRYPT not in show(basic)
    assert "alice: '***'" in show(basic)
    keys, _ = loaded(f"api_keys: {{keys: {{k: '{HASH}'}}}}")
    assert HASH not in show(keys)


def test_a_secret_that_is_wrong_is_not_repeated() -> None:
    for auth in ("jwt: {issuer: x, secret: hunter2}", "basic: {users: {a: hunter2}}", "api_keys: {keys: {a: hunter2}}"):
        assert "hunter2" not in str(problems(auth))


def test_the_fields_that_servers_are_told_are_reserved() -> None:
    config, _ = loaded("forward: {pool: default, copy_headers: [Remote-User, Authorization]}")
    assert set(own_fields(config.auth)) == {"X-Auth-Subject", "Remote-User"}
    config, _ = loaded(f"subject_to: null, jwt: {{issuer: x, secret: '{SECRET}', claims_to: {{email: X-Email}}}}")
    assert set(own_fields(config.auth)) == {"X-Email"}


def test_what_the_top_says_of_protection_holds_for_routes_that_do_not_say() -> None:
    text = """
servers: [http://a:1]
refuse_scanners: {status: 403}
security_headers: {hsts: null}
routes:
  plain: {match: /a, pool: default}
  own: {match: /b, pool: default, refuse_scanners: {also: [/x]}, security_headers: {frame_options: DENY}}
  none: {match: /c, pool: default, refuse_scanners: false, security_headers: false}
  moved: {match: /d, redirect: /}
"""
    found = parse(text, "f", {}).config
    routes = found.routes
    assert routes["plain"].refuse_scanners == routes["moved"].refuse_scanners == Scanners(status=403)
    assert routes["own"].refuse_scanners == Scanners(status=403, also=("/x",))
    assert routes["own"].security_headers == SecurityHeaders(hsts=None, frame_options="DENY")
    assert routes["none"].refuse_scanners is routes["none"].security_headers is None
    assert parse(show(found), "g", {}).config == found


def test_a_route_that_is_not_compressed_is_shown_so() -> None:
    routes = "{a: {pool: default, compress: false}, b: {match: /b, redirect: /}}"
    text = f"servers: [http://a:1]\ncompress: true\nroutes: {routes}"
    found = parse(text, "f", {}).config
    assert parse(show(found), "g", {}).config == found


def test_the_shipped_file_tells_the_true_presets() -> None:
    assert loaded("forward: {pool: default}", "auth: a", "refuse_scanners: true")[0].refuse_scanners == Scanners()


@given(st.text(alphabet="scrypt:0123456789ABCab_-", max_size=120) | st.text(max_size=20))
def test_whatever_stands_for_a_password_is_read_or_refused(text: str) -> None:
    try:
        kept = PasswordHash.of(text)
    except Unfit:
        return
    assert 128 * kept.n * kept.r <= 64 * 2**20
