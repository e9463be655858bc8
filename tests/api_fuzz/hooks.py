"""What schemathesis is told of this API; it loads this module in a process of its own."""

from __future__ import annotations

import os
import re
from itertools import count
from typing import Any, Final
from zlib import crc32

import requests
import schemathesis
from schemathesis.specs.openapi import checks
from urllib3.util import connection

ROLES: Final = ("", "viewer", "operator", "admin")
"""Each may do what the ones before it may; the first is nobody."""
MINE: Final = os.environ["FUZZ_ROLE"]
KEY: Final = os.environ["FUZZ_KEY"]
BASE: Final = os.environ["FUZZ_BASE"]
NOWHERE: Final = "127.77.0.1"
"""An address of this machine at which nothing is."""
_URL = re.compile(r"\b(https?://)[^/?#\s\"']+", re.IGNORECASE)

_number = count(1)
_open = connection.create_connection


def _from_elsewhere(address: tuple[str, int], *arguments: Any, **named: Any) -> Any:
    """Each connection from an address of its own: what one address may do in a time is tested elsewhere."""
    number = next(_number)
    named["source_address"] = (f"127.10.{number // 250 % 250}.{number % 250 + 1}", 0)
    return _open(address, *arguments, **named)


connection.create_connection = _from_elsewhere  # type: ignore[assignment]  # the same arguments, whichever way
# A hundred wrong keys, from wherever, and everybody has to wait for the next: that is a refusal too.
checks.AUTH_REJECTION_STATUSES = frozenset({*checks.AUTH_REJECTION_STATUSES, 429})  # type: ignore[misc,assignment]


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """The balancer asks whatever server it is given: let none of them be anybody's."""
    body = harmless(case.body)
    if body != case.body:
        case.body = body


def harmless(value: Any) -> Any:
    """The body with all hosts of URLs in it replaced."""
    if isinstance(value, str):
        return _URL.sub(lambda found: f"{found[1]}{NOWHERE}:{1000 + len(found[0])}", value)
    if isinstance(value, list):
        return [harmless(item) for item in value]
    if isinstance(value, dict):
        return {name: harmless(item) for name, item in value.items()}
    return value


CHANGES: Final[tuple[dict[str, Any], ...]] = (
    {"logs": {"level": "debug"}},
    {"limits": {"connections": 900}, "timeouts": {"keep_alive": "20s"}},
    {"pools": {"web": {"strategy": "random", "retries": {"attempts": 1}}}},
    {"pools": {"web": {"servers": {"c": {"url": f"http://{NOWHERE}:1002", "weight": 3}}}}},
    {"pools": {"web": {"servers": {"c": None}, "health": {"active": None}}}},
    {"rate_limits": {"a": {"rate": "5/s", "key": "client"}}, "routes": {"all": {"rate_limit": "a"}}},
    {"routes": {"all": {"rate_limit": None}}, "rate_limits": None},
    {"routes": {"r": {"match": {"path": "/r"}, "respond": {"body": "r"}}}, "compress": True, "cache": True},
    {"routes": {"r": None}, "pools": {"web": {"sticky": {"cookie": "lb"}}}},
)
"""Changes of the configuration that can be made: what comes of a schema that allows anything never is one."""
_WHOLE: Final = ("patch_config", "replace_config")
_CONDITIONAL: Final = (*_WHOLE, "rollback_config", "clear_overlay")


def _pick(value: object) -> int:
    """A number that goes by the value, so that the same run picks the same."""
    return crc32(repr(value).encode())


def _operation(context: schemathesis.HookContext) -> str:
    return context.operation.definition.raw["operationId"] if context.operation is not None else ""


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Of two bodies for the whole configuration, one is a change that can be made."""
    operation, number = _operation(context), _pick(body)
    if operation not in _WHOLE or number % 2:
        return body
    change = CHANGES[number // 2 % len(CHANGES)]
    if operation == "patch_config" or not KEY:
        return change
    return {**requests.get(f"{BASE}/api/config", headers={"X-API-Key": KEY}, timeout=20).json()["config"], **change}


@schemathesis.hook
def map_headers(context: schemathesis.HookContext, headers: Any) -> Any:
    """Of two preconditions, one holds."""
    if _operation(context) in _CONDITIONAL and headers and _pick(headers) % 2 == 0:
        return {**headers, "If-Match": "*"}
    return headers


@schemathesis.check
def the_role_decides(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    """Who has a lower role than the document asks for gets nothing, and who has it is never told that it is too low."""
    raw = case.operation.definition.raw
    if raw["operationId"] == "begin_session":
        return None  # the key that counts is in the body
    needed: str = raw.get("x-role") or ""
    may = ROLES.index(MINE) >= ROLES.index(needed)
    if response.status_code < 400 and not may:
        raise AssertionError(f"{MINE or 'nobody'} was answered {response.status_code} where {needed} is needed")
    sent = response.request.headers
    with_key = KEY != "" and sent.get("X-API-Key") == KEY and "Authorization" not in sent
    if may and response.status_code in (401, 403) and (with_key or needed == ""):
        raise AssertionError(f"{MINE or 'nobody'} was refused with {response.status_code} where {needed!r} is enough")
    return None


@schemathesis.check
def nothing_is_kept_or_shared(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    """Every answer is marked as the API's own, and as no page's business."""
    named = {name.lower(): values[0] for name, values in response.headers.items()}
    assert named.get("cache-control") == "no-store", "Cache-Control is not no-store"
    assert named.get("x-content-type-options") == "nosniff", "X-Content-Type-Options is not nosniff"
    assert not any(name.startswith("access-control-") for name in named), "a page of another site may read it"
    return None
