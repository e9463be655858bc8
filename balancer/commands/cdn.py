"""`balancer cdn`: files, purges, figures and pictures of the CDN."""

from __future__ import annotations

import json
import mimetypes
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Final
from urllib.parse import unquote, urlencode, urlsplit

from balancer.commands import figures
from balancer.commands.client import PATIENCE, Client, File, Refusal
from balancer.commands.console import Console, counted, printable
from balancer.commands.document import Part
from balancer.commands.outcome import ERROR, OK, REFUSED, TIMED_OUT, UNREACHABLE, USAGE, Failure
from balancer.commands.progress import pieces
from balancer.commands.table import Column, Line, Span, rendered, table

CDN = ("api", "infrastructure", "cdn")
PAGE = 1000
"""Files that are asked for at a time."""
FILES = (Column("path"), Column("size", right=True), Column("type"), Column("hits", right=True), Column("tags"))
PURGES = (Column("ticket"), Column("state"), Column("age", right=True), Column("targets"))
SERIES = (Column("from"), Column("requests", right=True), Column("sent", right=True), Column("hits", right=True))
_OPTIONS: Final = {"patterns": "", "tags": "--tag", "hosts": "--host", "everything": "--all"}
"""What fields of an order are on the command line."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is said of files that are uploaded."""

    name: str | None
    kind: str | None
    tags: Sequence[str]
    overwrite: bool


def status(console: Console, client: Client, as_json: bool) -> int:
    """How the CDN is; exit code 1 when something is wrong with it."""
    found = client.get(*CDN, "status")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
    else:
        _print(console, _status(found))
    return OK if found.flag("ok") else ERROR


def _status(found: Part) -> Iterator[Line]:
    if not found.flag("enabled"):
        yield [Span("there is no CDN: `cdn: true` in balancer.yaml makes the balancer itself one, or CDN_PROVIDER")]
        return
    ok = found.flag("ok")
    account = found.text("account")
    yield [
        Span(found.text("provider") or "?", "bold"),
        Span("   "),
        Span("ok" if ok else "not ok", "green" if ok else "red"),
        Span(f"   {account}" if account else ""),
        Span(f"   {found.text('url')}" if found.text("url") else ""),
    ]
    for problem in found.items("problems"):
        yield [Span(f"{problem.text('code')}: ", "red"), Span(problem.text("message") or "no reason is told")]
    yield [Span(f"can do      {', '.join(_texts(found, 'capabilities')) or 'nothing'}")]
    hosts = _texts(found, "hosts")
    if hosts:
        yield [Span(f"hosts       {', '.join(hosts)}")]
    if "upload" in _texts(found, "capabilities"):
        yield [Span(f"uploads     up to {figures.size(found.number('max_upload'))}")]
    pictures = found.part("pictures")
    if pictures.fields:
        signed = "signed" if pictures.flag("signed") else "not signed"
        by = pictures.text("by") or "local"
        place = f"{pictures.text('path')}   " if pictures.text("path") else ""
        yield [Span(f"pictures    {place}{signed}   by {'the balancer' if by == 'local' else by}")]
    purges = found.part("purges")
    if purges.fields:
        breaker = purges.text("breaker") or "?"
        left_alone = f"   the provider is left alone for a while ({breaker})" if breaker != "closed" else ""
        yield [Span(f"purges      {purges.count('tickets')} under way{left_alone}")]
        if purges.text("error"):
            yield [Span("last error  ", "red"), Span(purges.text("error") or "")]
    day = found.part("last_day")
    if day.fields:
        requests, sent = figures.count(day.number("requests")), figures.size(day.number("bytes_out"))
        hits = figures.share(day.number("hit_ratio"))
        yield [Span(f"last 24 h   {requests} requests   {hits} hits   {sent} sent")]
    for kind, limit in found.parts("limits").items():
        left, most = figures.count(limit.number("left")), figures.count(limit.number("capacity"))
        blocked = limit.number("blocked")
        yield [Span(f"limit       {kind}: {left} of {most} left{f', none for {blocked:.0f} s' if blocked else ''}")]
    for name, value in found.part("details").fields.items():
        if value is not None and name != "largest_upload_bytes":  # that is told above
            yield [Span(_detail(name, value))]


def _detail(name: str, value: object) -> str:
    """What a provider tells, in the words and units of the rest."""
    is_size = name.endswith("bytes") and isinstance(value, int | float)
    words = name.removesuffix("_bytes").replace("_", " ") if is_size and name != "bytes" else name.replace("_", " ")
    shown = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    return f"{printable(words):11} {figures.size(float(str(value))) if is_size else printable(shown)}"


