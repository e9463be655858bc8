"""What is wrong with `redis`."""

from __future__ import annotations

from typing import Final

from config.findings import Findings
from config.redis_url import BadUrl, RedisUrl
from config.schema import Redis, ServerTls

SECURED: Final = {"server": "rediss://", "sentinel": "rediss+sentinel://", "cluster": "rediss+cluster://"}


def check_redis(redis: Redis, found: Findings) -> None:
    """The URL, and whether what is said of TLS has any effect. No message repeats any of the URL."""
    if not redis.url:
        return
    try:
        url = RedisUrl.of(redis.url)
    except BadUrl as error:
        found.add(("redis", "url"), str(error))
        return
    if not url.tls:
        if redis.tls != ServerTls():
            found.warn(("redis", "tls"), f"has no effect: redis.url must begin with {SECURED[url.kind]} for TLS")
    elif not redis.tls.verify:
        found.warn(("redis", "tls", "verify"), "is false: whoever answers is believed to be the server")
