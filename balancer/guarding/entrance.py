"""The ways of a plane to be let in: made anew with each configuration, but for those that stay as they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import time as wall_time  # noqa: TID251  # dates of expiry are wall-clock time
from typing import NamedTuple

from balancer.guarding.forward import ForwardWay
from balancer.guarding.looks import Threads
from balancer.guards.api_keys import ApiKeyWay
from balancer.guards.auth import AuthStep, Guesses, Wall, Way
from balancer.guards.basic import BasicWay
from balancer.guards.keyset import KeySet, of_pem, of_secret
from balancer.guards.token_way import Fixed, Issuer, TokenWay
from balancer.http1.fields import keep_out
from balancer.pool import Pool
from balancer.proxy.sides import Surroundings
from balancer.routing import Route
from balancer.tally import AuthTally, RouteTally
from config.auth import Auth, ForwardAuth, Jwt, credential_fields
from config.schema import Route as RouteSettings


class _Kept(NamedTuple):
    """A way, and what it was made of."""

    settings: Auth
    issuer: object
    way: Way


class Entrance:
    """Makes the steps by which routes ask who a request is from. What ways remember of clients outlives a reload."""

    def __init__(self, around: Surroundings, secret: bytes) -> None:
        """`secret` is this process's own."""
        self.tallies: dict[str, AuthTally] = {}
        self._around = around
        self._secret = secret
        self._wall = Wall()
        self._guesses = Guesses()
        self._threads = Threads()
        self._ways: dict[str, _Kept] = {}
        self._settings: Mapping[str, Auth] = {}
        self._gone: tuple[str, ...] = ()

    def second_passed(self, now: float) -> None:
        """Once a second: the clocks drift apart when the system's is set."""
        self._wall.offset = wall_time() - now

    def configure(
        self,
        settings: Mapping[str, Auth],
        pools: Mapping[str, Pool],
        issuers: Mapping[str, Issuer],
        now: float,
        gone: Iterable[str] = (),
    ) -> None:
        """Take a configuration; `step` is then asked for each route with `auth`.

        `gone` are fields of clients that other services are not told.
        """
        self.second_passed(now)
        keep_out([name.lower().encode("ascii") for name in credential_fields(settings)])
        self._settings = settings
        self._gone = tuple(gone)
        old, self._ways = self._ways, {}
        for name, one in settings.items():
            known = old.get(name)
            issuer = issuers.get(name)
            # A way that leads to a pool is made of its settings, too.
            if known is None or known.settings != one or known.issuer is not issuer or one.forward is not None:
                known = _Kept(one, issuer, self._way(name, one, pools, issuer))
            self._ways[name] = known
        for name in self.tallies.keys() - settings.keys():
            del self.tallies[name]

    def step(self, names: Sequence[str]) -> AuthStep:
        """What a route asks: any of these ways lets a request pass."""
        preflight = any(self._settings[name].preflight for name in names)
        return AuthStep({name: self._ways[name].way for name in names}, self._wall, preflight=preflight)

    def close(self) -> None:
        self._threads.close()

    def _way(self, name: str, auth: Auth, pools: Mapping[str, Pool], issuer: Issuer | None) -> Way:
        tally = self.tallies.setdefault(name, AuthTally())
        subject_to = auth.subject_to
        if auth.api_keys is not None:
            return ApiKeyWay(auth.api_keys, subject_to, tally, self._wall, self._guesses)
        if auth.basic is not None:
            looks = self._threads
            return BasicWay(auth.basic, subject_to, tally, self._wall, self._guesses, looks, self._secret)
        if auth.jwt is not None:
            return TokenWay(auth.jwt, subject_to, tally, self._wall, issuer or Fixed(_keys(auth.jwt)))
        assert auth.forward is not None  # the loader refuses those with none of the four
        route = _route_to(auth.forward, pools[auth.forward.pool], self._gone)
        return ForwardWay(auth.forward, subject_to, tally, route, self._around)


def _keys(settings: Jwt) -> KeySet:
    if settings.secret is not None:
        return of_secret(settings.secret)
    assert settings.public_key is not None  # the loader refuses those with none of the three
    return of_pem(settings.public_key)


def _route_to(settings: ForwardAuth, pool: Pool, gone: Iterable[str]) -> Route:
    """How the questions get to the service: with the time they have, and with what it has to know of the request."""
    own = pool.settings
    timeouts = own.timeouts.model_copy(update={"total": settings.timeout})
    headers = own.headers
    if headers.forwarded not in ("x-forwarded", "both"):
        headers = headers.model_copy(update={"forwarded": "both"})
    route = RouteSettings(pool=settings.pool, timeouts=timeouts, headers=headers)
    return Route("", route, pool, RouteTally(), gone=gone)
