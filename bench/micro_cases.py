"""The hot functions that `bench.micro` measures. A new one is a function here that returns the call."""

from __future__ import annotations

import os
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from itertools import count, cycle
from pathlib import Path
from random import Random
from time import time  # noqa: TID251  # tokens end by the wall clock

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from balancer.analytics.collector import Collector
from balancer.analytics.salts import Salts
from balancer.decision import Decision
from balancer.ewma import PeakEwma
from balancer.guarding.shared_limits import SharedLimits
from balancer.guards.guard import Guard
from balancer.guards.keyset import of_pem
from balancer.guards.limiter import Policy
from balancer.guards.request_rules import scanner_step
from balancer.guards.tokens import Verifier
from balancer.http1.edits import Edits
from balancer.http1.fields import parse_line
from balancer.http1.framing import response_length
from balancer.http1.head import RequestHead, ResponseHead, parse_request, parse_response
from balancer.http1.outgoing import encode_request, encode_response
from balancer.http1.tag_fields import TagFields
from balancer.limits.retry_budget import RetryBudget
from balancer.server import Server
from balancer.strategy import STRATEGIES
from balancer.tally import Histogram, RouteTally
from balancer.telemetry.access_log import AccessLog
from balancer.telemetry.redaction import Redaction
from balancer.telemetry.sink import Sink
from bench.exchange_case import exchange, hit, miss
from bench.request import SMALL, SMALL_BODY, encoded
from config.cdn import Cdn
from config.rates import Rate
from config.schema import (
    Analytics,
    Auth,
    Config,
    EventMatch,
    EventRule,
    Headers,
    Jwt,
    Limits,
    RateLimit,
    RouteLimit,
    Scanners,
)

Call = Callable[[], object]

CASES: dict[str, Callable[[], Call]] = {}
"""By name, what prepares a case. The prepared call is repeated, so it must not wear out."""

_DATE = b"Mon, 01 Jan 2024 00:00:00 GMT"
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: " + _DATE + b"\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n"
    b"Cache-Control: private, no-cache" % len(SMALL_BODY)
)
_ID = b"4bf92f3577b34da6a3ce929d0e0e4736"


def case(name: str) -> Callable[[Callable[[], Call]], Callable[[], Call]]:
    """Enter a case under this name."""

    def enter(prepare: Callable[[], Call]) -> Callable[[], Call]:
        if name in CASES:
            raise ValueError(f"there are two cases called {name}")
        CASES[name] = prepare
        return prepare

    return enter


@case("an empty call")
def _empty() -> Call:
    """What the measuring itself costs: in every other figure too."""

    def nothing() -> None:
        return

    return nothing


@case("tally: Histogram.observe")
def _observe() -> Call:
    return partial(Histogram().observe, 0.0123)


@case("ewma: PeakEwma.observe")
def _ewma_observe() -> Call:
    """Rising and falling samples in turn, which take different ways."""
    ewma = PeakEwma(decay=10.0, start=0.030)
    now = 0.0

    def observe() -> None:
        nonlocal now
        now += 0.001
        ewma.observe(0.012 if ewma.value > 0.020 else 0.021, now)

    return observe


@case("ewma: PeakEwma.at")
def _ewma_at() -> Call:
    ewma = PeakEwma(decay=10.0, start=0.030)
    ewma.observe(0.012, 0.0)
    return partial(ewma.at, 1.0)


@case("limits: RetryBudget.deposit")
def _deposit() -> Call:
    return RetryBudget(0.2, 3.0).deposit


@case("http1: parse_request")
def _parse_request() -> Call:
    """A browser's head of 14 fields."""
    limits = Limits()
    return partial(parse_request, _head(), limits.header_count, limits.uri)


@case("http1: parse_request, fields remembered")
def _parse_request_again() -> Call:
    limits = Limits()
    return partial(parse_request, _head(), limits.header_count, limits.uri, _request().common)


