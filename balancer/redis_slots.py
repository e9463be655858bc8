"""Which node of a cluster a command goes to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from balancer.redis_connection import Part
from config.redis_url import RedisPlace

SLOTS: Final = REDIS_CLUSTER_HASH_SLOTS
_MOST_RANGES: Final = SLOTS
_KEYLESS: Final = frozenset(("PING", "ECHO", "PUBLISH", "TIME", "INFO", "CLUSTER", "CONFIG", "SCRIPT", "CLIENT", "ACL"))
_COUNTED: Final = frozenset(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"))
"""Before their keys they have the number of them."""
_REDIRECTION: Final = re.compile(r"(MOVED|ASK) ([0-9]{1,5}) (\S{0,255}):([0-9]{1,5})")


def slot_of(command: Sequence[Part]) -> int | None:
    """The slot of its first key; None: it has none, and any node will do.

    All its keys have to be of one slot, as everywhere in a cluster. Commands that have their first key elsewhere, such
    as XREAD, are not known here: nobody uses one.
    """
    name = str(command[0]) if not isinstance(command[0], bytes) else command[0].decode("latin-1")
    name = name.upper()
    if name in _COUNTED:
        key = command[3] if len(command) > 3 and int(command[2]) else None
    else:
        key = command[1] if len(command) > 1 and name not in _KEYLESS else None
    if key is None:
        return None
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


class SlotMap:
    """Who has which slots, as the cluster tells it."""

    __slots__ = ("masters", "owners")

    def __init__(self) -> None:
        self.owners: list[RedisPlace | None] = [None] * SLOTS
        self.masters: set[RedisPlace] = set()

    @classmethod
    def of(cls, answer: object, asked: RedisPlace) -> SlotMap | None:
        """From the answer to CLUSTER SLOTS of the node that was `asked`; None if it makes no sense, or has no slot."""
        if not isinstance(answer, list) or not 0 < len(answer) <= _MOST_RANGES:
            return None
        slots = cls()
        for part in answer:
            if not isinstance(part, list) or len(part) < 3 or not isinstance(part[2], list) or len(part[2]) < 2:
                return None
            first, last, (host, port, *_) = part[:3]
            if not all(isinstance(number, int) for number in (first, last, port)):
                return None
            place = _place(host, port, asked)
            if place is None or not 0 <= first <= last < SLOTS:
                return None
            slots.owners[first : last + 1] = [place] * (last + 1 - first)
            slots.masters.add(place)
        return slots


def redirection(text: str, asked: RedisPlace) -> tuple[str, int, RedisPlace] | None:
    """What an error of the node that was `asked` says: MOVED or ASK, the slot, and who has it; None: nothing."""
    found = _REDIRECTION.fullmatch(text)
    if found is None:
        return None
    place = _place(found[3], int(found[4]), asked)
    slot = int(found[2])
    return (found[1], slot, place) if place is not None and slot < SLOTS else None


def _place(host: object, port: int, asked: RedisPlace) -> RedisPlace | None:
    """A node that does not know its own address leaves it out: it is where one has asked."""
    if isinstance(host, bytes):
        host = host.decode("utf-8", "replace")
    if host is None or host in ("", "?"):
        host = asked.host
    if not isinstance(host, str) or not host.isprintable() or not 0 < port < 65536:
        return None
    return RedisPlace(host.strip("[]"), port)