def upload(console: Console, client: Client, files: Sequence[str], wanted: Wanted, as_json: bool) -> int:
    """Upload files one after the other, and tell where each of them is."""
    if wanted.name is not None and len(files) > 1:
        raise Failure(USAGE, "--name is for one file; several keep their own names")
    told: list[object] = []

    def one(file: str) -> None:
        stored = _upload(console, client, file, wanted)
        if as_json:
            told.append({"file": file, **stored.fields})
        else:
            there = "" if stored.flag("created") else "   (it was there already)"
            console.out(f"{stored.text('path')}   {stored.text('url')}{there}")

    _each(console, files, one, told, "uploaded", as_json)
    return OK


def _each(
    console: Console, words: Sequence[str], one: Callable[[str], None], told: list[object], done: str, as_json: bool
) -> None:
    """Do something with one argument after the other. Whatever becomes of one, the others have their turn, unless
    nobody answers or takes our key; Failure: which of them have failed, and why."""
    failures: list[Failure] = []
    missing = 0
    for position, word in enumerate(words):
        try:
            one(word)
        except Failure as failure:
            if failure.code in (UNREACHABLE, REFUSED) and (len(words) == 1 or not position):
                raise  # it is so for all of them
            about = word if len(words) > 1 and word not in str(failure) else ""
            failures.append(Failure(failure.code, f"{about}: {failure}" if about else str(failure)))
            told.append({"file": word, "error": str(failure)})
            if failure.code in (UNREACHABLE, REFUSED):
                missing = len(words) - position - 1
                break
    if as_json:
        console.out(json.dumps(told, indent=2))
    if not failures:
        return
    lines = list(map(str, failures))
    if len(words) > 1:
        rest = f"; {counted(missing, 'further one')} not tried" if missing else ""
        lines.append(f"{len(words) - len(failures) - missing} of {len(words)} are {done}{rest}")
    raise Failure(max(failure.code for failure in failures), "\n".join(lines))


def _upload(console: Console, client: Client, word: str, wanted: Wanted) -> Part:
    if word == "-" and wanted.name is None:
        raise Failure(USAGE, "what comes from stdin has no name: give it one with --name")
    path = Path(word)
    try:
        with _opened(word) as file:
            size = os.fstat(file.fileno()).st_size
            name = wanted.name or path.name
            said = {"name": name, "kind": wanted.kind, "tags": ",".join(wanted.tags)}
            query = {key: value for key, value in said.items() if value} | (
                {"overwrite": "true"} if wanted.overwrite else {}
            )
            content_type = mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"
            body = File(pieces(file, size, path.name, console), size, content_type)
            return client.send(*CDN, "files", query=urlencode(query), file=body)
    except FileNotFoundError:
        raise Failure(USAGE, f"there is no file {path}") from None
    except IsADirectoryError:
        raise Failure(USAGE, f"{path} is a folder: name the files in it, such as {path}/*") from None
    except OSError as error:
        raise Failure(USAGE, f"{path} can not be read: {error.strerror or error}") from None


def ls(console: Console, client: Client, prefix: str, as_json: bool) -> int:
    """List the files whose paths begin with `prefix`."""
    found: list[Part] = []
    after: str | None = None
    while True:
        query = {"prefix": prefix, "limit": str(PAGE), **({"after": after} if after is not None else {})}
        page = client.get(*CDN, "files", query=urlencode(query))
        found += page.items("items")
        next_ = page.fields.get("next")
        if not isinstance(next_, str):
            break
        after = next_
    if as_json:
        console.out(json.dumps([file.fields for file in found], indent=2))
    elif not found:
        console.say("There is no file." if not prefix else f"There is no file that begins with {prefix}.")
    else:
        _print(console, table(FILES, [_file(file) for file in found], _width(console)))
    return OK


def _opened(word: str) -> BinaryIO:
    """A file by its name, or what comes from stdin, which is kept until its length is known."""
    if word != "-" and not stat.S_ISFIFO(os.stat(word).st_mode):
        return Path(word).open("rb")
    held = TemporaryFile()  # noqa: SIM115  # whoever uploads it closes it
    with sys.stdin.buffer if word == "-" else Path(word).open("rb") as source:
        shutil.copyfileobj(source, held)
    held.seek(0)
    return held


def _file(file: Part) -> list[Span]:
    return [
        Span(file.text("path") or ""),
        Span(figures.size(file.number("size"))),
        Span(file.text("content_type") or ""),
        Span(figures.count(file.number("hits"))),
        Span(",".join(_texts(file, "tags"))),
    ]


