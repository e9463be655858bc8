"""Tokens of a limit that balancers share: a bucket in Redis for each key, by the GCRA."""

from __future__ import annotations

from hashlib import blake2b
from math import ceil
from typing import Final

from balancer.redis_gateway import Unavailable
from balancer.redis_script import Script

BUCKET: Final = Script(
    """local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, depth = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
full = math.max(now, math.min(full, now + depth))
local granted = math.min(tonumber(ARGV[3]), math.floor((now + depth - full) / interval))
if granted < tonumber(ARGV[4]) then
  granted = 0
else
  full = full + math.floor(granted * interval + 0.5)
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return {ok = string.format('%.0f %.0f', granted, full - now)}
"""
)
"""Takes tokens: as many as there are of those wanted, or none if that is less than the least.

What is kept is when the bucket will be full, in microseconds of the server's clock, so all balancers go by one. A clock
that was set back, or a limit that was made smaller, costs no more than an empty bucket. A line of text is what
redis-py reads quickest: an array takes it twice as long.
"""


class Terms:
    """What the script is told of a limit."""

    __slots__ = ("depth", "interval", "longest")

    def __init__(self, rate: float, burst: int) -> None:
        """`rate`: tokens a second. A token's time is exact; what is added for several is rounded to microseconds."""
        interval = 1_000_000 / rate
        self.interval = b"%.6f" % interval
        # Rounded up and one more, or a burst that is no whole number of microseconds would lack its last token.
        depth = ceil(burst * interval) + 1
        self.depth = b"%d" % depth
        self.longest = depth + 1_000_000  # microseconds that a bucket may take to be full, by any honest account


def bucket_key(prefix: str, policy: str, key: str, begun: blake2b) -> str:
    """Where the bucket of a key is. Redis gets no client's address, cookie or API key to see, and nothing long.

    `begun` is the beginning of a hash, with a key of its own.
    """
    digest = begun.copy()
    digest.update(key.encode())
    return f"{prefix}rl:{{{policy}:{digest.hexdigest()}}}"


DIGEST: Final = BUCKET.digest.encode()


LONGEST_ANSWER: Final = 40
"""Characters: two numbers, of which neither is beyond what microseconds of centuries take."""


def told(answer: object, wanted: int, longest: int) -> tuple[int, float]:
    """The tokens that were granted, and the seconds until the bucket is full.

    Raises `Unavailable`, also for more tokens than were wanted and for more than `longest` microseconds: who believed
    that would let everything through, or nothing, for as long as it says.
    """
    if isinstance(answer, bytes) and len(answer) <= LONGEST_ANSWER:
        granted, _, debt = answer.partition(b" ")
        if granted.isdigit() and debt.isdigit() and int(granted) <= wanted and int(debt) <= longest:
            return int(granted), int(debt) / 1_000_000
    raise Unavailable("nonsense")
