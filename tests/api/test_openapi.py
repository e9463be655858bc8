"""The document, and whether every operation answers as it says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import NamedTuple, cast

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import all_operations
from api.auth import Role
from balancer.analytics.reports import REPORTS
from balancer.cdn.errors import NotFound
from balancer.cdn.purging.ticket import PurgeOrder
from balancer.decision import Decision
from config.cdn import Cdn
from config.schema import Alerts, Analytics, EventMatch, EventRule, Webhook
from tests.api.desk import BALANCER, SERVERS, Answer, Desk
from tests.cdn.shelf import Shelf

POOL = f"{BALANCER}/pools/{{pool}}/servers"
PURGE = "/api/infrastructure/cache/purge"
CDN = "/api/infrastructure/cdn"
ANALYTICS = "/api/monitoring/analytics"
EVENTS = "/api/events"
EXPLAIN = "/api/infrastructure/routes/explain"
IMAGE = f"{CDN}/optimize-image"
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="tags"\r\n\r\na,b\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="cat.jpg"\r\n\r\nmeow\r\n--b--\r\n'
)
ROLES = {
    ("GET", "/livez"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): None,
    ("GET", "/openapi.json"): None,
    ("GET", "/api/monitoring/health"): None,
    ("GET", "/api/monitoring/metrics"): "viewer",
    ("GET", "/api/monitoring/alerts"): "viewer",
    ("POST", "/api/monitoring/alerts/test"): "operator",
    ("POST", "/api/monitoring/alerts/{rule}/silence"): "operator",
    ("DELETE", "/api/monitoring/alerts/{rule}/silence"): "operator",
    ("GET", "/api/monitoring/database"): "viewer",
    ("GET", EVENTS): "viewer",
    ("GET", EXPLAIN): "viewer",
    ("GET", "/api/monitoring/history"): "viewer",
    ("GET", "/api/monitoring/errors"): "viewer",
    ("DELETE", "/api/monitoring/errors/{id}"): "operator",
    ("GET", ANALYTICS): "viewer",
    **{("GET", f"{ANALYTICS}/{name}"): "viewer" for name in (*REPORTS, "status")},
    ("GET", f"{ANALYTICS}/suggestions"): "operator",
    ("GET", f"{ANALYTICS}/export"): "admin",
    ("DELETE", f"{ANALYTICS}/users/{{user}}"): "admin",
    ("GET", "/api/infrastructure/stats"): "viewer",
    ("GET", "/api/infrastructure/certificates"): "viewer",
    ("GET", "/api/infrastructure/cache/stats"): "viewer",
    ("POST", "/api/infrastructure/cache/purge"): "operator",
    ("GET", f"{CDN}/status"): "viewer",
    ("GET", f"{CDN}/stats"): "viewer",
    ("POST", IMAGE): "operator",
    ("GET", f"{CDN}/files"): "viewer",
    ("POST", f"{CDN}/files"): "operator",
    ("DELETE", f"{CDN}/files/{{path}}"): "operator",
    ("POST", f"{CDN}/purge"): "operator",
    ("GET", f"{CDN}/purges"): "viewer",
    ("GET", f"{CDN}/purges/{{ticket}}"): "viewer",
    ("POST", f"{CDN}/purges/{{ticket}}/retry"): "operator",
    ("GET", "/api/infrastructure/rate-limits"): "viewer",
    ("POST", "/api/infrastructure/rate-limits"): "admin",
    ("GET", f"{BALANCER}/status"): "viewer",
    ("GET", f"{BALANCER}/next-server"): "viewer",
    ("POST", f"{BALANCER}/health-check"): "operator",
    ("POST", f"{BALANCER}/initialize"): "admin",
    ("GET", POOL): "viewer",
    ("POST", POOL): "admin",
    ("GET", POOL + "/{server}"): "viewer",
    ("PATCH", POOL + "/{server}"): "operator",
    ("DELETE", POOL + "/{server}"): "admin",
    ("POST", POOL + "/{server}/drain"): "operator",
    ("POST", POOL + "/{server}/maintenance"): "operator",
    ("POST", POOL + "/{server}/ready"): "operator",
    ("GET", "/api/config"): "viewer",
    ("PATCH", "/api/config"): "admin",
    ("PUT", "/api/config"): "admin",
    ("GET", "/api/config/diff"): "viewer",
    ("GET", "/api/config/history"): "viewer",
    ("POST", "/api/config/rollback"): "admin",
    ("POST", "/api/config/confirm"): "admin",
    ("GET", "/api/config/why"): "viewer",
    ("POST", "/api/config/save"): "admin",
    ("POST", "/api/config/reload"): "operator",
    ("POST", "/api/config/check"): "admin",
    ("DELETE", "/api/config/overlay"): "admin",
    ("GET", "/api/audit"): "operator",
    ("GET", "/api/session"): "viewer",
    ("POST", "/api/session"): None,
    ("DELETE", "/api/session"): "viewer",
    ("GET", "/api/keys"): "admin",
    ("POST", "/api/keys"): "admin",
    ("GET", "/api/keys/{id}"): "admin",
    ("DELETE", "/api/keys/{id}"): "admin",
}
"""Who may do what, as docs/api.md has it."""


class Case(NamedTuple):
    """One way to call an operation."""

    method: str
    path: str
    filled: str
    """The path with its names filled in, and a query."""
    body: bytes | None = None
    content_type: str = "application/json"
    session: bool = False
    """Asked in a session, and not with a key."""


RIGHT = [
    *(
        Case("GET", path, path)
        for method, path in ROLES
        if method == "GET" and "{" not in path and not path.endswith(("/why", "/export", "/explain"))
    ),
    Case("GET", EVENTS, f"{EVENTS}?topics=servers&of=pool:web"),
    Case("GET", EXPLAIN, f"{EXPLAIN}?url=https://a.example/x&method=POST&headers=A:b"),
    Case("GET", "/api/config/why", "/api/config/why?path=pools.web"),
    Case("GET", f"{BALANCER}/next-server", f"{BALANCER}/next-server?pool=web&client=::1&path=/x&header=A:b"),
    Case("POST", f"{BALANCER}/health-check", f"{BALANCER}/health-check"),
    Case("POST", f"{BALANCER}/health-check", f"{BALANCER}/health-check", b'{"pool": "web", "server": "a"}'),
    Case("GET", "/api/infrastructure/cache/stats", "/api/infrastructure/cache/stats?top=3"),
    Case("POST", PURGE, PURGE, b'{"urls": ["/a"], "patterns": ["/posts/*"], "tags": ["a"], "soft": true}'),
    Case("POST", PURGE, PURGE, b'{"everything": true}'),
    *(
        Case("GET", f"{ANALYTICS}/{name}", f"{ANALYTICS}/{name}?from=2026-03-01&to=2026-03-31&interval=week&limit=5")
        for name in REPORTS
    ),
    Case("POST", "/api/monitoring/alerts/test", "/api/monitoring/alerts/test", b'{"webhook": "nobody"}'),
    Case(
        "POST",
        "/api/monitoring/alerts/{rule}/silence",
        "/api/monitoring/alerts/errors/silence",
        b'{"seconds": 60}',
    ),
    Case("DELETE", "/api/monitoring/alerts/{rule}/silence", "/api/monitoring/alerts/errors/silence"),
    Case("GET", "/api/monitoring/database", "/api/monitoring/database?fresh=true&tables=3&statements=0"),
    Case("GET", "/api/monitoring/history", "/api/monitoring/history?of=total&span=1h&heat=yes"),
    Case("GET", "/api/monitoring/errors", "/api/monitoring/errors?sort=count&limit=3"),
    Case("DELETE", "/api/monitoring/errors/{id}", "/api/monitoring/errors/AN-ERROR"),
    Case("GET", f"{ANALYTICS}/users", f"{ANALYTICS}/users?format=csv&table=top&timezone=Europe/Berlin"),
    Case("GET", f"{ANALYTICS}/export", f"{ANALYTICS}/export?format=csv&from=2026-11-01"),
    Case("DELETE", f"{ANALYTICS}/users/{{user}}", f"{ANALYTICS}/users/17"),
    Case("GET", f"{CDN}/stats", f"{CDN}/stats?from=2h&to=1h&interval=5m"),
    Case(
        "POST",
        f"{CDN}/optimize-image",
        f"{CDN}/optimize-image",
        b'{"url": "a.jpg", "width": 3, "height": 2, "fit": "cover"}',
    ),
    Case("GET", f"{CDN}/files", f"{CDN}/files?prefix=image/&after=a&limit=5"),
    Case("POST", f"{CDN}/files", f"{CDN}/files?kind=image", FORM, "multipart/form-data; boundary=b"),
    Case("POST", f"{CDN}/files", f"{CDN}/files?name=a.css&overwrite=true&tags=a", b"a {}", "text/css"),
    Case("DELETE", f"{CDN}/files/{{path}}", f"{CDN}/files/other/a.css"),
    Case("POST", f"{CDN}/purge", f"{CDN}/purge", b'["/a", "/posts/*", "tag:a"]'),
    Case("POST", f"{CDN}/purge", f"{CDN}/purge", b'{"tags": ["a"], "soft": true, "scope": ["own"], "wait": true}'),
    Case("GET", f"{CDN}/purges", f"{CDN}/purges?limit=3&before=pg_9"),
    Case("GET", f"{CDN}/purges/{{ticket}}", f"{CDN}/purges/THE-TICKET"),
    Case("POST", f"{CDN}/purges/{{ticket}}/retry", f"{CDN}/purges/FAILED-TICKET/retry"),
    Case(
        "POST",
        "/api/infrastructure/rate-limits",
        "/api/infrastructure/rate-limits",
        b'{"policy": "calm", "order": "block", "key": ["192.0.2.7"], "seconds": 60}',
    ),
    Case("GET", POOL, SERVERS),
    Case("GET", POOL + "/{server}", f"{SERVERS}/a"),
    Case("PATCH", POOL + "/{server}", f"{SERVERS}/a", b'{"weight": 2, "backup": false}'),
    Case("POST", POOL + "/{server}/drain", f"{SERVERS}/a/drain"),
    Case("POST", POOL + "/{server}/drain", f"{SERVERS}/b/drain?wait=1ms"),
    Case("POST", POOL + "/{server}/maintenance", f"{SERVERS}/a/maintenance?wait=0s"),
    Case("POST", POOL + "/{server}/ready", f"{SERVERS}/a/ready"),
    Case("POST", POOL, SERVERS, b'{"url": "http://127.0.0.1:2009", "name": "c", "weight": 2}'),
    Case("DELETE", POOL + "/{server}", f"{SERVERS}/c"),
    Case("POST", "/api/config/reload", "/api/config/reload"),
    Case("POST", "/api/config/check", "/api/config/check", b"listen: 127.0.0.1:0", "application/yaml"),
    Case(
        "POST",
        f"{BALANCER}/initialize",
        f"{BALANCER}/initialize",
        b'{"servers": ["http://127.0.0.1:2010", {"url": "http://127.0.0.1:2011", "backup": true}],'
        b' "pool": "web", "strategy": "random", "health": {"active": {"interval": "1s"}}}',
    ),
    Case("GET", "/api/config", "/api/config?source=file"),
    Case("PATCH", "/api/config", "/api/config", b'{"shutdown": {"grace": "20s"}}', "application/merge-patch+json"),
    Case("PATCH", "/api/config", "/api/config?dry_run=true", b"shutdown: {grace: 10s}", "application/yaml"),
    Case("POST", "/api/config/rollback", "/api/config/rollback?dry_run=true", b'{"revision": 1}'),
    Case("PATCH", "/api/config", "/api/config?confirm=30s", b'{"shutdown": {"delay": "1s"}}', "application/json"),
    Case("POST", "/api/config/confirm", "/api/config/confirm", b"{}"),
    Case("POST", "/api/config/save", "/api/config/save?dry_run=true"),
    Case("PUT", "/api/config", "/api/config?dry_run=true", b"@file", "application/yaml"),
    Case("DELETE", "/api/config/overlay", "/api/config/overlay?pool=web"),
    Case("POST", "/api/session", "/api/session", b'{"key": "THE-KEY"}'),
    Case("GET", "/api/session", "/api/session", session=True),
    Case("DELETE", "/api/session", "/api/session", session=True),
    Case("GET", "/api/audit", "/api/audit?limit=3&before=9&phase=done&actor=admin"),
    Case("POST", "/api/keys", "/api/keys", b'{"id": "a", "role": "operator", "networks": ["127.0.0.0/8"]}'),
    Case("GET", "/api/keys/{id}", "/api/keys/a"),
    Case("DELETE", "/api/keys/{id}", "/api/keys/a"),
]
"""At least one call of every operation that succeeds, in an order in which they do."""


def wrong(case: Case) -> Iterator[Case]:
    """Calls that must be refused, each for another reason."""
    path = case.filled.partition("?")[0]
    for query in ("nix=1", "pool=a&pool=b", "wait=soon", "pool=%20", "%00"):
        yield case._replace(filled=f"{path}?{query}")
    if "{ticket}" in case.path:
        yield case._replace(filled=path.replace("/purges/", "/purges/x"))
    elif "{path}" in case.path:
        yield case._replace(filled=f"{path}%2F")
    elif "{rule}" in case.path:
        yield case._replace(filled=path.replace("/errors/", "/nix/"))
    elif "/{pool}/" in case.path:
        yield case._replace(filled=path.replace("/web/", "/nix/"))
    if "{server}" in case.path:
        yield case._replace(filled=path.replace("/servers/", "/servers/x"))
    if "{id}" in case.path and "/keys/" in case.path:
        yield case._replace(filled=path.replace("/keys/", "/keys/x"))
    if case.method == "POST" and case.path == f"{CDN}/files":
        case = case._replace(filled=path)  # any bytes may be a file, but not one without a name
    yield case._replace(body=b"{", content_type="application/json")
    yield case._replace(body=b"{}", content_type="text/plain")
    yield case._replace(body=b'{"nix": 1}', content_type="application/json")
    yield case._replace(body=b'{"servers": [], "weight": 0, "url": 7}', content_type="application/json")


CONDITIONAL = {f"/api/config{rest}" for rest in ("", "/save", "/rollback", "/overlay")}


async def filled(desk: Desk, case: Case) -> str:
    """The path with the names in it that only the balancer knows."""
    path = case.filled
    if "THE-TICKET" in path:
        path = path.replace("THE-TICKET", (await desk.services.cdn.purge_cache(["/a"])).id)
    if "AN-ERROR" in path:
        decision = Decision("main", "192.0.2.1", 1.0)
        decision.outcome = "deadline"
        desk.services.error_groups.observe(decision)
        path = path.replace("AN-ERROR", next(iter(desk.services.error_groups)).id)
    if "FAILED-TICKET" in path:
        await desk.services.cdn.change(Cdn(provider="bunny", url="https://cdn.example.com", attempts=1, coalesce=0))
        shelf = cast("Shelf", desk.services.cdn.provider)
        shelf.failure = NotFound("no")
        ticket = await desk.services.cdn.purge_cache(PurgeOrder(("/a",), wait_s=10))
        shelf.failure = None
        path = path.replace("FAILED-TICKET", ticket.id)
    return path


async def call(desk: Desk, case: Case) -> Answer:
    headers = {"Content-Type": case.content_type} if case.body is not None else {}
    if case.path in CONDITIONAL and case.method != "GET":
        headers["If-Match"] = "*"
    if case.session:
        headers |= await desk.session()
    body = desk.room.file.read_bytes() if case.body == b"@file" else case.body
    if body is not None:
        body = body.replace(b"THE-KEY", desk.keys.text["admin"].encode())
    role: Role | None = None if case.session else "admin"
    return await desk.ask(case.method, await filled(desk, case), raw=body, headers=headers, role=role)


class Document:
    """The document as the API gives it, to hold answers against."""

    def __init__(self, answer: Answer) -> None:
        self.content = json.loads(answer.content)

    def judge(self, case: Case, answer: Answer) -> None:
        """Fail unless the operation may answer so."""
        responses = self.content["paths"][case.path][case.method.lower()]["responses"]
        where = f"{case}: {answer.status} {answer.content[:500]!r}"
        assert str(answer.status) in responses, where
        content = responses[str(answer.status)].get("content")
        if content is None:
            assert answer.content == b"", where
            return
        kind = answer.headers["Content-Type"].partition(";")[0]
        assert kind in content, where
        if kind.endswith("json"):
            schema = {**content[kind]["schema"], "components": self.content["components"]}
            problems = [error.message for error in OAS31Validator(schema).iter_errors(answer.document)]
            assert problems == [], where


@pytest.fixture
async def analytics(desk: Desk) -> AsyncIterator[None]:
    """With a store of its own, as there is one where analytics are configured."""
    service = desk.services.analytics
    await service.change(Analytics(events={"post_created": EventRule(match=(EventMatch(path="/posts"),))}))
    assert service.desk is not None
    await service.desk.opened.wait()
    hook = Webhook(url="http://127.0.0.1:1/", timeout=1.0)
    await desk.services.alerts.change(Alerts(webhooks={"nobody": hook}))
    desk.services.history.sample(1.0, 1.0, await desk.services.control.report())
    yield
    await service.close()
    await desk.services.alerts.close()


@pytest.fixture
async def document(desk: Desk) -> Document:
    return Document(await desk.ask("GET", "/openapi.json", role=None))


async def test_the_document_is_valid_openapi_3_1(document: Document) -> None:
    assert document.content["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document.content).validate()


async def test_the_document_has_every_operation_and_the_role_that_it_needs(desk: Desk, document: Document) -> None:
    found = {
        (method.upper(), path): operation.get("x-role")
        for path, operations in document.content["paths"].items()
        for method, operation in operations.items()
    }
    assert found == ROLES
    assert {(operation.method, operation.path) for operation in all_operations(desk.services)} == set(ROLES)


async def test_every_operation_says_what_it_does_and_has_an_id_of_its_own(document: Document) -> None:
    operations = [operation for operations in document.content["paths"].values() for operation in operations.values()]
    assert all(operation["summary"].endswith((".", "?")) for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


async def test_no_name_in_the_document_shows_where_our_code_is(document: Document) -> None:
    assert [name for name in document.content["components"]["schemas"] if "__" in name] == []


@pytest.mark.usefixtures("analytics")
async def test_every_operation_succeeds_with_right_input_as_the_document_says(desk: Desk, document: Document) -> None:
    assert {(case.method, case.path) for case in RIGHT} == set(ROLES)
    for case in RIGHT:
        answer = await call(desk, case)
        assert answer.status < 300, (case, answer.content)
        document.judge(case, answer)


@pytest.mark.usefixtures("analytics")
async def test_every_operation_refuses_wrong_input_as_the_document_says(desk: Desk, document: Document) -> None:
    before = desk.room.fleet.snapshot
    for case in RIGHT:
        for attempt in wrong(case):
            answer = await call(desk, attempt)
            assert 400 <= answer.status < 500, (attempt, answer.content)
            document.judge(attempt, answer)
    assert desk.room.fleet.snapshot is before


async def test_every_operation_refuses_who_may_not_as_the_document_says(desk: Desk, document: Document) -> None:
    order = [None, "viewer", "operator", "admin"]
    before = desk.room.fleet.snapshot
    for case in RIGHT:
        needed = ROLES[case.method, case.path]
        for role in order[: order.index(needed)]:
            headers = {"Content-Type": case.content_type} if case.body is not None else {}
            answer = await desk.ask(
                case.method,
                case.filled,
                raw=case.body,
                headers=headers,
                role=role,  # type: ignore[arg-type]  # a role's name, or None
            )
            assert answer.status == (401 if role is None else 403), (case, role)
            document.judge(case, answer)
    assert desk.room.fleet.snapshot is before


@pytest.mark.usefixtures("analytics")
@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_every_operation_is_done_for_the_lowest_role_that_may(desk: Desk, role: str) -> None:
    for case in RIGHT:
        if ROLES[case.method, case.path] == role and case.filled != f"{SERVERS}/c" and not case.session:
            headers = {"Content-Type": case.content_type} if case.body is not None else {}
            answer = await desk.ask(
                case.method,
                await filled(desk, case),
                raw=case.body,
                headers=headers,
                role=role,  # type: ignore[arg-type]  # a role's name
            )
            assert answer.status < 300, (case, answer.content)


JUNK: list[object] = [None, True, 0, -1, 2**70, 1.5, 1e308, "", "\x00", "ü", "x" * 300, [], {}, [[]], {"url": None}]


def spoilt(value: object, rng: Random) -> object:
    """The value with something in it replaced, added or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.2:
            return {name: inner for name, inner in value.items() if name != key}
        if rng.random() < 0.2:
            return {**value, rng.choice(["nix", "", "a/b~", "weight"]): rng.choice(JUNK)}
        return {**value, key: spoilt(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], spoilt(value[place], rng), *value[place + 1 :]]
    return rng.choice(JUNK)


@pytest.mark.slow
async def test_no_body_however_spoilt_is_answered_as_the_document_does_not_say(desk: Desk, document: Document) -> None:
    rng = Random(1)
    cases = [case for case in RIGHT if case.body is not None and case.content_type == "application/json"]
    for _ in range(40):
        for case in cases:
            body = spoilt(json.loads(case.body or b""), rng)
            attempt = case._replace(body=json.dumps(body).encode())
            answer = await call(desk, attempt)
            document.judge(attempt, answer)
            assert answer.status < 500, (attempt, answer.content)
