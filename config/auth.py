"""Who may use a route, and how they show it: API keys, passwords, tokens, or the word of another service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from config.cache import FieldName
from config.pool import Model, Positive
from config.values import FilePath, KeyHash, Network

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]
PUBLIC: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
"""What is taken of public keys when nothing is said: what issuers use."""
Claim = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$", examples=["sub", "groups"])]
OwnField = Annotated[str, Field(pattern=r"^[!#$%&'*+.^`|~0-9A-Za-z-]{1,64}$", examples=["X-Auth-Subject"])]
"""A field that the balancer fills in. No underscore: servers take it for a hyphen."""
Realm = Annotated[str, Field(pattern=r"^[ !#-\[\]-~]{1,64}$", examples=["staff"])]
"""What fits into a quoted string as it is (RFC 9110 section 5.6.4)."""


class ApiKey(Model):
    """One key of an app; only its hash is written down."""

    hash: KeyHash
    """As `balancer api-key` prints it."""
    expires: str | None = None
    """The last day on which it is good, in UTC, such as 2027-01-31."""
    networks: tuple[Network, ...] = ()
    """Only clients of these may use it; none: all."""


class ApiKeys(Model):
    """Keys that programs send along."""

    header: FieldName = "X-API-Key"
    """The request field that has the key; in `Authorization` it stands after `Bearer`."""
    keys: dict[str, ApiKey] = Field(default_factory=dict)
    """By the name that logs and servers know each key by."""
    forward_credentials: bool = False
    """Whether servers are sent the key, too."""


class Basic(Model):
    """Names and passwords, which browsers ask for (RFC 7617)."""

    users: dict[str, str] = Field(default_factory=dict)
    """Name to hash, as `balancer hash-password` prints it."""
    realm: Realm = "restricted"
    """What browsers say that the password is for."""
    forward_credentials: bool = False
    """Whether servers are sent the password, too."""


class Jwt(Model):
    """Signed tokens (RFC 7519). Exactly one of jwks, public_key and secret says whose signature counts."""

    jwks: Annotated[str, Field(pattern=r"^https?://[^\s#@]+$", examples=["https://id.example/jwks.json"])] | None = None
    """Where the issuer shows its public keys: https, or http on this machine. Asked in the background."""
    public_key: str | None = None
    """A public key as PEM, such as ${file:/etc/balancer/issuer.pem}."""
    secret: str | None = None
    """One that the issuer and the balancer share, for HS256, HS384 and HS512; at least 32, 48 or 64 bytes."""
    algorithms: tuple[Algorithm, ...] = ()
    """Those that are taken, whatever a token says. None: RS256, ES256 and EdDSA, or HS256 with a secret."""
    issuer: str | None = None
    """What `iss` must be."""
    audience: tuple[str, ...] = ()
    """`aud` must have one of these."""
    require: dict[Claim, tuple[str, ...]] = Field(default_factory=dict)
    """Claims that must have one of these values; others get 403. `scope` is taken as a list."""
    require_exp: bool = True
    """Whether tokens that never expire are refused."""
    leeway: Annotated[Positive, Field(le=600)] = 30.0
    """How far the issuer's clock may be from ours."""
    token: Annotated[
        str,
        Field(
            pattern=r"^(header(:[!#$%&'*+.^_`|~0-9A-Za-z-]+)?|cookie:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
            examples=["header", "header:X-Token", "cookie:session"],
        ),
    ] = "header"
    """Where it is: header (`Authorization: Bearer`), header:NAME or cookie:NAME."""
    subject: Claim = "sub"
    """The claim that says who it is."""
    claims_to: dict[Claim, OwnField] = Field(default_factory=dict)
    """Claims that servers are told, and in which fields: {email: X-User-Email}."""
    realm: Realm = "restricted"
    forward_credentials: bool = True
    """Whether servers are sent the token, too."""
    refresh: Annotated[Positive, Field(ge=10)] = 600.0
    """How long the issuer's keys are used before it is asked again; the old ones stay while it does not answer."""
    timeout: Positive = 5.0
    """For the issuer's answer."""
    ca: FilePath | None = None
    """A PEM file of authorities for the issuer's certificate; null: those that the system trusts."""


class ForwardAuth(Model):
    """Another service is asked about each request: with 2xx it may pass, any other answer goes to the client."""

    pool: str
    """The pool of that service."""
    path: Annotated[str, Field(pattern=r"^/[^\s#]*$", examples=["/verify"])] = "/"
    copy_headers: tuple[FieldName, ...] = ()
    """Fields of its answer that the route's server is told, such as Remote-User."""
    set_cookie: bool = False
    """Whether clients get the cookies of an answer that lets them pass."""
    subject: FieldName | None = None
    """The field of its answer that says who it is, for logs."""
    timeout: Positive = 5.0
    """For its whole answer; after that the request is refused with 503."""


class Auth(Model):
    """One way to be let in, which routes choose by its name. Exactly one of api_keys, basic, jwt and forward."""

    api_keys: ApiKeys | None = None
    basic: Basic | None = None
    jwt: Jwt | None = None
    forward: ForwardAuth | None = None
    subject_to: OwnField | None = "X-Auth-Subject"
    """The field that tells servers who it is: a key's name, the user, a token's subject. No client can send it."""
    preflight: bool = False
    """Whether the questions that browsers ask before a request of another site (CORS) pass without credentials."""


def credential_fields(auth: Mapping[str, Auth]) -> Iterator[str]:
    """The fields in which clients show who they are."""
    for one in auth.values():
        if one.api_keys is not None:
            yield one.api_keys.header
        if one.jwt is not None and one.jwt.token.startswith("header:"):
            yield one.jwt.token.partition(":")[2]


MEANT = frozenset(("authorization",))
"""Fields that clients have a use for themselves, and that another service may fill in all the same."""


def own_fields(auth: Mapping[str, Auth]) -> Iterator[str]:
    """The fields in which servers are told who somebody is, and in which no client may speak, on whatever route."""
    for one in auth.values():
        if one.subject_to is not None:
            yield one.subject_to
        if one.jwt is not None:
            yield from one.jwt.claims_to.values()
        if one.forward is not None:
            yield from (name for name in one.forward.copy_headers if name.lower() not in MEANT)