@case("http1: encode_request")
def _encode_request() -> Call:
    request, edits, client = _request(), Edits(Headers()), _Client()

    def encode() -> None:
        request.common.encoded = None  # as for fields that came for the first time
        encode_request(request, request.target, edits, client, _ID)

    return encode


@case("http1: encode_request, fields remembered")
def _encode_request_again() -> Call:
    request = _request()
    return partial(encode_request, request, request.target, Edits(Headers()), _Client(), _ID)


@case("http1: parse_response")
def _parse_response() -> Call:
    return partial(parse_response, _ANSWER, Limits().header_count)


@case("http1: encode_response")
def _encode_response() -> Call:
    response = _response()
    length = response_length(b"GET", response)
    date = b"Mon, 01 Jan 2024 00:00:00 GMT"
    return partial(
        encode_response,
        response,
        Edits(Headers()),
        length,
        minor=1,
        persistent=True,
        request_id=_ID,
        date=date,
    )


@case("http1: the tags of an answer, for a CDN")
def _tags() -> Call:
    """Of a page that was asked for before; without tags it is one look at the fields."""
    response = _response()
    fields = [*response.fields, parse_line(b"Surrogate-Key: post-42 home news author-7 section-sport")]
    made = TagFields(Cdn(provider="cloudflare"), ("Surrogate-Key", "Cache-Tag"), RouteTally())
    return partial(made.line, fields)


@case("proxy: a request and its answer")
def _exchange() -> Call:
    """On connections that are kept, over transports that cost nothing."""
    return exchange(encoded(8080, SMALL), b"%b\r\n\r\n%b" % (_ANSWER, SMALL_BODY))


@case("proxy: the same of a route with a limit")
def _limited() -> Call:
    return exchange(encoded(8080, SMALL), b"%b\r\n\r\n%b" % (_ANSWER, SMALL_BODY), limited=True)


def _asked_with(line: bytes) -> bytes:
    """The small request with one more field."""
    head, end, body = encoded(8080, SMALL).partition(b"\r\n\r\n")
    return b"%b\r\n%b%b%b" % (head, line, end, body)