def rm(console: Console, client: Client, paths: Sequence[str], as_json: bool) -> int:
    """Remove files; exit code 1 when one of them was not there."""
    told: list[object] = []

    def one(path: str) -> None:
        answer = client.remove(*CDN, "files", *_segments(client, path))
        if not answer.flag("existed"):
            raise Failure(ERROR, f"{path}: not there; `balancer cdn ls` tells what is")
        if as_json:
            told.append(answer.fields)
        else:
            ticket = answer.text("ticket")
            console.out(f"{path} is removed{f'; {ticket} purges it' if ticket else ''}")

    _each(console, paths, one, told, "removed", as_json)
    return OK


def _segments(client: Client, word: str) -> list[str]:
    """A file's path, or that of its URL, in pieces. Failure: it is of no file."""
    path = word
    if "://" in word:
        parts, cdn = urlsplit(word), client.get(*CDN, "status")
        url = cdn.text("url") or ""
        hosts = {host.lower() for host in (*_texts(cdn, "hosts"), urlsplit(url).netloc) if host}
        if hosts and parts.netloc.lower() not in hosts:
            raise Failure(USAGE, f"{word}: is no file of the CDN, which is at {url or ', '.join(sorted(hosts))}")
        path = unquote(parts.path)
    found = path.removeprefix("/").split("/")
    if any(piece in ("", ".", "..") for piece in found):
        raise Failure(USAGE, f"{word}: is no path of a file, such as image/2026/11/ab/abcd-cat.jpg")
    return found


def purge(console: Console, client: Client, wanted: Mapping[str, object], key: str | None, as_json: bool) -> int:
    """Purge the own cache and then the CDN; exit code 1 when that has failed, or something of it was refused."""
    body = {name: value for name, value in wanted.items() if value}
    if not body.keys() & {"patterns", "tags", "hosts", "everything"}:
        raise Failure(USAGE, "nothing to purge: expected /posts/7, '/posts/*', a URL, --tag, --host, or --all")
    timeout = wanted.get("timeout")
    patience = PATIENCE + (float(timeout) if isinstance(timeout, (int, float)) and wanted.get("wait") else 0)
    try:
        found = client.post(*CDN, "purge", body=body, patience=patience, also=(502,), key=key)
    except Refusal as refusal:
        raise Failure(refusal.code, _in_words(refusal, body)) from None
    return _told(console, found, as_json, waited=bool(wanted.get("wait")))


def _in_words(refusal: Refusal, body: Mapping[str, object]) -> str:
    """What is wrong with an order, by what was written on the command line."""
    lines = [str(refusal).partition("\n")[0]]
    for fault in refusal.faults:
        field, _, position = (fault.text("pointer") or "").removeprefix("/").partition("/")
        written = body.get(field)
        option = _OPTIONS.get(field, f"--{field}")
        if isinstance(written, list) and position.isdecimal() and int(position) < len(written):
            option = f"{option} {written[int(position)]}".lstrip()
        reason = (fault.text("message") or "").replace('"everything": true', "--all")
        lines.append(f"  {option}: {reason}")
    return "\n".join(lines)


def ticket(console: Console, client: Client, id_: str, retry: bool, as_json: bool) -> int:
    """What has become of one purge; with `retry`, what of it has failed is tried anew before."""
    found = client.post(*CDN, "purges", id_, "retry") if retry else client.get(*CDN, "purges", id_)
    return _told(console, found, as_json)


def _told(console: Console, found: Part, as_json: bool, *, waited: bool = False) -> int:
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
    else:
        _print(console, _ticket(found))
    rejected = found.part("cdn").items("rejected")
    own = [level for level in found.items("own") if not level.flag("ok")]
    failed = found.text("state") == "failed" or _texts(found.part("cdn"), "failed")
    if failed or rejected or own:
        return ERROR
    if waited and found.text("state") in ("queued", "in_progress"):
        console.say(f"The CDN was not done in time and goes on: `balancer cdn purges {found.text('ticket')}` tells.")
        return TIMED_OUT
    return OK


