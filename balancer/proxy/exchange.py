"""One request and its answer: the only place where the client's side and the server's side meet.

It takes every decision and holds no socket. The client's connection calls `start`, `request_body`, `request_end`
and `client_gone`; the server's calls `upstream_ready`, `response_head`, `response_body`, `response_end` and
`upstream_failed`; the sweeper calls `deadline_passed`. A server's side ends each turn with `flush`, so that a head
and the first piece of its body leave in one write.

States:

    QUEUED ──> CONNECTING ──> SENT ──> ANSWERING ──> OVER
       ^            |           |           |
       └── another server ──────┘           └──> TUNNEL

Up to SENT the request may go to another server (`_again` says when). From the first byte that has gone to the
client there is neither a second try nor an error page: a broken answer is cut, so that it looks broken.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from balancer.compression import DESCRIBING, Packing, packing
from balancer.decision import Decision
from balancer.http1 import canned
from balancer.http1.careful import is_secure
from balancer.http1.fields import Field, nominated
from balancer.http1.framing import CHUNKED, UNTIL_CLOSE, chunk, last_chunk
from balancer.http1.head import RequestHead, ResponseHead, without, without_alike
from balancer.http1.outgoing import (
    encode_interim,
    encode_request,
    encode_response,
    encode_switch,
    switches_to,
    tunnels,
)
from balancer.pool import Pool
from balancer.proxy.attempts import Attempts
from balancer.proxy.sides import NEVER, ClientSide, Surroundings, UpstreamSide
from balancer.routing import Route
from balancer.server import Server
from balancer.tally import ListenerTally

QUEUED: Final = 0
CONNECTING: Final = 1
SENT: Final = 2
ANSWERING: Final = 3
TUNNEL: Final = 4
OVER: Final = 5

NOWHERE: Final[list[Server]] = []
WITHOUT_BODY: Final = frozenset((b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"))
"""Methods whose body some servers do not read (RFC 9110 section 9.3.1). Such a server takes it for the next request on
the connection, which could be another client's: the connection is not used again."""
NO_NAMES: Final[frozenset[bytes]] = frozenset()
MOST_INTERIM: Final = 10
"""1xx answers to one request. Servers send one or two; one that never comes to the point is not waited for."""


