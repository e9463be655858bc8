"""Where the answers of a request are: the key of its URL, and its lane."""

from __future__ import annotations

import re
from typing import Final

from balancer.cache.keys import url_key
from balancer.cache.rules import Rule
from balancer.caching.order import Lane
from balancer.http1.fields import FORWARDED, FORWARDED_HOST, FORWARDED_OTHER, FORWARDED_PROTO
from balancer.http1.head import RequestHead, is_authority
from balancer.proxy.sides import ClientSide

_ADDRESSES: Final = frozenset(
    (b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip", b"x-forwarded-for")
)
_NODE_PARTS: Final = re.compile(rb'(?i)(?:\A|[;,])[\t ]*(host|proto)[\t ]*=[\t ]*("[^"]*"|[^;,"]*)')


def key_of(client: ClientSide, head: RequestHead, rule: Rule | None) -> bytes:
    """The key alone, under which there are all lanes."""
    if client.trusted:
        return behind_proxy(client, head, rule, ())[0]
    return url_key(client.scheme, head.host, head.target, rule)


def behind_proxy(client: ClientSide, head: RequestHead, rule: Rule | None, lane: Lane) -> tuple[bytes, Lane]:
    """The place of a request of a trusted proxy: what that says of the client's request, servers may go by.

    It says for which host and by which scheme it was made, and perhaps more that tells answers apart. What it says of
    the client's address cannot: answers that differ by address must not be stored.
    """
    scheme = host = None  # the first of each kind is what servers are told
    more: list[bytes] = []
    for field in head.common.special:
        kind = field.kind
        if kind == FORWARDED_PROTO:
            if scheme is None:
                scheme = field.value
        elif kind == FORWARDED_HOST:
            if host is None:
                host = field.value
        elif kind == FORWARDED:
            more += [b"%b=%b" % part for part in _NODE_PARTS.findall(field.value)]
        elif kind == FORWARDED_OTHER and field.name not in _ADDRESSES:
            more.append(field.line)
    if scheme is not None and scheme not in (b"http", b"https"):
        more.append(b"proto:" + scheme)  # what is no scheme could make this another URL's key
        scheme = None
    if host is not None and not is_authority(host):
        more.append(b"host:" + host)
        host = None
    scheme = client.scheme if scheme is None else scheme
    if host is None:
        host = head.host
    elif host != head.host:
        more.append(head.host)
    return url_key(scheme, host, head.target, rule), (*lane, *more) if more else lane