def _tokens() -> tuple[Auth, list[bytes]]:
    """Auth by tokens, and the lines of two who are let in for as long as this measures."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    said = {"exp": int(time()) + 86400, "aud": "shop", "iss": "https://id.example/", "groups": ["staff", "admins"]}
    made = [jwt.encode({**said, "sub": f"user-{who}"}, key, "ES256") for who in ("alice", "bob")]
    auth = Auth(jwt=Jwt(public_key=pem, audience=("shop",), claims_to={"groups": "X-Auth-Groups"}))
    return auth, [b"Authorization: Bearer " + one.encode() for one in made]


@case("proxy: the same with a token, on a route without auth")
def _token_unseen() -> Call:
    _, lines = _tokens()
    return exchange(_asked_with(lines[0]), b"%b\r\n\r\n%b" % (_ANSWER, SMALL_BODY))


@case("proxy: the same with a token, on a route with auth")
def _token_again() -> Call:
    """One client, which sends the same head over and over."""
    auth, lines = _tokens()
    return exchange(_asked_with(lines[0]), b"%b\r\n\r\n%b" % (_ANSWER, SMALL_BODY), auth=auth)


@case("proxy: two tokens in turn, on a route without auth")
def _tokens_unseen() -> Call:
    """The head is another each time, as from many clients behind one proxy."""
    _, lines = _tokens()
    return exchange([_asked_with(line) for line in lines], b"%b\r\n\r\n%b" % (_ANSWER, SMALL_BODY))


@case("proxy: two tokens in turn, on a route with auth")
def _tokens_in_turn() -> Call:
    auth, lines = _tokens()
    return exchange([_asked_with(line) for line in lines], b"%b\r\n\r\n%b" % (_ANSWER, SMALL_BODY), auth=auth)


@case("guards: a token for the first time")
def _token() -> Call:
    """ES256: what whoever sends made-up tokens can have us do."""
    auth, lines = _tokens()
    assert auth.jwt is not None
    assert auth.jwt.public_key is not None
    verifier, keys = Verifier(auth.jwt), of_pem(auth.jwt.public_key)
    token = lines[0].rpartition(b" ")[2]
    return partial(verifier.verify, token, keys, time())


@case("guards: a path that scanners might ask for")
def _scanner() -> Call:
    step = scanner_step(Scanners())
    request, client, decision = _request(), _Client(), Decision("main", "192.0.2.1", 1.0)
    return partial(step, request, client, decision)


@case("guards: a limit by client")
def _limit() -> Call:
    """Of clients that come again and again; the last of many is as quick as the first."""
    policy = Policy("all", RateLimit(rate=Rate.of("100000000/s")))
    guard = Guard([policy.step(RouteLimit(policy="all"), "all")])
    head, client = _request(), _Client()
    decisions = cycle([Decision("main", f"192.0.{n >> 8}.{n & 255}", 1.0) for n in range(10_000)])
    return lambda: guard.check(head, client, next(decisions))


@case("guards: a leased limit by client")
def _leased() -> Call:
    """While there are tokens; what it takes to get more is in `bench.limits`."""
    settings = RateLimit(rate=Rate.of("1000/s"), shared="leased")
    config = Config.model_validate({"redis": {"url": "redis://h"}, "listeners": {}, "pools": {}, "routes": {}})
    policy = Policy("all", settings)
    limits = SharedLimits(lambda event, where, detail: None)
    limits.configure(config, {"all": policy})
    guard = Guard([policy.step(RouteLimit(policy="all"), "all")])
    head, client = _request(), _Client()
    decisions = [Decision("main", f"192.0.{n >> 8}.{n & 255}", 1.0) for n in range(10_000)]
    for decision in decisions:
        lot = limits.policies["all"].leases.lot(decision.client, 1.0)
        lot.left, lot.until = 10**12, 10.0
    turns = cycle(decisions)
    return lambda: guard.check(head, client, next(turns))


def _new(number: int) -> bytes:
    return _NEW % number


_NEW = encoded(8080, SMALL).replace(SMALL.encode(), b"/new/%d", 1)


def _storable() -> bytes:
    """Made now: an old one would be stale for its age."""
    head = _ANSWER.replace(b"private, no-cache", b"public, max-age=86400")
    head = head.replace(_DATE, formatdate(usegmt=True).encode("ascii"))
    return b"%b\r\n\r\n%b" % (head, SMALL_BODY)


@case("cache: a request answered from memory")
def _hit() -> Call:
    return hit(encoded(8080, SMALL), _storable())


@case("cache: a miss, stored")
def _miss() -> Call:
    return miss(_new, _storable(), caches=True)


@case("cache: the same without a cache")
def _uncached() -> Call:
    return miss(_new, _storable(), caches=False)


@case("telemetry: AccessLog.observe")
def _access_log() -> Call:
    """A line for an ordinary request, and its part in writing it to a file that takes everything."""
    log = AccessLog(Sink(os.devnull), 1.0, Redaction(()), Random(1), 1.7e9)
    decision = Decision("main", "192.0.2.1", 100.0)
    request = _request()
    decision.method = "GET"
    decision.host = request.host
    decision.target = request.target
    decision.version = b"1.1"
    decision.user_agent = request.value(b"user-agent") or b""
    decision.request_id = _ID
    decision.route = decision.pool = "default"
    decision.server = _servers(1)[0]
    decision.attempts = 1
    decision.sent, decision.first_byte, decision.finished = 100.0001, 100.0123, 100.0124
    decision.status = 200
    decision.bytes_out = len(SMALL_BODY)
    decision.outcome = "ok"
    return partial(log.observe, decision)


def _pick(name: str, count: int) -> Call:
    """A pick among servers of different weights and latencies, for a thousand clients in turn.

    All of them have been seen before: what a strategy keeps for a key is there.
    """
    strategy = STRATEGIES[name](_servers(count), Random(1))
    rng = Random(2)
    clients = [rng.getrandbits(64) for _ in range(1000)]
    for client in clients:
        strategy.pick(client, 1.0)
    turns = cycle(clients)

    def pick() -> None:
        strategy.pick(next(turns), 1.0)

    return pick


for _name in STRATEGIES:
    for _count in (3, 100):
        CASES[f"strategy: {_name}, {_count} servers"] = partial(_pick, _name, _count)


class _Client:
    """A client that is no trusted proxy, as `encode_request` is told of it."""

    def __init__(self) -> None:
        self.trusted = False
        self.scheme = b"http"
        self.shown = "192.0.2.1"
        self.node = b"for=192.0.2.1"
        self.vouched: tuple[bytes, bytes] | None = None


def _head() -> bytes:
    return encoded(8080, SMALL).removesuffix(b"\r\n\r\n")


def _request() -> RequestHead:
    limits = Limits()
    return parse_request(_head(), limits.header_count, limits.uri)


def _response() -> ResponseHead:
    return parse_response(_ANSWER, Limits().header_count)


def _servers(count: int) -> list[Server]:
    servers = []
    for number in range(count):
        name = f"s{number}"
        server = Server(("default", name), f"http://{name}:80", name, 80, PeakEwma(decay=10.0, start=0.030))
        server.weight = 1.0 + number % 3
        server.latency.observe(0.010 + number % 7 / 1000, 0.0)
        servers.append(server)
    return servers


def _event_rules() -> Collector:
    """Twenty rules, as a community site has them."""
    things = ("posts", "comments", "communities", "users", "reports", "messages", "files", "tags", "votes", "pages")
    events = {
        f"{thing}_{number}": EventRule(
            match=(EventMatch(method=("POST",), path=f"/api/{thing}/{{post}}/things{number}"),),
            take={"community": "response-header:X-Community-Id"},
        )
        for number in range(2)
        for thing in things
    }
    salts = Salts(Path(), "a salt of the bench")
    salts.users = b"k" * 32
    settings = Analytics(events=events, queue=1000)
    return Collector(settings, salts)


@case("event rules: no match among 20")
def _event_no_match() -> Call:
    rules = _event_rules().rules
    head = parse_request(b"POST /api/sessions/17/renew?x=1 HTTP/1.1\r\nHost: a.example", 100, 8192)
    return partial(rules.watch, head)


@case("event rules: no match, GET")
def _event_no_method() -> Call:
    rules = _event_rules().rules
    head = parse_request(b"GET /posts/17 HTTP/1.1\r\nHost: a.example", 100, 8192)
    return partial(rules.watch, head)


@case("event rules: a match, and its event")
def _event_match() -> Call:
    collector = _event_rules()
    head = parse_request(b"POST /api/comments/17/things1 HTTP/1.1\r\nHost: a.example", 100, 8192)
    answer = parse_response(b"HTTP/1.1 201 Created\r\nX-User-Id: 42\r\nX-Community-Id: 7\r\nContent-Length: 0", 100)
    decision = Decision("main", "192.0.2.1", 1.0)
    decision.method, decision.status, decision.outcome = "POST", 201, "ok"
    decision.user_agent, decision.finished = b"Mozilla/5.0 (X11; Linux x86_64)", 1.02

    moment = count(1.0, 5.0)  # no two are the same one, tried again

    def call() -> None:
        decision.started = next(moment)
        decision.finished = decision.started + 0.02
        decision.event = collector.rules.watch(head)
        assert decision.event is not None
        decision.event.answer = answer
        collector.observe(decision)
        collector.queue.clear()

    return call
