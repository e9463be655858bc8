"""Alerts as an operator may write them: what is to be told, and whom."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from config.pool import Model, Positive
from config.problems import Unfit
from config.values import Duration

Condition = Literal[
    "error_share",
    "p99",
    "server_down",
    "pool_down",
    "certificate",
    "redis_away",
    "cdn_away",
    "database",
    "event_loop_lag",
    "reload_refused",
    "event_drop",
    "event_store_away",
]
_URL = re.compile(r"https?://[^\s/?#@]+(:[0-9]{1,5})?([/?][^\s]*)?")


def _url(text: str) -> str:
    if not _URL.fullmatch(text):
        raise Unfit("must be a URL such as https://hooks.example.com/T0/B0/x, without a user", "what is there")
    return text


class Webhook(Model):
    """Who is told."""

    url: Annotated[str, AfterValidator(_url)]
    """Where messages are sent to (POST). It is a secret: who knows it can write there."""
    format: Literal["json", "slack"] = "json"
    """json: docs/alerts.md; slack: what Slack, Mattermost and Discord (URL with /slack) take."""
    secret: str = ""
    """json: messages are signed with it (HMAC-SHA256) in X-Balancer-Signature; empty: they are not."""
    timeout: Annotated[Positive, Field(le=60)] = 10.0


class AlertRule(Model):
    """One thing to be told."""

    when: Condition
    of: Annotated[str, Field(pattern=r"^(total|(route|pool|event):.+)$", max_length=200)] = "total"
    """error_share, p99: total, route:NAME or pool:NAME; event_drop: event:NAME."""
    above: Annotated[float, Field(ge=0)] | None = None
    """error_share: a share; p99, event_loop_lag: seconds; certificate: days left (fewer than that); event_drop: the
    share that is missing. Without it what is usual: 0.05, 1, 0.2, 14, 0.5."""
    window: Literal["1m", "5m"] = "5m"
    """Of error_share."""
    least: Annotated[int, Field(ge=0)] = 20
    """error_share, p99: requests in that time; event_drop: events a week ago. Fewer say nothing."""
    lasting: Duration = 60.0
    """How long it must be so before anybody is told."""
    severity: Literal["warning", "critical"] = "warning"
    to: tuple[str, ...] = ()
    """Webhooks by name; none: all."""


class Alerts(Model):
    """Messages to people when something is wrong, and when it is over."""

    webhooks: dict[str, Webhook] = Field(default_factory=dict)
    """By name."""
    usual: bool = True
    """Whether the usual rules hold beside `rules`: errors, servers and pools down, certificates, Redis, databases, the
    store of events, a late event loop, a refused reload. One of the same name goes before the usual one."""
    rules: dict[str, AlertRule] = Field(default_factory=dict)
    repeat: Duration = 4 * 3600.0
    """How long after a message the same is told again while it lasts; 0: never."""
