"""`balancer cdn` against an API that answers as the real one does."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from api.cdn_models import (
    CdnDay,
    CdnDesk,
    CdnLimit,
    CdnPictures,
    CdnProblem,
    CdnStatus,
    DeletedAnswer,
    FileAnswer,
    FilesAnswer,
    PictureAnswer,
    Rendered,
    TicketAnswer,
    TicketCdn,
    TicketLevel,
    TicketRefusal,
    TicketsAnswer,
    TrafficAnswer,
    TrafficPoint,
    UploadAnswer,
)
from api.operation import Model
from balancer.cli import main
from balancer.commands.console import Console
from balancer.commands.outcome import ERROR, OK, REFUSED, TIMED_OUT, UNREACHABLE, USAGE
from balancer.commands.progress import LONG, PIECE, line, pieces
from tests.commands.answers import NOW
from tests.commands.stand_in import Reply, Terminal, balancer, problem, stand_in

CDN = "/api/infrastructure/cdn"
FILES = f"POST {CDN}/files"


def said(model: Model) -> dict[str, object]:
    """As the API writes it."""
    document: dict[str, object] = json.loads(model.model_dump_json())
    return document


def file(path: str = "image/ab-cat.jpg", **changes: object) -> dict[str, object]:
    fields = {
        "path": path,
        "url": f"/cdn/{path}",
        "size": 2048,
        "content_type": "image/jpeg",
        "sha256": None,
        "etag": None,
        "provider": "local",
        "stored_at": NOW,
        "tags": ["a", "b"],
        "hits": 7,
    }
    return {**fields, **changes}


def uploaded(path: str = "image/ab-cat.jpg", *, created: bool = True) -> Reply:
    return Reply(
        said(UploadAnswer.model_validate({**file(path), "created": created, "ticket": None})), 201 if created else 200
    )


def ticket(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "ticket": "pg_01",
        "state": "completed",
        "created": NOW,
        "completed": NOW,
        "targets": ["/posts/*", "tag:news"],
        "soft": False,
        "scope": ["own", "cdn"],
        "own": [TicketLevel(level="memory", ok=True, entries=3, reason=None)],
        "cdn": None,
        "verified": True,
        "notes": [],
        "warnings": [],
        "author": "ops",
    }
    return said(TicketAnswer.model_validate({**fields, **changes}))


# Uploads.


def test_a_file_is_sent_as_it_is_and_what_is_said_of_it_beside_it(tmp_path: Path) -> None:
    cat = tmp_path / "cat.jpg"
    cat.write_bytes(b"meow" * 100)
    path = f"{FILES}?name=dog.jpg&kind=image&tags=a%2Cb&overwrite=true"
    with stand_in({path: uploaded()}) as api:
        words = ("--name", "dog.jpg", "--kind", "image", "--tag", "a", "--tag", "b", "--overwrite")
        ended = balancer("cdn", "upload", str(cat), *words, "--admin", api.url)
    assert ended == (OK, "image/ab-cat.jpg   /cdn/image/ab-cat.jpg\n", "")
    (asked,) = api.asked
    assert asked.body == b"meow" * 100
    assert (asked.headers["Content-Type"], asked.headers["Expect"]) == ("image/jpeg", "100-continue")


def test_several_files_are_uploaded_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a {}")
    (tmp_path / "b").write_text("b")
    replies = {f"{FILES}?name=a.css": uploaded("document/a.css"), f"{FILES}?name=b": uploaded("other/b", created=False)}
    with stand_in(replies) as api:
        ended = balancer("cdn", "upload", str(tmp_path / "a.css"), str(tmp_path / "b"), "--admin", api.url)
        as_json = balancer("cdn", "upload", str(tmp_path / "b"), "--json", "--admin", api.url)
        both = balancer("cdn", "upload", "a", "b", "--name", "c", "--admin", api.url)
    assert ended.out.splitlines() == [
        "document/a.css   /cdn/document/a.css",
        "other/b   /cdn/other/b   (it was there already)",
    ]
    assert [asked.headers["Content-Type"] for asked in api.asked[:2]] == ["text/css", "application/octet-stream"]
    assert json.loads(as_json.out)[0]["path"] == "other/b"
    assert (both.code, both.messages) == (
        USAGE,
        "balancer: --name is for one file; several keep their own names\n",
    )


def test_a_file_that_is_refused_is_not_sent(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as made:
        made.truncate(64 * LONG)
    with stand_in({}) as api:
        api.refusal = problem(403, "this needs the role operator")
        code, out, messages = balancer("cdn", "upload", str(large), "--admin", api.url)
        assert (code, out, messages) == (REFUSED, "", "balancer: this needs the role operator\n")
        assert api.asked[0].body == b""


@pytest.mark.parametrize(
    ("name", "message"),
    [("nix", "there is no file "), ("", " is a folder: name the files in it, such as ")],
)
def test_what_is_no_file_is_told_before_anybody_is_asked(tmp_path: Path, name: str, message: str) -> None:
    with stand_in({}) as api:
        code, _, messages = balancer("cdn", "upload", str(tmp_path / name), "--admin", api.url)
        assert (code, api.asked) == (USAGE, [])
    assert message in messages


def test_without_a_cdn_it_is_said_how_to_have_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    refusal = problem(409, "no CDN is configured: write `cdn: true`")
    with stand_in({f"{FILES}?name=a": refusal}) as api:
        code, _, messages = balancer("cdn", "upload", str(tmp_path / "a"), "--admin", api.url)
    assert (code, messages) == (REFUSED, "balancer: no CDN is configured: write `cdn: true`\n")
    ended = balancer("cdn", "upload", str(tmp_path / "a"), "--admin", "unix:/nonexistent/socket")
    assert ended.code == UNREACHABLE


def test_a_long_upload_is_watched_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(4 * LONG))
    for size, terminal, watched in ((4 * LONG, True, True), (4 * LONG, False, False), (LONG, True, False)):
        large.write_bytes(bytes(size))
        messages = Terminal() if terminal else io.StringIO()
        with stand_in({f"{FILES}?name=large.bin": uploaded()}) as api:
            console = Console({"TERM": "xterm"}, io.StringIO(), messages)
            assert main(["cdn", "upload", str(large), "--admin", api.url], console) == OK
        shown = messages.getvalue()
        assert ("100%" in shown) is watched
        assert not watched or shown.endswith("\r\x1b[K")  # and takes itself away


def test_the_line_of_progress_tells_how_far_how_fast_and_how_long() -> None:
    assert line("a", 0, 100, 0.0) == "a    0% [                        ] 0 B of 100 B"
    assert line("a", 50 << 20, 100 << 20, 5.0) == "a   50% [############            ] 50 MiB of 100 MiB  10 MiB/s  5s"


def test_a_file_is_read_in_pieces_and_no_further_than_its_size() -> None:
    times = iter(range(100))
    source = io.BytesIO(bytes(3 * PIECE))
    console = Console({"TERM": "xterm"}, io.StringIO(), io.StringIO())
    found = list(pieces(source, 2 * PIECE + 5, "a", console, lambda: float(next(times))))
    assert list(map(len, found)) == [PIECE, PIECE, 5]


def test_one_file_that_is_refused_is_named_and_keeps_no_other_back(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    replies = {
        f"{FILES}?name=a": uploaded("other/a"),
        f"{FILES}?name=b": problem(422, "expected an image"),
        f"{FILES}?name=c": uploaded("other/c"),
    }
    words = [str(tmp_path / name) for name in ("a", "b", "nix", "c")]
    with stand_in(replies) as api:
        ended = balancer("cdn", "upload", *words, "--admin", api.url)
        as_json = balancer("cdn", "upload", *words, "--json", "--admin", api.url)
    assert ended.code == as_json.code == USAGE
    assert ended.out.splitlines() == ["other/a   /cdn/other/a", "other/c   /cdn/other/c"]
    assert ended.messages.splitlines() == [
        f"balancer: {words[1]}: expected an image",
        f"there is no file {words[2]}",
        "2 of 4 are uploaded",
    ]
    told = json.loads(as_json.out)
    assert [one.get("path") for one in told] == ["other/a", None, None, "other/c"]
    assert [one.get("error") for one in told] == [None, "expected an image", f"there is no file {words[2]}", None]
    assert [one["file"] for one in told] == words


def test_when_nobody_takes_the_key_any_more_the_rest_is_not_tried_and_that_is_said(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    replies = {f"{FILES}?name=a": uploaded("other/a"), f"{FILES}?name=b": problem(403, "no")}
    with stand_in(replies) as api:
        ended = balancer("cdn", "upload", *(str(tmp_path / name) for name in "abc"), "--admin", api.url)
    assert (ended.code, len(api.asked)) == (REFUSED, 2)
    assert ended.messages.splitlines()[1] == "1 of 3 are uploaded; 1 further one not tried"


def test_stdin_is_a_file_when_it_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"meow" * 100)
    with stand_in({f"{FILES}?name=cat.jpg": uploaded()}) as api, source.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        nameless = balancer("cdn", "upload", "-", "--admin", api.url)
        ended = balancer("cdn", "upload", "-", "--name", "cat.jpg", "--admin", api.url)
    assert (nameless.code, nameless.messages) == (
        USAGE,
        "balancer: what comes from stdin has no name: give it one with --name\n",
    )
    assert (ended.code, api.asked[0].body) == (OK, b"meow" * 100)


# Lists and removal.


def test_all_pages_of_files_are_one_list() -> None:
    first = FilesAnswer(items=[FileAnswer.model_validate(file("a"))], next="a")
    second = FilesAnswer(items=[FileAnswer.model_validate(file("b", hits=None, tags=[]))], next=None)
    path = f"GET {CDN}/files?prefix=x%2F&limit=1000"
    with stand_in({path: Reply(said(first)), f"{path}&after=a": Reply(said(second))}) as api:
        ended = balancer("cdn", "ls", "x/", "--admin", api.url)
        as_json = balancer("cdn", "ls", "x/", "--json", "--admin", api.url)
    assert [row.split() for row in ended.out.splitlines()] == [
        ["path", "size", "type", "hits", "tags"],
        ["a", "2.0", "KiB", "image/jpeg", "7", "a,b"],
        ["b", "2.0", "KiB", "image/jpeg", "-"],
    ]
    assert [entry["path"] for entry in json.loads(as_json.out)] == ["a", "b"]
    none = Reply(said(FilesAnswer(items=[], next=None)))
    with stand_in({f"GET {CDN}/files?prefix=&limit=1000": none}) as api:
        assert balancer("cdn", "ls", "--admin", api.url) == (OK, "", "There is no file.\n")


def test_files_are_removed_by_their_paths_and_those_that_were_not_there_are_told() -> None:
    def gone(path: str, existed: bool) -> Reply:
        return Reply(said(DeletedAnswer(path=path, existed=existed, ticket="pg_1" if existed else None)))

    replies = {
        f"DELETE {CDN}/files/image/a%20b.jpg": gone("image/a b.jpg", True),
        f"DELETE {CDN}/files/nix": gone("nix", False),
    }
    with stand_in(replies) as api:
        code, out, messages = balancer("cdn", "rm", "image/a b.jpg", "nix", "--admin", api.url)
        as_json = balancer("cdn", "rm", "/image/a b.jpg", "--json", "--admin", api.url)
    assert (code, out) == (ERROR, "image/a b.jpg is removed; pg_1 purges it\n")
    assert messages.splitlines() == [
        "balancer: nix: not there; `balancer cdn ls` tells what is",
        "1 of 2 are removed",
    ]
    assert as_json.code == OK
    assert json.loads(as_json.out)[0]["existed"] is True


@pytest.mark.parametrize(
    ("word", "asked"),
    [
        ("/cdn/image/a.jpg", "cdn/image/a.jpg"),
        ("https://cdn.example.com/cdn/image/a.jpg", "cdn/image/a.jpg"),
        ("https://cdn.example.com/image/a%20b.jpg", "image/a%20b.jpg"),
    ],
)
def test_a_file_is_removed_by_its_url_as_well(word: str, asked: str) -> None:
    gone = Reply(said(DeletedAnswer(path="image/a.jpg", existed=True, ticket=None)))
    with stand_in({f"DELETE {CDN}/files/{asked}": gone, f"GET {CDN}/status": status()}) as api:
        assert balancer("cdn", "rm", word, "--admin", api.url) == (OK, f"{word} is removed\n", "")


def test_what_is_no_file_is_named_and_nobody_is_asked_to_remove_it() -> None:
    with stand_in({f"GET {CDN}/status": status()}) as api:
        ended = balancer("cdn", "rm", "../x", "https://other.example/a", "image//a", "--admin", api.url)
        assert not any(asked.method == "DELETE" for asked in api.asked)
    assert (ended.code, ended.messages.splitlines()) == (
        USAGE,
        [
            "balancer: ../x: is no path of a file, such as image/2026/11/ab/abcd-cat.jpg",
            "https://other.example/a: is no file of the CDN, which is at https://cdn.example.com",
            "image//a: is no path of a file, such as image/2026/11/ab/abcd-cat.jpg",
            "0 of 3 are removed",
        ],
    )


# Status.


def status(**changes: object) -> Reply:
    fields: dict[str, object] = {
        "at": NOW,
        "enabled": True,
        "provider": "cloudflare",
        "ok": True,
        "checked_at": NOW,
        "latency": 0.1,
        "account": "zone example.com",
        "capabilities": ["upload", "purge_url"],
        "problems": [],
        "url": "https://cdn.example.com",
        "hosts": ["cdn.example.com"],
        "max_upload": 100 << 20,
        "limits": {"files": CdnLimit(left=3, capacity=25, refill=0.1, blocked=12)},
        "pictures": CdnPictures(by="local", path="/img/", signed=True, presets=[], sources=[]),
        "purges": CdnDesk(tickets=2, calls=3, breaker="open", opened=1, error="no answer"),
        "journal": None,
        "details": {"plan": "free"},
        "last_day": CdnDay(requests=1200, bytes_out=2048, hits=600, hit_ratio=0.5, status_5xx=None),
    }
    return Reply(said(CdnStatus.model_validate({**fields, **changes})))


def test_the_status_is_a_page_for_people() -> None:
    with stand_in({f"GET {CDN}/status": status()}) as api:
        ended = balancer("cdn", "status", "--admin", api.url)
    assert ended.code == OK
    assert ended.out.splitlines() == [
        "cloudflare   ok   zone example.com   https://cdn.example.com",
        "can do      upload, purge_url",
        "hosts       cdn.example.com",
        "uploads     up to 100 MiB",
        "pictures    /img/   signed   by the balancer",
        "purges      2 under way   the provider is left alone for a while (open)",
        "last error  no answer",
        "last 24 h   1200 requests   50% hits   2.0 KiB sent",
        "limit       files: 3 of 25 left, none for 12 s",
        "plan        free",
    ]


def test_what_a_provider_tells_has_words_and_units() -> None:
    details = {
        "free_bytes": 82 << 30,
        "quota_bytes": None,
        "bytes": 2048,
        "largest_upload_bytes": 1 << 20,
        "is_on": True,
        "paths_this_month": 7,
    }
    pictures = CdnPictures(by="cloudflare", path="/cdn-cgi/image/", signed=False, presets=[], sources=[])
    found = status(details=details, capabilities=["purge_url"], pictures=pictures)
    with stand_in({f"GET {CDN}/status": found}) as api:
        lines = balancer("cdn", "status", "--admin", api.url).out.splitlines()
    assert lines[-4:] == ["free        82 GiB", "bytes       2.0 KiB", "is on       yes", "paths this month 7"]
    assert "pictures    /cdn-cgi/image/   not signed   by cloudflare" in lines
    assert not any(line.startswith(("uploads", "largest", "quota")) for line in lines)


def test_what_is_wrong_with_the_cdn_is_told_with_exit_code_1() -> None:
    wrong = status(ok=False, problems=[CdnProblem(code="cdn_auth", message="the token has expired")])
    off = status(ok=False, enabled=False, provider=None)
    with stand_in({f"GET {CDN}/status": wrong}) as api:
        ended = balancer("cdn", "status", "--admin", api.url)
        as_json = balancer("cdn", "status", "--json", "--admin", api.url)
    assert ended.code == as_json.code == ERROR
    assert "cdn_auth: the token has expired" in ended.out
    with stand_in({f"GET {CDN}/status": off}) as api:
        ended = balancer("cdn", "status", "--admin", api.url)
    assert (ended.code, ended.out.startswith("there is no CDN: `cdn: true`")) == (ERROR, True)


# Purges.


def test_a_purge_is_sent_in_the_words_of_the_api_and_its_ticket_told() -> None:
    words = ("/posts/*", "--tag", "news", "--host", "h", "--soft", "--widen", "--own", "--once", "k1")
    with stand_in({f"POST {CDN}/purge": Reply(ticket())}) as api:
        ended = balancer("cdn", "purge", *words, "--wait", "--timeout", "5", "--admin", api.url)
    (asked,) = api.asked
    assert json.loads(asked.body) == {
        "patterns": ["/posts/*"],
        "tags": ["news"],
        "hosts": ["h"],
        "soft": True,
        "widen": True,
        "wait": True,
        "timeout": 5.0,
        "scope": ["own"],
    }
    assert asked.headers["Idempotency-Key"] == "k1"
    assert ended == (
        OK,
        "pg_01   completed   seen to be gone\ntargets     /posts/*   tag:news\nmemory      3 answers\n",
        "",
    )


def test_what_the_cdn_refused_is_told_with_what_would_do_and_exit_code_1() -> None:
    refused = TicketRefusal(target="/a/*/b", reason="has no form there", nearest="/a/*")
    cdn = TicketCdn(
        provider="cloudflare",
        batches=1,
        accepted=["/c"],
        rejected=[refused],
        failed=["/d"],
        verified=False,
        provider_ids=["x"],
        attempts=1,
        next_try=None,
        error=None,
    )
    notes = {"notes": ["soft is hard there"], "warnings": ["redis: away"]}
    found = ticket(state="partial", verified=False, cdn=cdn, **notes)
    with stand_in({f"POST {CDN}/purge": Reply(found)}) as api:
        ended = balancer("cdn", "purge", "/a/*/b", "/c", "--admin", api.url)
    assert ended.code == ERROR
    assert ended.out.splitlines()[3:] == [
        "cloudflare  1 of 2 targets taken   1 call",
        "refused     /a/*/b: has no form there; --widen would purge /a/*",
        "failed      /d",
        "note        soft is hard there",
        "warning     redis: away",
    ]


def test_a_purge_that_failed_is_shown_and_ends_with_exit_code_1() -> None:
    with stand_in({f"POST {CDN}/purge": Reply(ticket(state="failed", verified=False), 502)}) as api:
        ended = balancer("cdn", "purge", "/a", "--json", "--admin", api.url)
    assert (ended.code, json.loads(ended.out)["state"]) == (ERROR, "failed")


def test_what_was_waited_for_and_did_not_come_in_time_is_exit_code_5() -> None:
    for state, code in (("queued", TIMED_OUT), ("in_progress", TIMED_OUT), ("submitted", OK), ("completed", OK)):
        with stand_in({f"POST {CDN}/purge": Reply(ticket(state=state, completed=None, verified=False), 202)}) as api:
            ended = balancer("cdn", "purge", "/a", "--wait", "--timeout", "3", "--admin", api.url)
            assert ended.code == code
            assert ("`balancer cdn purges pg_01` tells" in ended.messages) is (code == TIMED_OUT)
            assert balancer("cdn", "purge", "/a", "--admin", api.url).code == OK  # nothing was waited for


def test_what_is_wrong_with_an_order_is_told_by_what_was_written() -> None:
    faults = [
        {"pointer": "/patterns/1", "message": "'*' is everything: say so by \"everything\": true"},
        {"pointer": "/tags/0", "message": "a tag is of visible ASCII"},
        {"pointer": "/timeout", "message": "must be at most 60, not 99"},
    ]
    refusal = problem(422, "nothing was purged: 3 things are not as expected", *faults)
    with stand_in({f"POST {CDN}/purge": refusal}) as api:
        ended = balancer("cdn", "purge", "/a", "*", "--tag", "a b", "--admin", api.url)
    assert ended.code == USAGE
    assert ended.messages.splitlines() == [
        "balancer: nothing was purged: 3 things are not as expected",
        "  *: '*' is everything: say so by --all",
        "  --tag a b: a tag is of visible ASCII",
        "  --timeout: must be at most 60, not 99",
    ]


def test_the_two_commands_that_purge_tell_of_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    for words, other in ((("purge",), "`balancer cdn purge`"), (("cdn", "purge"), "`balancer purge`")):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        assert other in " ".join(capsys.readouterr().out.split())


def test_nothing_is_never_everything() -> None:
    with stand_in({f"POST {CDN}/purge": Reply(ticket())}) as api:
        for words in ((), ("--soft",), ("--wait",)):
            code, _, messages = balancer("cdn", "purge", *words, "--admin", api.url)
            assert (code, "nothing to purge" in messages) == (USAGE, True)
        assert api.asked == []
        assert balancer("cdn", "purge", "--all", "--admin", api.url).code == OK
        assert json.loads(api.asked[0].body) == {"everything": True}


def test_the_last_purges_are_a_table_and_one_of_them_a_page() -> None:
    answer = {"at": NOW, "items": [ticket()], "next": None}
    replies = {
        f"GET {CDN}/purges?limit=20": Reply(said(TicketsAnswer.model_validate(answer))),
        f"GET {CDN}/purges/pg_01": Reply(ticket()),
        f"POST {CDN}/purges/pg_01/retry": Reply(ticket(), 202),
        f"GET {CDN}/purges?limit=1": Reply(said(TicketsAnswer(at=NOW, items=[], next=None))),
    }
    with stand_in(replies) as api:
        ended = balancer("cdn", "purges", "--admin", api.url)
        assert [row.split() for row in ended.out.splitlines()] == [
            ["ticket", "state", "age", "targets"],
            ["pg_01", "completed", "0s", "/posts/*", "tag:news"],
        ]
        assert balancer("cdn", "purges", "pg_01", "--admin", api.url).out.startswith("pg_01   completed")
        assert balancer("cdn", "purges", "pg_01", "--retry", "--admin", api.url).code == OK
        assert api.asked[-1].method == "POST"
        assert balancer("cdn", "purges", "--retry", "--admin", api.url).code == USAGE
        assert balancer("cdn", "purges", "--limit", "1", "--admin", api.url) == (OK, "", "Nothing has been purged.\n")


# Figures and pictures.


def test_traffic_is_told_with_what_is_not_known() -> None:
    found = TrafficAnswer(
        provider="bunny",
        from_=NOW,
        to=NOW,
        interval=3600,
        requests=3,
        bytes_out=2048,
        bytes_origin=None,
        hits=2,
        hit_ratio=0.5,
        status_4xx=0,
        status_5xx=None,
        sampled=True,
        missing={"bytes_origin": "is not told"},
        series=[
            TrafficPoint(at=NOW, requests=3, bytes_out=None, hits=None),
            TrafficPoint(at=NOW, requests=0, bytes_out=0, hits=0),
        ],
    )
    with stand_in({f"GET {CDN}/stats?from=2h&interval=5m&to=1h": Reply(said(found))}) as api:
        ended = balancer("cdn", "stats", "--from", "2h", "--to", "1h", "--interval", "5m", "--admin", api.url)
    assert ended.code == OK
    assert "requests    3   2 hits   50%   4xx 0   5xx -   (an estimate)" in ended.out
    assert "sent        2.0 KiB   from the balancer -" in ended.out
    assert "not known   bytes_origin: is not told" in ended.out
    assert "no traffic  in 1 of 2 intervals" in ended.out
    assert len(ended.out.rstrip().partition("\n\n")[2].splitlines()) == 2  # of the table, the head is one


def test_the_url_of_a_picture_is_all_that_stdout_gets() -> None:
    made = Rendered(format="webp", width=320, height=240, size=2048, source_size=1 << 20, seconds=0.1, cached=False)
    found = PictureAnswer(url="/img/x", provider="local", expires_at=None, notes=["png is kept"], rendered=made)
    with stand_in({f"POST {CDN}/optimize-image": Reply(said(found))}) as api:
        words = ("cat.jpg", "--width", "320", "--format", "webp", "--render")
        ended = balancer("cdn", "image-url", *words, "--admin", api.url)
        as_json = balancer("cdn", "image-url", *words, "--json", "--admin", api.url)
    assert json.loads(api.asked[0].body) == {"url": "cat.jpg", "width": 320, "format": "webp", "render": True}
    assert ended == (
        OK,
        "/img/x\n",
        "Note: png is kept.\nwebp, 320 by 240 pixels, 2.0 KiB of 1.0 MiB, in 100ms.\n",
    )
    assert json.loads(as_json.out)["rendered"]["width"] == 320


def test_a_width_of_nothing_is_for_the_balancer_to_refuse() -> None:
    with stand_in({f"POST {CDN}/optimize-image": problem(422, "1 field is not as expected")}) as api:
        ended = balancer("cdn", "image-url", "cat.jpg", "--width", "0", "--admin", api.url)
    assert (ended.code, json.loads(api.asked[0].body)["width"]) == (USAGE, 0)
