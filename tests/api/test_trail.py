"""Who has changed what, and who was not let in: on disk before it is done, in memory, bounded."""

import asyncio
import json
import os
import stat
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api.auth import new_key
from api.trail import ACTS, BURST, BURST_OF_ALL, DENIALS, LONGEST, PACE, Actor, AuditTrail, Matter, Unwritten
from api.trail_file import KEPT, TrailFile
from api.trail_queue import WAITING, TrailQueue
from config.diff import Change
from tests.api.desk import SERVERS, Clock, Desk
from tests.api.raw import ask

LINE = b'{"a":1}\n'


def matter(id_: str = "deploy", address: str = "127.0.0.1", path: str = "/x") -> Matter:
    return Matter("request", Actor("key", id_, "operator"), address, "POST", "drain_server", path)


def written(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def trail(file: Path | None = None, clock: Clock | None = None) -> AuditTrail:
    return AuditTrail(TrailFile(file) if file is not None else None, clock or Clock())


# What calls leave behind.


async def lines(desk: Desk, query: str = "") -> list[Mapping[str, object]]:
    answer = await desk.ask("GET", f"/api/audit{query}", role="operator")
    assert answer.status == 200, answer.content
    return answer.json["items"]  # type: ignore[return-value]


async def test_a_change_has_two_lines_with_who_from_where_what_and_how_it_ended(desk: Desk) -> None:
    answer = await desk.ask("POST", f"{SERVERS}/a/drain", role="operator", headers={"X-Request-Id": "mine"})
    assert answer.status == 200
    done, intent = await lines(desk)
    same = {
        "request_id": "mine",
        "actor": {"kind": "key", "id": "operator", "role": "operator"},
        "address": "127.0.0.1",
        "method": "POST",
        "operation": "drain_server",
        "path": f"{SERVERS}/a/drain",
        "detail": None,
        "more": 0,
        "unnoted": 0,
    }
    assert {name: intent[name] for name in same} == same
    assert {name: done[name] for name in same} == same
    assert (intent["phase"], intent["status"], intent["changes"]) == ("intent", None, [])
    assert (done["phase"], done["status"]) == ("done", 200)
    assert done["changes"] == [{"path": "pools.web.servers.a.state", "before": "ready", "after": "drained"}]


async def test_before_and_after_are_told_of_every_kind_of_change(desk: Desk) -> None:
    calls: list[tuple[str, str, object, list[tuple[str, str | None, str | None]]]] = [
        ("PATCH", f"{SERVERS}/a", {"weight": 7}, [("pools.web.servers.a.weight", "1", "7")]),
        ("DELETE", "/api/config/overlay", None, [("pools.web.servers.a.weight", "7", "1")]),
        ("POST", f"{SERVERS}/a/ready", None, []),
        (
            "POST",
            "/api/keys",
            {"id": "k", "role": "operator", "expires": "2999-01-31", "networks": ["10.0.0.0/8"]},
            [("admin.keys.k", None, "operator, until 2999-01-31, from 10.0.0.0/8")],
        ),
        (
            "DELETE",
            "/api/keys/k",
            None,
            [("admin.keys.k", "operator, until 2999-01-31, from 10.0.0.0/8", None)],
        ),
        (
            "POST",
            "/api/infrastructure/cache/purge",
            {"urls": ["/a?token=secret"], "tags": ["t"]},
            [("cache", "url /a?token=***", "purged"), ("cache", "tag t", "purged")],
        ),
    ]
    for method, path, body, changes in calls:
        assert (await desk.ask(method, path, body, headers={"If-Match": "*"})).status < 300, path
        done = (await lines(desk, "?limit=1"))[0]
        found = [(one["path"], one["before"], one["after"]) for one in done["changes"]]  # type: ignore[attr-defined]
        assert found == changes, path


async def test_a_change_that_fails_says_so_and_what_was_never_begun_has_no_line(desk: Desk) -> None:
    assert (await desk.ask("POST", f"{SERVERS}/nix/drain")).status == 404
    assert (await desk.ask("POST", SERVERS, raw=b"{")).status == 400
    assert (
        await desk.ask("POST", "/api/config/check", raw=b"a: 1", headers={"Content-Type": "text/yaml"})
    ).status == 200
    done, intent = await lines(desk)
    assert (done["status"], done["changes"]) == (404, [])
    assert "has no server 'nix'" in str(done["detail"])
    assert intent["phase"] == "intent"


async def test_a_fault_of_our_own_is_in_the_trail_as_one(desk: Desk) -> None:
    def refuses(snapshot: object) -> tuple[str, ...]:
        raise RuntimeError("secret detail")

    desk.room.fleet.refuses = refuses
    with capture_logs():
        await desk.ask("POST", f"{SERVERS}/a/drain")
    done = (await lines(desk))[0]
    assert (done["status"], done["detail"]) == (500, None)


async def test_a_reload_tells_what_it_has_changed(desk: Desk) -> None:
    more = "rate_limits: {calm: {rate: 1000/s}}"
    desk.room.write(f"{desk.keys.lines}\n{more}\nredis: {{prefix: 'other:', url: 'redis://a:secret@127.0.0.1/0'}}")
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    done = (await lines(desk))[0]
    changes = {one["path"]: one["after"] for one in done["changes"]}  # type: ignore[attr-defined]
    assert changes == {"redis.prefix": "other:", "redis.url": "redis://***@127.0.0.1/0"}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Host: evil.example"], 421),
        (["Host: localhost", "Origin: http://evil.example"], 403),
        (["Host: localhost"], 401),
        (["Host: localhost", "X-API-Key: wrong"], 401),
        (["Host: localhost", "X-API-Key: {viewer}"], 403),
    ],
)
async def test_who_was_not_let_in_is_noted(desk: Desk, fields: list[str], status: int) -> None:
    said = [line.format(viewer=desk.keys.text["viewer"]) for line in fields]
    answer = await ask(desk, f"{SERVERS}/a/drain?key=secret", *said, method="POST", host="")
    assert answer.status == status
    (line,) = await lines(desk)
    assert (line["phase"], line["status"], line["detail"]) == ("denied", status, answer.detail)
    assert line["path"] == f"{SERVERS}/a/drain"
    known = status == 403 and "Origin: http://evil.example" not in fields
    assert line["actor"] == {
        "kind": "key" if known else "none",
        "id": "viewer" if known else None,
        "role": "viewer" if known else None,
    }


