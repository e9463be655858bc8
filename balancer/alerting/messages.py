"""What a message looks like, for programs and for people in a chat."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from balancer.alerting.states import Told
from config.alerts import Webhook

VERSION: Final = 1
SHOWN: Final = 20
"""Alerts of one message that a chat shows; all are in the one for programs."""
_COLOURS: Final = {"critical": "#c62828", "warning": "#f9a825", "resolved": "#2e7d32"}


def body(webhook: Webhook, told: Sequence[Told], sender: str, now: float) -> tuple[bytes, dict[str, str]]:
    """The bytes to be sent, and the fields with them."""
    document = _slack(told, sender) if webhook.format == "slack" else _generic(told, sender, now)
    content = json.dumps(document, ensure_ascii=False).encode()
    fields = {"Content-Type": "application/json", "User-Agent": "balancer-alerts"}
    if webhook.secret and webhook.format == "json":
        signature = hmac.digest(webhook.secret.encode(), content, "sha256").hex()
        fields["X-Balancer-Signature"] = f"sha256={signature}"
    return content, fields


def _generic(told: Sequence[Told], sender: str, now: float) -> dict[str, Any]:
    return {
        "version": VERSION,
        "sender": sender,
        "at": _moment(now),
        "status": "firing" if any(one.status == "firing" for one in told) else "resolved",
        "alerts": [
            {
                "fingerprint": one.alert.fingerprint,
                "status": one.status,
                "rule": one.alert.rule,
                "subject": one.alert.subject,
                "severity": one.alert.severity,
                "since": _moment(one.alert.since),
                "value": one.alert.value,
                "threshold": one.alert.threshold,
                "unit": one.alert.unit,
                "text": one.alert.text,
                "look": one.alert.look,
            }
            for one in told
        ],
    }


def _slack(told: Sequence[Told], sender: str) -> dict[str, Any]:
    attachments = []
    for one in told[:SHOWN]:
        over = one.status == "resolved"
        word = "over" if over else one.alert.severity
        since = datetime.fromtimestamp(one.alert.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        what = _plain(one.alert.text)
        line = f"*{word}*: it is over that {what}" if over else f"*{word}*: {what}"
        attachments.append(
            {
                "color": _COLOURS["resolved" if over else one.alert.severity],
                "text": f"{line}\nsince {since}; see {one.alert.look}",
                "mrkdwn_in": ["text"],
                "fallback": line,
            }
        )
    firing = sum(one.status == "firing" for one in told)
    head = f"{sender}: {firing} alert{'s' if firing != 1 else ''}" if firing else f"{sender}: all clear"
    more = f" (and {len(told) - SHOWN} more)" if len(told) > SHOWN else ""
    return {"text": head + more, "attachments": attachments}


def _plain(text: str) -> str:
    """What a chat does not take for its own marks."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