def _ticket(found: Part) -> Iterator[Line]:
    state = found.text("state") or "?"
    colour = {"completed": "green", "submitted": "green", "failed": "red", "partial": "yellow"}.get(state)
    seen = "   seen to be gone" if found.flag("verified") else ""
    yield [Span(found.text("ticket") or "?", "bold"), Span("   "), Span(state, colour), Span(seen)]
    yield [Span(f"targets     {'   '.join(_texts(found, 'targets'))}")]
    for level in found.items("own"):
        entries = level.number("entries")
        count = counted(int(entries), "answer") if entries is not None else "taken"
        told = count if level.flag("ok") else f"has not taken it: {level.text('reason') or 'no reason is told'}"
        yield [Span(f"{level.text('level') or '?':11} "), Span(told, None if level.flag("ok") else "red")]
    cdn = found.part("cdn")
    if cdn.fields:
        taken, all_ = len(_texts(cdn, "accepted")), len(_texts(found, "targets"))
        calls = f"   {counted(cdn.count('batches'), 'call')}" if cdn.count("batches") else ""
        yield [Span(f"{cdn.text('provider') or '?':11} {taken} of {counted(all_, 'target')} taken{calls}")]
        for refused in cdn.items("rejected"):
            nearest = refused.text("nearest")
            with_ = f"; --widen would purge {nearest}" if nearest else ""
            yield [Span("refused     ", "red"), Span(f"{refused.text('target')}: {refused.text('reason')}{with_}")]
        failed = _texts(cdn, "failed")
        if failed:
            yield [Span("failed      ", "red"), Span("   ".join(failed))]
        if cdn.text("error"):
            again = f" (again at {cdn.text('next_try')})" if cdn.text("next_try") else ""
            yield [Span("error       ", "red"), Span(f"{cdn.text('error')}{again}")]
    for name in ("notes", "warnings"):
        for text in _texts(found, name):
            yield [Span(f"{name[:-1]:11} {text}")]


def purges(console: Console, client: Client, limit: int, as_json: bool) -> int:
    """The last purges, the latest first."""
    found = client.get(*CDN, "purges", query=f"limit={limit}")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    items = found.items("items")
    if not items:
        console.say("Nothing has been purged.")
        return OK
    now = figures.moment(found.text("at"))
    rows = [
        [
            Span(item.text("ticket") or ""),
            Span(item.text("state") or ""),
            Span(figures.age(figures.since(figures.moment(item.text("created")), now))),
            Span(" ".join(_texts(item, "targets"))),
        ]
        for item in items
    ]
    _print(console, table(PURGES, rows, _width(console)))
    return OK


def stats(console: Console, client: Client, from_: str, to: str | None, interval: str, as_json: bool) -> int:
    """Traffic of a period."""
    query = {"from": from_, "interval": interval, **({"to": to} if to is not None else {})}
    found = client.get(*CDN, "stats", query=urlencode(query))
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    _print(console, _stats(found, _width(console)))
    return OK


def _stats(found: Part, width: int | None) -> Iterator[Line]:
    yield [Span(found.text("provider") or "?", "bold"), Span(f"   {found.text('from')} to {found.text('to')}")]
    yield [
        Span(f"requests    {figures.count(found.number('requests'))}"),
        Span(f"   {figures.count(found.number('hits'))} hits"),
        Span(f"   {figures.share(found.number('hit_ratio'))}"),
        Span(f"   4xx {figures.count(found.number('status_4xx'))}   5xx {figures.count(found.number('status_5xx'))}"),
        Span("   (an estimate)" if found.flag("sampled") else ""),
    ]
    sent, origin = figures.size(found.number("bytes_out")), figures.size(found.number("bytes_origin"))
    yield [Span(f"sent        {sent}   from the balancer {origin}")]
    for name, why in found.part("missing").fields.items():
        yield [Span(f"not known   {printable(name)}: {printable(str(why))}")]
    rows = [
        [
            Span(point.text("at") or ""),
            Span(figures.count(point.number("requests"))),
            Span(figures.size(point.number("bytes_out"))),
            Span(figures.count(point.number("hits"))),
        ]
        for point in found.items("series")
        if any(point.number(name) for name in ("requests", "bytes_out", "hits"))
    ]
    if rows:
        quiet = len(found.items("series")) - len(rows)
        yield [Span(f"no traffic  in {quiet} of {counted(len(found.items('series')), 'interval')}")] if quiet else []
        yield []
        yield from table(SERIES, rows, width)


def image_url(console: Console, client: Client, wanted: Mapping[str, object], as_json: bool) -> int:
    """Where a picture is in another size or form."""
    body = {name: value for name, value in wanted.items() if value is not None and value is not False}
    found = client.post(*CDN, "optimize-image", body=body, patience=PATIENCE * 3)
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    console.out(found.text("url") or "")
    for note in _texts(found, "notes"):
        console.say(f"Note: {note}.")
    made = found.part("rendered")
    if made.fields:
        console.say(
            f"{made.text('format')}, {made.count('width')} by {made.count('height')} pixels, "
            f"{figures.size(made.number('size'))} of {figures.size(made.number('source_size'))}, "
            f"in {figures.latency(made.number('seconds'))}{', made before' if made.flag('cached') else ''}."
        )
    return OK


def _texts(found: Part, name: str) -> list[str]:
    values = found.fields.get(name)
    return [printable(value) for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _width(console: Console) -> int | None:
    return console.size[0] if console.size is not None else None


def _print(console: Console, lines: Iterable[Line]) -> None:
    width = _width(console)
    console.out("\n".join(rendered(line, width, console.colours) for line in lines))