async def test_a_key_where_an_id_belongs_is_not_repeated_anywhere(desk: Desk) -> None:
    text, _ = new_key()
    with capture_logs() as logged:
        answer = await desk.ask("DELETE", f"/api/keys/{text}")
    assert answer.status == 404
    told = [*await lines(desk), answer.json, *logged]
    assert text not in str(told)
    assert "balancer_" in str(told)


async def test_the_trail_is_for_operators(desk: Desk) -> None:
    assert (await desk.ask("GET", "/api/audit", role="viewer")).status == 403
    assert (await desk.ask("GET", "/api/audit", role="operator")).status == 200


async def test_the_trail_is_read_page_by_page_and_by_who_it_was(desk: Desk) -> None:
    for role in ("operator", "admin", "operator"):
        await desk.ask("POST", f"{SERVERS}/a/ready", role=role)  # type: ignore[arg-type]  # a role's name
    await desk.ask("POST", f"{SERVERS}/a/ready", role="viewer")
    seen: list[object] = []
    query = "?limit=3"
    while True:
        page = (await desk.ask("GET", f"/api/audit{query}")).json
        seen += [item["seq"] for item in page["items"]]  # type: ignore[union-attr, index, call-overload]
        if page["next"] is None:
            break
        query = f"?limit=3&before={page['next']}"
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert [line["seq"] for line in await lines(desk, "?actor=admin")] == [4, 3]
    assert [line["seq"] for line in await lines(desk, "?phase=denied")] == [7]


# A disk that fails.


