"""What a pool's strategy hashes on: the client, the path, or a field, cookie or query parameter."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from balancer.http1.cookies import cookie
from balancer.http1.head import RequestHead
from balancer.strategy import Strategy, key_of

Key = Callable[[RequestHead, str], int]


def hash_key(strategy: Strategy, source: str) -> Key | None:
    """The function from a request and its client's address to the strategy's key; None when it needs none.

    `source` is as `config.schema.HashKey.key` has it. What is missing is hashed by client, so that the requests
    without it do not all go to one server.
    """
    if not strategy.keyed:
        return None
    kind, _, name = source.partition(":")
    wanted = name.encode("ascii")
    if kind == "path":
        return lambda head, client: key_of(head.target.partition(b"?")[0])
    if kind == "header":
        lower = wanted.lower()
        return lambda head, client: key_of(head.value(lower) or client.encode())
    if kind == "cookie":
        return lambda head, client: key_of(cookie(head, wanted) or client.encode())
    if kind == "query":
        return lambda head, client: key_of(query(head.target, wanted) or client.encode())
    return lambda head, client: key_of(client.encode())


def query(target: bytes, name: bytes) -> bytes | None:
    """The value of a query parameter, percent-decoded, or None."""
    for pair in target.partition(b"?")[2].split(b"&"):
        key, _, value = pair.partition(b"=")
        if unquote_to_bytes(key) == name:
            return unquote_to_bytes(value)
    return None
