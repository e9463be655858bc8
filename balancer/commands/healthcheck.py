"""`balancer healthcheck`: whether the balancer of this machine or container is well, for Docker."""

from __future__ import annotations

import json
from pathlib import Path

from balancer.commands.client import Client
from balancer.commands.console import Console
from balancer.commands.document import Part
from balancer.commands.outcome import ERROR, OK, Failure
from balancer.commands.places import admin

PATIENCE = 2.0
"""Seconds for an answer, so that Docker's own limit of 3 does not come first and hide the reason."""


def healthcheck(console: Console, given: str | None, config: Path | None, ready: bool, ca: Path | None = None) -> int:
    """0 when it is, 1 for whatever else: Docker keeps other codes for itself. No key is needed or sent."""
    path = "readyz" if ready else "livez"
    try:
        client = Client(admin(given, config, console.environ, ca), None)
        answer = client.ask("GET", path, patience=PATIENCE)
    except Failure as failure:
        console.say(f"balancer: {failure}")
        return ERROR
    if answer.status == 200:
        console.say(f"{'ready' if ready else 'alive'}: {client.where}")
        return OK
    console.say(f"balancer: {client.where} answers /{path} with {answer.status}{_detail(answer.body)}")
    return ERROR


def _detail(body: bytes) -> str:
    try:
        document = Part(json.loads(body))
    except (ValueError, RecursionError):
        return ""
    said = document.text("detail") or document.text("status")
    return f": {said}" if said else ""
