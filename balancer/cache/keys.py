"""The key of a URL: the same for URLs that are equivalent by RFC 3986 section 6.2.2 and 6.2.3, and for no others."""

from __future__ import annotations

import re
from typing import Final

from balancer.cache.rules import Rule
from balancer.http1.octets import PERCENT, QUESTION_MARK

_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_BROKEN: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
_memory: dict[tuple[bytes, bytes], bytes] = {}
MEMORY: Final = 1024
_LONGEST_HOST: Final = 255  # RFC 1035 section 2.3.4


def url_key(scheme: bytes, host: bytes, target: bytes, rule: Rule | None = None) -> bytes:
    """`scheme://host/path?query`, normalised. `target` is in origin form, `host` as the request has it.

    Case of scheme and host, the scheme's own port and needless percent-encoding make no other URL. Dot segments,
    slashes, parameters and their order do: servers differ in what they make of them, and a client that could choose
    which of two answers is stored under one key could poison it.
    """
    start = _memory.get((scheme, host))
    if start is None:
        start = _start(scheme, host)
    if PERCENT in target:
        target = normal(target)
    if rule is not None and rule.ignores and QUESTION_MARK in target:
        path, _, query = target.partition(b"?")
        target = path + rule.ignored(b"?" + query)
    return start + target


def normal(target: bytes) -> bytes:
    """A target without needless percent-encoding, and with the rest of it in capitals.

    What is broken stays as it is, all of it: decoded, "%4%31" would pass for "%%34%31".
    """
    return target if _BROKEN.search(target) is not None else _PERCENT.sub(_decode_unreserved, target)


def _start(scheme: bytes, host: bytes) -> bytes:
    lower = scheme.lower()
    name = host.lower()
    port = _DEFAULT_PORTS.get(lower)
    if name.endswith(b":"):
        name = name[:-1]
    elif port is not None and name.endswith(port):
        name = name[: -len(port)]
    start = b"%b://%b" % (lower, name)
    if len(host) <= _LONGEST_HOST:
        if len(_memory) >= MEMORY:
            _memory.clear()
        _memory[scheme, host] = start
    return start


def _decode_unreserved(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16)
    return bytes((code,)) if code in _UNRESERVED else match[0].upper()
