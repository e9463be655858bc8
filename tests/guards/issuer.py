"""An issuer of tokens: real keys, real tokens, and a real server that shows the keys."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
SECRET = "a secret that issuer and balancer share, of at least sixty-four bytes"


def private(kind: str, number: int = 0) -> Private:
    return _private(kind, number)


@cache
def _private(kind: str, number: int) -> Private:
    """A key, made once for all tests: one of RSA takes a tenth of a second."""
    if kind.startswith(("RS", "PS")):
        return rsa.generate_private_key(65537, 2048)
    if kind == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ES384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind == "ES512":
        return ec.generate_private_key(ec.SECP521R1())
    return ed25519.Ed25519PrivateKey.generate()


def pem(key: Private) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(key: Private, **more: object) -> dict[str, Any]:
    """The public half as an issuer shows it."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return {**RSAAlgorithm.to_jwk(public, as_dict=True), **more}
    if isinstance(public, ec.EllipticCurvePublicKey):
        return {**ECAlgorithm.to_jwk(public, as_dict=True), **more}
    return {**OKPAlgorithm.to_jwk(public, as_dict=True), **more}


def claims(**more: object) -> dict[str, object]:
    """What a good token says; a value of None leaves one out."""
    said = {"sub": "alice", "exp": int(time.time()) + 600, "iss": "https://id.example/", "aud": "shop", **more}
    return {name: value for name, value in said.items() if value is not None}


def token(
    said: Mapping[str, object] | None = None,
    kind: str = "ES256",
    number: int = 0,
    headers: Mapping[str, object] | None = None,
) -> str:
    key = SECRET if kind.startswith("HS") else private(kind, number)
    made: str = jwt.encode(
        dict(said if said is not None else claims()), key, algorithm=kind, headers=dict(headers or {})
    )
    return made


def raw(header: object, payload: object, signature: bytes = b"x") -> str:
    """A token in whatever form, signed or not."""
    parts = [json.dumps(part).encode() if not isinstance(part, bytes) else part for part in (header, payload)]
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))


class Shown:
    """A server that shows a set of keys, and counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.status = 200
        self.body: bytes | None = None
        self.asked = 0
        self.port = 0
        self.headers: dict[str, str] = {}
        self.start = "http://127.0.0.1"
        self.ready = asyncio.Event()
        """Nothing is answered before."""
        self.ready.set()

    @property
    def url(self) -> str:
        return f"{self.start}:{self.port}/jwks.json"

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        await self.ready.wait()
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return web.Response(status=self.status, body=body, headers=self.headers)


@asynccontextmanager
async def issuing(*keys: dict[str, Any], tls: ssl.SSLContext | None = None) -> AsyncIterator[Shown]:
    shown = Shown()
    shown.keys = list(keys)
    app = web.Application()
    app.router.add_get("/jwks.json", shown.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    if tls is not None:
        shown.start = "https://localhost"
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    shown.port = runner.addresses[0][1]
    try:
        yield shown
    finally:
        await runner.cleanup()
