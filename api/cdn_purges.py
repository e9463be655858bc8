"""/api/infrastructure/cdn/purge and purges: what is taken out of every cache, and what has become of it."""

from __future__ import annotations

import re
from typing import Final

from api.cdn_errors import cdn_problems
from api.cdn_models import (
    CdnPurgeRequest,
    TicketAnswer,
    TicketCdn,
    TicketLevel,
    TicketRefusal,
    TicketsAnswer,
    TicketsQuery,
)
from api.operation import Call, Operation, Reply
from api.problems import Problem
from api.request_checks import LIMIT, once
from api.services import Services
from balancer.cdn.purging.ticket import PurgeOrder, Ticket
from balancer.cdn.types import PurgeState
from balancer.telemetry.redaction import Redaction

PURGE: Final = "/api/infrastructure/cdn/purge"
PURGES: Final = "/api/infrastructure/cdn/purges"
KEY: Final = "Idempotency-Key"
_KEY: Final = re.compile(r"[!-~]{1,255}")
NOTED: Final = 100
"""Targets of one purge that the audit trail is told of."""


class CdnPurges:
    """Purges of the own cache and of the CDN, as tickets."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._cdn = services.cdn
        self._control = services.control

    def operations(self) -> tuple[Operation, ...]:
        unknown = {404: "There is no such purge, or none any more."}
        return (
            Operation(
                "POST",
                PURGE,
                "operator",
                self.purge_cdn,
                {
                    200: "It is done, as far as it can be told.",
                    202: "The own cache is purged, the CDN will be; the ticket tells.",
                    502: "It has failed at the CDN; the ticket tells why.",
                },
                {
                    409: f"There is no CDN, or the {KEY} came with another order.",
                    503: "Too much waits to be purged already.",
                },
                limit=LIMIT,
                headers={
                    KEY: {
                        "description": "Whoever asks again with the same one within a day gets the same ticket.",
                        "schema": {"type": "string", "pattern": f"^{_KEY.pattern}$"},
                    }
                },
            ),
            Operation("GET", PURGES, "viewer", self.list_purges, {200: "A page of them."}),
            Operation(
                "GET",
                PURGES + "/{ticket}",
                "viewer",
                self.show_purge,
                {200: "As it stands."},
                unknown,
            ),
            Operation(
                "POST",
                PURGES + "/{ticket}/retry",
                "operator",
                self.retry_purge,
                {202: "It is tried anew."},
                {**unknown, 409: "Nothing of it has failed for good."},
            ),
        )

    async def purge_cdn(self, call: Call, body: CdnPurgeRequest) -> Reply[TicketAnswer]:
        """Purge on every level of the balancer's own cache, and then at the CDN.

        Of what is wrong all is told, and then nothing is purged. What the CDN has no form for is purged in the own
        cache all the same, and is among the `rejected`.
        """
        order = PurgeOrder(
            patterns=tuple(body.patterns),
            paths=tuple(body.paths),
            urls=tuple(body.urls),
            tags=tuple(body.tags),
            hosts=tuple(body.hosts),
            everything=body.everything,
            soft=body.soft,
            widen=body.widen,
            scope=tuple(dict.fromkeys(body.scope)),
            wait_s=body.timeout if body.wait else 0.0,
        )
        with cdn_problems(root="/patterns" if body.listed else ""):
            ticket = await self._cdn.purge_cache(order, author=call.author, key=_key(call))
        redaction = self._redaction()
        for written in ticket.written[:NOTED]:
            call.note("cdn", redaction.path(written), "stale" if ticket.soft else "purged")
        if len(ticket.written) > NOTED:
            call.note("cdn", f"{len(ticket.written) - NOTED} more", "stale" if ticket.soft else "purged")
        status = 202 if not ticket.done else 502 if ticket.state is PurgeState.FAILED else 200
        return Reply(_ticket(ticket, redaction), status, {"Location": f"{PURGES}/{ticket.id}"})

    async def list_purges(self, call: Call, query: TicketsQuery) -> TicketsAnswer:
        """The purges of the last days, the latest first."""
        with cdn_problems():
            found = await self._cdn.tickets(query.limit + 1, query.before)
        shown, redaction = found[: query.limit], self._redaction()
        return TicketsAnswer(
            at=self._services.wall(),
            items=[_ticket(ticket, redaction) for ticket in shown],
            next=shown[-1].id if len(found) > len(shown) else None,
        )

    async def show_purge(self, call: Call) -> TicketAnswer:
        """What has become of one purge."""
        with cdn_problems():
            return _ticket(await self._cdn.ticket(call.path["ticket"]), self._redaction())

    async def retry_purge(self, call: Call) -> Reply[TicketAnswer]:
        """Try anew what of a purge has failed for good."""
        with cdn_problems():
            ticket = await self._cdn.purge_again(call.path["ticket"])
        return Reply(_ticket(ticket, self._redaction()), 202)

    def _redaction(self) -> Redaction:
        """Of values in queries, as the access log has them: a viewer is not to learn them here."""
        return Redaction(self._control.snapshot.config.logs.access.redact)


def _key(call: Call) -> str:
    key = once(call.request, KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise Problem(400, f"{KEY} must be 1 to 255 visible ASCII characters")
    return key or ""


def _ticket(ticket: Ticket, redaction: Redaction) -> TicketAnswer:
    cdn, shown = ticket.cdn, redaction.path
    return TicketAnswer(
        ticket=ticket.id,
        state=ticket.state.value,
        created=ticket.created,
        completed=ticket.completed,
        targets=list(map(shown, ticket.written)),
        soft=ticket.soft,
        scope=list(ticket.scope),
        own=[TicketLevel(**level._asdict()) for level in ticket.own],
        cdn=None
        if cdn is None
        else TicketCdn(
            provider=cdn.provider,
            batches=cdn.batches,
            accepted=list(map(shown, cdn.accepted)),
            rejected=[
                TicketRefusal(target=shown(one.written), reason=one.reason, nearest=one.nearest) for one in cdn.rejected
            ],
            failed=list(map(shown, cdn.failed)),
            verified=cdn.verified,
            provider_ids=list(cdn.provider_ids),
            attempts=cdn.attempts,
            next_try=cdn.next_try,
            error=cdn.error,
        ),
        verified=ticket.verified,
        notes=list(ticket.notes),
        warnings=list(ticket.warnings),
        author=ticket.author,
    )
