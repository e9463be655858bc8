"""Sessions: what a browser has in the place of a key, once it has shown one."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from aiohttp import web

from api.problems import Problem
from api.request_checks import once
from config.schema import AdminKey

IDLE: Final = 30 * 60.0
"""Seconds without a request after which a session is over."""
WHOLE: Final = 12 * 3600.0
"""Seconds after which it is over in any case."""
MOST: Final = 256
"""Sessions at a time; the one that was quiet longest makes room."""
MOST_OF_KEY: Final = 16
"""Of one key: who has one is not to push out others."""
TOKEN: Final = "X-CSRF-Token"
_SECURE_NAME: Final = "__Host-balancer"
_PLAIN_NAME: Final = "balancer"


@dataclass(slots=True)
class Session:
    """One login. Neither the cookie nor what it allows is in it: the key says that, each time anew."""

    key: str
    """The key's id."""
    hash: str
    """The key's: another one of that id is another key."""
    token: str
    """Which each change must name, as only pages of this site can read it."""
    begun: float
    seen: float

    @property
    def ends(self) -> float:
        """When it is over if nothing more is asked."""
        return min(self.seen + IDLE, self.begun + WHOLE)


class Sessions:
    """All of them, in memory, by the hashes of their cookies: whoever reads this memory's dump is not let in."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()  # the one that was quiet longest is first

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, key: AdminKey) -> tuple[str, Session]:
        """Begin one, always under a new name: the cookie's value, which is kept nowhere, and the session."""
        own = [digest for digest, one in self._sessions.items() if one.key == key.id]
        for digest in own[: max(0, len(own) - MOST_OF_KEY + 1)]:
            del self._sessions[digest]
        while len(self._sessions) >= MOST:
            self._sessions.popitem(last=False)
        now = self._clock()
        cookie = f"balancer_session_{secrets.token_urlsafe(32)}"
        session = Session(key.id, key.hash, f"balancer_csrf_{secrets.token_urlsafe(32)}", now, now)
        self._sessions[_digest(cookie)] = session
        return cookie, session

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, which is thereby used; None when there is none any more."""
        digest = _digest(cookie)
        session = self._sessions.get(digest)
        if session is None:
            return None
        now = self._clock()
        if now >= session.ends:
            del self._sessions[digest]
            return None
        session.seen = now
        self._sessions.move_to_end(digest)
        return session

    def end(self, cookie: str) -> None:
        self._sessions.pop(_digest(cookie), None)


def _digest(cookie: str) -> str:
    return sha256(cookie.encode("utf-8", "surrogateescape")).hexdigest()


def cookie_name(request: web.Request) -> str:
    """With TLS a name that no other host, and nobody without TLS, can have set (RFC 6265bis section 4.1.3.2)."""
    return _SECURE_NAME if request.secure else _PLAIN_NAME


def presented_cookie(request: web.Request) -> str | None:
    """The session's cookie; 400 when there are two, since it is not known which of them this site has set."""
    sent = once(request, "Cookie")
    if sent is None:
        return None
    name = cookie_name(request)
    values = [value for piece in sent.split(";") for own, _, value in [piece.strip().partition("=")] if own == name]
    if len(values) > 1:
        raise Problem(400, f"the cookie {name} is there twice: clear the cookies of this site")
    return values[0] if values else None


def check_token(request: web.Request, session: Session) -> None:
    """403 for a change that does not name the session's token: the cookie alone comes with any request."""
    sent = once(request, TOKEN)
    if sent is None or not compare_digest(sent.encode("utf-8", "surrogateescape"), session.token.encode()):
        what = "is missing" if sent is None else "is not the one of this session"
        raise Problem(403, f"the token in {TOKEN} {what}: GET /api/session tells it")


def set_cookie(request: web.Request, value: str) -> str:
    """The field that makes a browser keep the cookie until it is closed; an empty value makes it forget it."""
    end = "" if value else "; Max-Age=0"
    secure = "; Secure" if request.secure else ""
    return f"{cookie_name(request)}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{end}"