async def test_a_change_that_can_not_be_noted_is_not_made_and_this_is_said_loudly(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "audit.jsonl"
    folder.mkdir()
    known = desk.services.trail
    known._file = TrailQueue(TrailFile(folder), known.counts, "the audit trail cannot be written")
    with capture_logs() as logged:
        answer = await desk.ask("POST", f"{SERVERS}/a/drain")
    assert answer.status == 507
    assert "the audit trail" in str(answer.json["detail"])
    assert "make room, or let admin.audit name another file; nothing was changed" in str(answer.json["detail"])
    assert desk.room.fleet.snapshot.drained == frozenset()
    assert [entry["log_level"] for entry in logged] == ["error"]
    shown = await desk.ask("GET", "/api/audit")
    assert shown.json["failing"] == "Is a directory"
    folder.rmdir()
    assert (await desk.ask("POST", f"{SERVERS}/a/drain")).status == 200
    assert (await desk.ask("GET", "/api/audit")).json["failing"] is None
    metrics = (await desk.ask("GET", "/metrics")).content.decode()
    assert 'balancer_admin_audit_lines_total{result="failed"} 1\n' in metrics
    assert 'balancer_admin_audit_lines_total{result="written"} 2\n' in metrics


async def test_what_is_done_stays_done_when_its_end_can_not_be_noted(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    found = trail(file)
    await found.intend(matter())
    file.unlink()
    file.mkdir()
    with capture_logs() as logged:
        await found.done(matter(), 200, None, [])
    assert [entry["event"] for entry in logged] == [
        "the audit trail cannot be written: changes over the API are refused"
    ]
    assert [line.phase for line in found.lines()] == ["done", "intent"]
    file.rmdir()
    await found.flush()  # what waited is not lost
    assert [line["phase"] for line in written(file)] == ["done"]
    await found.close()


async def test_what_waits_for_a_disk_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "audit-denied.jsonl"
    file.mkdir()
    clock = Clock()
    found = trail(tmp_path / "audit.jsonl", clock)
    for number in range(WAITING + 5):
        found.denied(matter(address=f"10.0.{number >> 8}.{number & 255}"), 401, "x")
        clock.now += 1.0
    with capture_logs():
        await found.flush()
    assert found.counts["failed"] == 5 + 1
    file.rmdir()
    await found.close()
    assert len(written(file)) == WAITING


async def test_changes_go_on_while_denials_can_not_be_noted(tmp_path: Path) -> None:
    (tmp_path / "audit-denied.jsonl").mkdir()
    found = trail(tmp_path / "audit.jsonl")
    found.denied(matter(), 401, "x")
    with capture_logs() as logged:
        await found.flush()
    assert [entry["event"] for entry in logged] == ["who is not let in cannot be noted on disk"]
    assert found.failing is None
    await found.intend(matter("next"))
    assert [line["actor"]["id"] for line in written(tmp_path / "audit.jsonl")] == ["next"]  # type: ignore[index]
    with capture_logs():
        await found.close()


# Bounds.


async def test_a_flood_of_denials_is_counted_and_pushes_no_change_out(tmp_path: Path) -> None:
    clock = Clock()
    found = trail(tmp_path / "audit.jsonl", clock)
    await found.intend(matter("first"))
    for _ in range(BURST + 50):
        found.denied(matter(address="192.0.2.1"), 401, "x")
    assert found.counts["unnoted"] == 50
    found.denied(matter(address="192.0.2.2"), 401, "x")
    latest = next(found.lines())
    assert (latest.address, latest.unnoted) == ("192.0.2.2", 50)
    for number in range(BURST_OF_ALL * 2):
        found.denied(matter(address=f"10.1.{number >> 8}.{number & 255}"), 401, "x")
    noted = [line for line in found.lines() if line.phase == "denied"]
    assert len(noted) == BURST_OF_ALL
    clock.now += PACE
    found.denied(matter(address="192.0.2.1"), 401, "x")
    assert next(found.lines()).address == "192.0.2.1"
    assert [line.actor.id for line in found.lines() if line.phase == "intent"] == ["first"]
    await found.close()


async def test_no_number_of_denials_takes_a_change_from_the_disk(tmp_path: Path) -> None:
    size, clock = 64 * 1024, Clock()
    found = AuditTrail(TrailFile(tmp_path / "audit.jsonl", size), clock)
    await found.intend(matter("first"))
    await found.done(matter("first"), 200, None, [])
    for number in range(KEPT * size // 1000):  # which is less than a line has
        clock.now += 1.0
        found.denied(matter(address=f"10.0.{number >> 8}.{number & 255}", path="/" + "\u0800" * 499), 401, "x")
        await found.flush()
    await found.close()
    assert found.counts["failed"] == found.counts["unnoted"] == 0
    sizes = {path.name: path.stat().st_size for path in files(tmp_path)}
    assert [line["phase"] for line in written(tmp_path / "audit.jsonl")] == ["intent", "done"]
    assert sorted(sizes) == ["audit-denied.jsonl", "audit-denied.jsonl.1", "audit.jsonl"]
    assert sizes["audit-denied.jsonl"] + sizes["audit-denied.jsonl.1"] <= size


async def test_a_restart_goes_on_after_the_last_line_of_either_file(tmp_path: Path) -> None:
    found = trail(tmp_path / "audit.jsonl")
    await found.intend(matter("first"))
    found.denied(matter("second"), 401, "x")
    await found.close()
    again = trail(tmp_path / "audit.jsonl")
    assert [(line.seq, line.phase) for line in again.lines()] == [(2, "denied"), (1, "intent")]
    await again.intend(matter("third"))
    assert next(again.lines()).seq == 3
    await again.close()


async def test_a_line_is_written_once_although_whoever_waited_for_it_was_cancelled(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    class Slow(TrailFile):
        def write(self, lines: bytes, *, lasting: bool) -> None:
            begun.set()
            assert go.wait(10)
            super().write(lines, lasting=lasting)

    counts: Counter[str] = Counter()
    queue = TrailQueue(Slow(tmp_path / "audit.jsonl"), counts, "x")
    queue.wait(LINE)
    flushing = asyncio.create_task(queue.flush())
    assert await asyncio.to_thread(begun.wait, 10)
    flushing.cancel()
    await asyncio.wait([flushing])
    closing = asyncio.create_task(queue.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    assert (tmp_path / "audit.jsonl").read_bytes() == LINE
    assert counts["written"] == 1


async def test_lines_come_in_their_order_however_long_the_disk_took(tmp_path: Path) -> None:
    found = trail(tmp_path / "audit.jsonl")
    slow = asyncio.create_task(found.intend(matter("slow")))
    await asyncio.sleep(0)  # it has its number, and waits for the disk
    await asyncio.gather(found.done(matter("other"), 200, None, []), slow)
    assert [line.seq for line in found.lines()] == [2, 1]
    assert [line.seq for line in found.lines(before=2)] == [1]
    await found.close()


async def test_what_is_in_memory_is_bounded() -> None:
    clock = Clock()
    found = trail(clock=clock)
    for _ in range(ACTS + 10):
        await found.intend(matter())
    for number in range(DENIALS + 10):
        found.denied(matter(address=f"10.0.{number >> 8}.{number & 255}"), 401, "x")
        clock.now += 1.0
    assert len(list(found.lines())) == ACTS + DENIALS


async def test_long_and_many_values_are_cut(tmp_path: Path) -> None:
    found = trail(tmp_path / "audit.jsonl")
    await found.done(matter(path="/" + "x" * 9000), 200, "y" * 9000, [Change("p" * 999, "b" * 999, "a" * 999)] * 150)
    line = next(found.lines())
    assert (len(line.changes), line.more) == (100, 50)
    assert max(map(len, (line.path, line.detail or "", line.changes[0].before or ""))) == LONGEST + 3
    await found.close()


async def test_what_is_no_text_does_not_stop_the_trail(tmp_path: Path) -> None:
    found = trail(tmp_path / "audit.jsonl")
    await found.done(matter(path="/\udcff\n"), 200, "\ud800", [])
    assert written(tmp_path / "audit.jsonl")[0]["path"] == "/?\n"
    await found.close()


# The file.


async def test_the_file_is_for_its_owner_alone_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "new" / "audit.jsonl"
    found = trail(file)
    await found.intend(matter())
    await found.done(matter(), 200, None, [Change("a", None, "1")])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await found.close()
    again = trail(file)
    assert list(again.lines()) == list(found.lines())
    await again.intend(matter("next"))
    assert [line["seq"] for line in written(file)] == [1, 2, 3]
    await again.close()


@pytest.mark.parametrize("how", ["moved", "deleted", "signal"])
async def test_lines_go_to_a_new_file_when_the_old_one_was_moved_away(tmp_path: Path, how: str) -> None:
    file = tmp_path / "audit.jsonl"
    found = trail(file)
    await found.intend(matter())
    if how == "deleted":
        file.unlink()
    else:
        file.rename(tmp_path / "old")
    if how == "signal":
        found.reopen()
    await found.intend(matter())
    assert [line["seq"] for line in written(file)] == [2]
    await found.close()


def test_full_files_are_moved_on_and_there_are_never_more_than_so_many(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = TrailFile(path, size=3 * len(LINE), kept=3)
    for _ in range(20):
        file.write(LINE, lasting=False)
    file.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all(each.stat().st_size <= 3 * len(LINE) for each in tmp_path.iterdir())
    assert file.tail() == LINE * 5


def test_the_tail_has_whole_lines(tmp_path: Path) -> None:
    file = TrailFile(tmp_path / "audit.jsonl")
    file.write(b"".join(b'{"n":%d}\n' % n for n in range(1000)), lasting=True)
    file.close()
    tail = file.tail(100).splitlines()
    assert tail[-1] == b'{"n":999}'
    assert all(json.loads(line) for line in tail)
    assert len(tail) == 9


def test_a_link_or_a_pipe_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError):  # noqa: PT011  # the system's words for it differ
            TrailFile(tmp_path / name).write(LINE, lasting=False)
    assert (tmp_path / "elsewhere").read_text() == ""


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text("")
    path.chmod(0o644)
    file = TrailFile(path)
    file.write(LINE, lasting=False)
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_lines_that_are_none_of_ours_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_bytes(b'{"seq": 7}\n\xff\n[]\n')
    found = trail(file)
    assert list(found.lines()) == []
    file.unlink()
    file.mkdir()
    with pytest.raises(Unwritten):
        await found.intend(matter())