class Exchange:
    """See the module. `deadline` is the monotonic time by which the whole exchange must be over."""

    __slots__ = (
        "_attempts",
        "_body",
        "_body_size",
        "_bound",
        "_client_full",
        "_held_back",
        "_interim_left",
        "_key",
        "_lane_cookie",
        "_nominated",
        "_out",
        "_queued_at",
        "_request",
        "_request_over",
        "_server",
        "_upstream",
        "around",
        "chunked_out",
        "client",
        "deadline",
        "decision",
        "extra",
        "head",
        "listener",
        "packing",
        "persistent",
        "pool",
        "route",
        "state",
        "wait_until",
    )

    def __init__(
        self,
        around: Surroundings,
        client: ClientSide,
        head: RequestHead,
        route: Route,
        decision: Decision,
        listener: ListenerTally,
        lane_cookie: bytes | None = None,
    ) -> None:
        """`lane_cookie` is a Set-Cookie value for the answer, from the split that chose `route`."""
        self.around = around
        self.client = client
        self.head = head
        self.route = route
        self.pool: Pool = route.pool
        self.decision = decision
        self.listener = listener
        self.state = QUEUED
        self.persistent = head.common.persistent
        self.deadline = decision.started + route.total if route.total else NEVER
        self.wait_until = NEVER  # while queued
        self.extra = decision.extra  # more lines for the answer's head
        self.chunked_out = False  # the answer's body goes out in chunks
        self.packing: Packing | None = None  # the coder that the answer's body goes through
        self._request_over = not head.common.has_body
        self._queued_at = 0.0
        self._client_full = False  # the client does not take what it is sent
        self._held_back = False  # it has not taken some of the answer at once
        self._interim_left = MOST_INTERIM
        self._nominated: frozenset[bytes] = NO_NAMES  # what the answer's Connection field removes, trailers too
        self._request = b""  # the encoded head
        self._body: list[bytes] | None = None if self._request_over else []  # as sent, kept for sending again
        self._body_size = 0
        self._key = 0
        self._lane_cookie = lane_cookie
        self._bound: Server | None = None  # the server that the client's sticky cookie names
        self._server: Server | None = None  # the one being asked; `inflight` is counted while it is set
        self._upstream: UpstreamSide | None = None
        self._attempts: Attempts | None = None  # None: nothing has failed yet
        self._out: list[bytes] = []  # what this turn has for the client

    # The way to a server.

    def start(self) -> None:
        """Begin: answer at once, or find a server."""
        route = self.route
        decision = self.decision
        around = self.around
        pool = self.pool
        head = self.head if route.compress is None else route.compress.restored(self.head)
        target = head.target if route.rewrite is None else route.rewrite(head.target)
        self._request, decision.request_id = encode_request(
            head, target, route.edits, self.client, b"%032x" % around.rng.getrandbits(128)
        )
        if head.common.length > route.body_limit:
            self.refuse(413, f"the request body is larger than {route.body_limit} bytes")
            return
        pool.budget.deposit()
        if route.key is not None:
            self._key = route.key(head, decision.client)
        server = self._pick(decision.started)
        if server is not None:
            self._ask(server)
        elif pool.may_wait(NOWHERE):
            self._queue(decision.started)
        else:
            self._give_up(503, "no server of this site can be asked at the moment", "unserved")

    def _pick(self, now: float) -> Server | None:
        """The server that the client's cookie names, or the one whose turn it is."""
        pool = self.pool
        tried = self._attempts.tried if self._attempts is not None else NOWHERE
        if pool.sticky is not None:
            self._bound = pool.bound(self.head.value(b"cookie") or b"", tried)
            if self._bound is not None:
                return self._bound
        return pool.pick(self._key, now, tried)

    def _queue(self, now: float) -> None:
        """Wait for a server. However often a request does so, its time began with the first."""
        pool = self.pool
        self.state = QUEUED
        self._queued_at = now
        if self.wait_until == NEVER:
            pool.tally.queued += 1
            self.wait_until = now + pool.settings.connections.queue_wait
        pool.wait(self)

    def try_now(self) -> bool:
        """The pool says that a server may be free: ask it, or go on waiting."""
        now = monotonic()
        server = self._pick(now)
        if server is None:
            return False
        self._leave_queue(now)
        self._ask(server)
        return True

    def _leave_queue(self, now: float) -> None:
        self.pool.leave(self)
        self.decision.queued += now - self._queued_at

    def _ask(self, server: Server, *, fresh: bool = False) -> None:
        self.state = CONNECTING
        if self._server is not server:  # otherwise it goes on under the count that it has
            self._server = server
            self.pool.take(server)
        decision = self.decision
        decision.server = server
        decision.attempts += 1
        # Only what may be repeated risks a pooled connection that its server may just be closing.
        repeatable = self.head.method in self.route.retry_methods
        self.around.connect(server, self, recent_only=not repeatable, fresh=fresh)

    def upstream_ready(self, upstream: UpstreamSide, reused: bool) -> None:
        """A connection is there: send all that has come in so far."""
        self._upstream = upstream
        self.state = SENT
        decision = self.decision
        decision.reused = reused
        body = self._body
        if body:
            data = b"".join((self._request, *body))
        else:
            data = self._request
        decision.sent = now = monotonic()
        upstream.send(data)
        if self._request_over or self._waits_for_invitation():
            upstream.deadline = min(now + self.route.first_byte, self.deadline)
        else:
            upstream.deadline = self.deadline
        if not self._request_over:
            self.client.resume()

    # The request's body.

    def _waits_for_invitation(self) -> bool:
        """Whether the client holds its body back until the server wants it (RFC 9110 section 10.1.1)."""
        return self.head.common.expects_continue and not self._request_over and self.decision.bytes_in == 0

    def request_body(self, pieces: list[bytes]) -> None:
        """The next pieces of the client's body, unframed."""
        size = sum(map(len, pieces))
        if self._upstream is not None and self.state == SENT and self._waits_for_invitation():
            self._upstream.deadline = self.deadline
        self.decision.bytes_in += size
        if self.decision.bytes_in > self.route.body_limit:
            self._too_large()
            return
        self._pass_on(chunk(pieces) if self.head.common.chunked else b"".join(pieces))

    def request_end(self, trailers: list[Field]) -> None:
        """The client's body is complete."""
        self._request_over = True
        if self.head.common.chunked:
            if trailers:
                trailers = without_alike(trailers, self.route.edits.request_gone | nominated(self.head.common.names))
            self._pass_on(last_chunk(trailers))
        upstream = self._upstream
        if upstream is not None and self.state == SENT:
            self.decision.sent = now = monotonic()
            upstream.deadline = min(now + self.route.first_byte, self.deadline)
        else:
            self._await_more()

    def _pass_on(self, data: bytes) -> None:
        """Send a piece on, and keep it as long as the request may have to be sent again."""
        if self.state in (OVER, TUNNEL):
            return
        body = self._body
        if body is not None:
            self._body_size += len(data)
            if self._body_size <= self.route.replay_body or self._upstream is None:
                body.append(data)
            else:
                self._body = None
        if self._upstream is None:
            self.client.hold()  # there is no connection yet: what was read is kept, no more is read
        else:
            self._upstream.send(data)
            self._await_more()

    def _too_large(self) -> None:
        if self.state == ANSWERING:
            self._cut("refused")
        else:
            self._drop_attempt()
            self.refuse(413, f"the request body is larger than {self.route.body_limit} bytes")

    # The answer.

    def response_head(self, response: ResponseHead, length: int) -> None:
        """A head has come from the server; `length` is its body's, as `framing.response_length` gives it."""
        status = response.status
        if status < 200:
            self._interim(response)
            return
        decision = self.decision
        server = self._server
        pool = self.pool
        assert server is not None
        now = monotonic()
        decision.first_byte = now
        failed = status >= 500 or status == 429
        server.tally.codes[status] += 1
        server.tally.latency.observe(now - decision.sent)
        if failed:
            server.latency.punish(pool.settings.response_time.penalty, now)
        else:
            server.latency.observe(now - decision.sent, now)
        pool.observe(server, status not in self.route.failure_statuses, now)
        if status in self.route.retry_statuses and self._again("status", stale=False):
            return
        self._answer_with(response, length)

    def _answer_with(self, response: ResponseHead, length: int) -> None:
        """This answer is the one that the client gets: its head. From here on there is no other server."""
        self.state = ANSWERING
        decision = self.decision
        decision.status = response.status
        if decision.event is not None:
            decision.event.answer = response
        pool = self.pool
        server = self._server
        assert server is not None
        head = self.head
        if self.route.compress is not None:
            response, length = self._pack(response, length)
        persistent = self.persistent and self._request_over and not self.client.last
        if length < 0:
            if head.minor == 0:
                persistent = False
                length = UNTIL_CLOSE
            else:
                self.chunked_out = True
                length = CHUNKED
                if response.names:
                    self._nominated = nominated(response.names)
        self.persistent = persistent
        if self._lane_cookie is not None or (pool.sticky is not None and server is not self._bound):
            self.extra += self._cookies(server)
        edits = self.route.edits
        if edits.for_cdn is not None and self.client.trusted:
            self.extra += edits.for_cdn.tag_line(response.fields)
        self._out.append(
            encode_response(
                response,
                edits,
                length,
                minor=head.minor,
                persistent=persistent,
                request_id=decision.request_id,
                date=self.around.date,
                extra=self.extra,
                secure=edits.careful is not None and self._is_secure(),
            )
        )

    def _is_secure(self) -> bool:
        return is_secure(self.head, self.client.scheme, trusted=self.client.trusted)

    def _pack(self, response: ResponseHead, length: int) -> tuple[ResponseHead, int]:
        """The answer's head, and its body's length, as this client gets them: compressed, if that suits both."""
        compress = self.route.compress
        assert compress is not None
        prepared = compress.prepared(self.head, response, length)
        coding = prepared.coding
        if coding is None or self.head.method == b"HEAD":
            return prepared.response, length
        self.packing = packing(coding, length, self.route.tally, events=prepared.events)
        if self.packing is None:
            return compress.edited(response, None), length
        return prepared.response, CHUNKED

    def _cookies(self, server: Server) -> bytes:
        """The lines that bring the client back to its lane and its server."""
        cookies = [self._lane_cookie]
        if self.pool.sticky is not None and server is not self._bound:
            cookies.append(self.pool.sticky.cookie(server))
        return b"".join(b"Set-Cookie: %b\r\n" % cookie for cookie in cookies if cookie)

    def _interim(self, response: ResponseHead) -> None:
        """A 1xx response: a switch of protocols that was asked for, or one to pass through."""
        if response.status != 101:
            self._interim_left -= 1
            if self._interim_left < 0:
                self.upstream_failed("malformed", f"it sent more than {MOST_INTERIM} interim answers")
            elif self.head.minor == 1:
                self._out.append(encode_interim(response, self.route.edits))
                if response.status == 100 and self._waits_for_invitation() and self._upstream is not None:
                    self._upstream.deadline = self.deadline
                    self.client.invite()
            return
        if not switches_to(response, tunnels(self.head.common.upgrade, self.route.edits.tunnels)):
            self.upstream_failed("malformed", "it switched to a protocol that was not asked for")
            return
        self.state = TUNNEL
        decision = self.decision
        decision.first_byte = monotonic()
        decision.status = 101
        upstream, server = self._upstream, self._server
        assert upstream is not None
        assert server is not None
        server.tally.codes[101] += 1
        server.tally.latency.observe(decision.first_byte - decision.sent)
        self._out.append(encode_switch(response, self.route.edits))
        self.flush()
        server.tunnels += 1
        self.listener.tunnels += 1
        self.client.tunnel(upstream, self.route.tunnel)
        upstream.tunnel(self.client, self.route.tunnel)

    def response_body(self, pieces: list[bytes]) -> None:
        """The next pieces of the server's body, unframed."""
        if self.packing is not None:
            self._send_packed(self.packing.feed(pieces))
        elif self.chunked_out:
            data = chunk(pieces)
            self.decision.bytes_out += sum(map(len, pieces))
            self._out.append(data)
        else:
            for piece in pieces:
                self.decision.bytes_out += len(piece)
                self._out.append(piece)

    def flush(self) -> None:
        """The server's side has nothing more this turn."""
        if self._upstream is not None:
            self._await_more()
        if self.packing is not None:
            self._send_packed(self.packing.flush())
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self.client.send(data)

    def _send_packed(self, data: bytes) -> None:
        if data:
            self.decision.bytes_out += len(data)
            self._out.append(chunk([data]))

    def _unpack(self) -> None:
        """There is no more to be compressed, whether or not that was all of it."""
        if self.packing is not None:
            self.packing.drop()
            self.packing = None

    def _await_more(self) -> None:
        """Give the rest of an answer its time anew, after bytes in either direction."""
        if self.state == ANSWERING and self._upstream is not None and not self._client_full:
            self._upstream.deadline = min(monotonic() + self.route.idle, self.deadline)

    def response_end(self, trailers: list[Field], reusable: bool) -> None:
        """The server's answer is complete."""
        if self.packing is not None:
            self._send_packed(self.packing.finish())
            self._unpack()
            trailers = without(trailers, DESCRIBING)
        if self.chunked_out:
            if trailers:
                trailers = without(trailers, self.route.edits.response_drop | self._nominated)
            self._out.append(last_chunk(trailers))
        upstream = self._upstream
        assert upstream is not None
        self._upstream = None
        self.flush()
        if self.head.common.has_body and self.head.method in WITHOUT_BODY:
            reusable = False
        upstream.release(reusable and self._request_over)
        self._leave_server()
        self._over("ok")
        self.client.finished(self.persistent)

    # What goes wrong.

    def upstream_failed(self, kind: str, reason: str) -> None:
        """The server's side is lost: kind is connect, connect-timeout, reset, timeout or malformed."""
        if self.state in (OVER, TUNNEL):
            return
        server = self._server
        assert server is not None
        if self.state == ANSWERING:
            # A server whose answer was not taken for a while has its own time limit for that, and its right to it.
            if self._held_back and kind == "reset":
                server.tally.failures[kind] += 1
            else:
                self._blame(server, kind)
            self._cut("upstream-timeout" if kind == "timeout" else "upstream-reset")
            return
        upstream = self._upstream
        stale = self.decision.reused and self.state == SENT and upstream is not None and not upstream.heard
        if self._again(kind, stale=stale):
            return
        timed_out = kind in ("timeout", "connect-timeout")
        outcome = {"connect": "upstream-connect", "connect-timeout": "upstream-timeout"}.get(kind, f"upstream-{kind}")
        self._give_up(504 if timed_out else 502, f"the server failed: {reason}", outcome)

    def out_of_means(self, reason: str) -> None:
        """No connection can be opened, and that is this machine's fault and no server's."""
        if self.state == CONNECTING:
            self._give_up(503, f"the balancer is out of means: {reason}", "unserved")

    def _blame(self, server: Server, kind: str) -> None:
        """Count a failure against a server."""
        now = monotonic()
        server.tally.failures[kind] += 1
        if kind == "reset" and not self._request_over:
            return  # it may have answered and closed before it had read everything, which is its right
        server.latency.punish(self.pool.settings.response_time.penalty, now)
        self.pool.observe(server, ok=False, now=now)

    def _again(self, kind: str, *, stale: bool) -> bool:
        """After a failure, try once more if the rules, the pool and its budget allow it."""
        server = self._server
        pool = self.pool
        assert server is not None
        if self._attempts is None:
            self._attempts = Attempts()
        attempts = self._attempts
        complete = self._body is not None or not self.head.common.has_body
        unheard = self._interim_left == MOST_INTERIM  # hints of one server are not for the answer of another
        repeatable = complete and unheard and self.head.method in self.route.retry_methods
        verdict = attempts.verdict(kind, self.route, repeatable=repeatable, stale=stale)
        if verdict == "same-server":
            self._drop_upstream()
            self.decision.attempts -= 1
            self._ask(server, fresh=True)
            return True
        if kind != "status":  # an answer has been judged already
            self._blame(server, kind)
        if verdict == "give-up":
            return False
        now = monotonic()
        if verdict == "elsewhere-on-budget" and not pool.budget.withdraw(now):
            pool.tally.budget_exhausted += 1
            return False
        tried = [*attempts.tried, server]
        another = pool.pick(self._key, now, tried) or pool.spare(tried)
        if another is None and not pool.may_wait(tried):
            return False
        attempts.tried = tried
        server.tally.retries[kind] += 1
        decision = self.decision
        if decision.reasons is None:
            decision.reasons = []
        decision.reasons.append((server.name, kind))
        self._drop_upstream()
        self._server = None
        if another is None:
            self._queue(now)
        else:
            self._ask(another)
        pool.give(server)  # only now, or somebody who waits could take what was picked for us
        return True

    def _drop_attempt(self) -> None:
        """Leave the server being asked, whatever it is doing, or the queue."""
        if self.state == QUEUED and self.wait_until != NEVER:
            self._leave_queue(monotonic())
        self._drop_upstream()
        self._leave_server()

    def _drop_upstream(self) -> None:
        """Let go of the connection, or of the one that is being opened."""
        self._out.clear()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.release(False)
        elif self.state == CONNECTING:
            self.around.gave_up(self)

    def _leave_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            self.pool.give(server)

    def _give_up(self, status: int, reason: str, outcome: str) -> None:
        """No server will answer: the balancer does."""
        self._drop_attempt()
        self._answer(status, reason, outcome)

    def fail(self, status: int, reason: str, outcome: str) -> None:
        """Answer in the place of a server that was never asked, or was asked on behalf of others as well."""
        if not self.decision.request_id:
            self.decision.request_id = b"%032x" % self.around.rng.getrandbits(128)
        self._answer(status, reason, outcome)

    def refuse(self, status: int, reason: str) -> None:
        """The request itself is at fault."""
        self._answer(status, reason, "refused")

    def _answer(self, status: int, reason: str, outcome: str) -> None:
        decision = self.decision
        decision.status = status
        edits = self.route.edits
        accept = self.head.value(b"accept")
        body, content_type, extra = canned.told(
            status, reason, decision.request_id, accept, self.around.error_page, edits.response_drop
        )
        persistent = self.persistent and self._request_over and not self.client.last
        if status == 503:
            extra += b"Retry-After: 1\r\n"
        if edits.request_id and decision.request_id:
            extra += b"%b: %b\r\n" % (edits.request_id, decision.request_id)
        extra += edits.response_add
        if edits.careful is not None:
            extra += edits.careful.beside(extra, secure=self._is_secure())
        self.client.send(
            canned.answer(
                status,
                body,
                date=self.around.date,
                content_type=content_type,
                extra=extra,
                without_body=self.head.method == b"HEAD",
                persistent=persistent,
                minor=self.head.minor,
            )
        )
        decision.bytes_out = 0 if self.head.method == b"HEAD" else len(body)
        if outcome != "refused":
            self.pool.tally.unserved[status] += 1
        self._over(outcome)
        self.client.finished(persistent)

    def _cut(self, outcome: str) -> None:
        """The answer cannot be completed, and its beginning is with the client already."""
        self.flush()
        self._drop_attempt()
        self._over(outcome)
        self.client.cut()

    def queue_closed(self) -> None:
        """The pool has left the configuration while this request waited."""
        self._give_up(503, "this site has just been reconfigured", "unserved")

    def wait_expired(self) -> None:
        """The sweeper says that `wait_until` has passed."""
        self.pool.tally.queue_timeouts += 1
        self._give_up(503, "all servers of this site are busy", "unserved")

    def deadline_passed(self) -> None:
        """The server's side has not done in time what was awaited, or the whole exchange takes too long."""
        if self.state == ANSWERING:
            if monotonic() < self.deadline or not self._held_back:
                self.upstream_failed("timeout", "it stopped in the middle of its answer")
            else:
                self._cut("deadline")  # perhaps for a client that took its time: nobody is to blame
        elif monotonic() >= self.deadline:
            if self.state == SENT and self._request_over and self._server is not None:
                self._blame(self._server, "timeout")
            self._give_up(504, "the time for this request is over", "deadline")
        elif self.state == CONNECTING:
            self.upstream_failed("connect-timeout", "it did not accept a connection in time")
        elif self._waits_for_invitation():  # which some servers never give: whose fault it is cannot be told
            self._give_up(504, "the server did not ask for the body, and it was not sent without", "deadline")
        else:
            self.upstream_failed("timeout", "it did not answer in time")

    def client_gone(self) -> None:
        """The client has closed its connection, or broken the rules in the middle of its body."""
        if self.state == OVER:
            return
        if self.state == TUNNEL:
            self.tunnel_closed()
            return
        self._drop_attempt()
        self.decision.status = self.decision.status or 499
        self._over("client-abort")

    def client_fault(self, status: int, reason: str) -> None:
        """The client broke its framing or stopped in mid-body: nothing after it can be understood."""
        if self.state == ANSWERING:
            self._cut("refused")
        elif self.state != OVER:
            self._drop_attempt()
            self.persistent = False
            self.refuse(status, reason)

    def tunnel_closed(self) -> None:
        """Both halves of the tunnel are closed."""
        if self.state == TUNNEL:
            self._upstream = None
            self.listener.tunnels -= 1
            if self._server is not None:
                self._server.tunnels -= 1
            self._leave_server()
            self._over("tunnel")

    # Back-pressure: one side's full buffer stops the other side's reading.

    def client_full(self) -> None:
        self._client_full = self._held_back = True
        if self._upstream is not None:
            self._upstream.hold()
            self._upstream.deadline = self.deadline  # it cannot be blamed; the client has its own

    def client_drained(self) -> None:
        self._client_full = False
        if self._upstream is not None:
            self._upstream.resume()
            if self.state == SENT and self._request_over:  # it was interim answers that filled it
                self._upstream.deadline = min(monotonic() + self.route.first_byte, self.deadline)
            self._await_more()

    def upstream_full(self) -> None:
        self.client.hold()
        # A server that waits for its answer to be taken may well stop reading.
        if self._upstream is not None and not self._client_full:
            self._upstream.deadline = min(monotonic() + self.route.idle, self.deadline)

    def upstream_drained(self) -> None:
        self.client.resume()
        if self._upstream is not None and self.state == SENT and not self._request_over:
            self._upstream.deadline = self.deadline
        self._await_more()

    def _over(self, outcome: str) -> None:
        self.state = OVER
        if self.packing is not None:
            self._unpack()
        decision = self.decision
        decision.outcome = outcome
        decision.finished = monotonic()
        self.around.over(self)
