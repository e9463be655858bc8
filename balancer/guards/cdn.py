"""Whether requests came through the CDN that stands in front: by the connection's address, and by a secret."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final, Protocol

from balancer.decision import Decision
from balancer.guards.address import Networks
from balancer.guards.limiter import Step
from balancer.guards.verdict import Refusal, Verdict
from balancer.http1.head import RequestHead
from balancer.http1.outgoing import Client
from balancer.tally import RequireCdnTally
from config.cdn import RequireCdn

PAST_CDN: Final = "past-cdn"


class Edges(Protocol):
    """Whom connections come from that are a CDN's."""

    cdn: Networks
    """Replaced when the CDN has others."""
    by_name: bool
    """There are CDNs to look for at all; else the secret alone decides."""


def cdn_step(settings: RequireCdn, edges: Edges, tally: RequireCdnTally) -> Step:
    """Refuse, or only mark, what came past the CDN.

    It is the connection that counts, or whom a PROXY header names, for `allow`, too: a request through the CDN that has
    no secret is another customer's, who may be able to have the CDN say anything of its client.
    """
    allow = Networks(settings.allow) if settings.allow else None
    field = settings.header.lower().encode("ascii")
    secret = settings.secret.encode("latin-1") if settings.secret is not None else None
    refusal = Refusal(403, "this site is reached through its CDN only", PAST_CDN) if settings.mode == "refuse" else None

    def step(head: RequestHead, client: Client, decision: Decision) -> Verdict:
        if (edges.by_name or secret is None) and client.shown not in edges.cdn:
            result = "address"
        elif secret is not None and not compare_digest(head.value(field) or b"", secret):
            result = "secret"
        else:
            tally.results["through"] += 1
            return None
        if allow is not None and client.shown in allow:
            tally.results["allowed"] += 1
            return None
        tally.results[result] += 1
        if refusal is None:
            decision.guarded = PAST_CDN
        return refusal

    return step
