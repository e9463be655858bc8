"""`balancer config patch`, `put`, `rollback` and the like: the configuration of the running balancer."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from balancer.commands import figures
from balancer.commands.client import Client, Content, fault
from balancer.commands.console import Console, counted, printable
from balancer.commands.document import Part
from balancer.commands.outcome import OK, USAGE, Failure
from balancer.commands.reload import told

CONFIG = ("api", "config")
YAML = "application/yaml"
_CLOSED = (("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"))
"""What a value begins and ends with that is more than plain text. An address such as [::1]:80 is not."""


class Terms(NamedTuple):
    """How a change is to be made."""

    dry_run: bool = False
    confirm: str | None = None
    as_json: bool = False

    @property
    def query(self) -> str:
        said = ["dry_run=true"] if self.dry_run else []
        return "&".join([*said, f"confirm={quote(self.confirm)}"] if self.confirm is not None else said)


def running(console: Console, client: Client, as_json: bool) -> int:
    """The configuration in force, as a file."""
    from config.show import dump, escaped

    found = client.get(*CONFIG)
    config = found.part("config").fields
    console.out(json.dumps(config, indent=2) if as_json else dump(escaped(config)).rstrip("\n"))
    return OK


def patch(console: Console, client: Client, file: Path | None, settings: Sequence[str], terms: Terms) -> int:
    """Change some settings: those of a file, and those that were named."""
    if (file is None) == (not settings):
        raise Failure(
            USAGE, "say what to change: a file of YAML or JSON (- for stdin), or one or more --set PATH=VALUE"
        )
    if file is not None:
        return _change(console, client, "PATCH", Content(_read(file), YAML), terms)
    values = [_value(setting) for setting in settings]
    shown, tag = client.tagged(*CONFIG)
    content = json.dumps(_patch(values, shown.part("config").fields)).encode()
    body = Content(content, "application/merge-patch+json", typed=False)
    return _told(console, client.change("PATCH", *CONFIG, tag=tag, content=body, query=terms.query), terms)


def put(console: Console, client: Client, file: Path, terms: Terms) -> int:
    """Put a whole configuration in the place of the one in force."""
    return _change(console, client, "PUT", Content(_read(file), YAML), terms)


def rollback(console: Console, client: Client, revision: int, terms: Terms) -> int:
    _, tag = client.tagged(*CONFIG)
    body = Content(json.dumps({"revision": revision}).encode(), "application/json", typed=False)
    found = client.change("POST", *CONFIG, "rollback", tag=tag, content=body, query=terms.query)
    return _told(console, found, terms)


def confirm(console: Console, client: Client, revision: int | None) -> int:
    body = {} if revision is None else {"revision": revision}
    found = client.post(*CONFIG, "confirm", body=body)
    console.say(f"confirmed: revision {found.count('revision')} stays")
    return OK


def save(console: Console, client: Client, dry_run: bool) -> int:
    """Fold what the API has changed into the file of the running balancer."""
    _, tag = client.tagged(*CONFIG)
    query = "dry_run=true" if dry_run else ""
    found = client.change("POST", *CONFIG, "save", tag=tag, content=None, query=query)
    changes = found.items("changes")
    file = found.text("file")
    if not changes:
        console.say(f"nothing to save: {file} says what is in force")
        return OK
    what = counted(len(changes), "change")
    console.say(f"{what} could be saved to {file}" if dry_run else f"saved {what} to {file}; the old one is {file}.bak")
    for line in told(changes):
        console.say(f"  {line}")
    return OK


def diff(console: Console, client: Client, as_json: bool) -> int:
    """What the API says over the file, and what of the file has not been taken yet."""
    found = client.get(*CONFIG, "diff")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    over, disk, problems = found.items("running"), found.items("file"), found.items("problems")
    console.out("the API over the file:" if over else "the API has changed nothing over the file")
    for line in told(over):
        console.out(f"  {line}")
    if problems:
        console.out("the file can not be taken as it is now:")
        for problem in problems:
            console.out(f"  {fault(problem)}")
        return OK
    console.out(
        "the file since it was last taken (`balancer reload` takes it):" if disk else "the file is as it was taken"
    )
    for line in told(disk):
        console.out(f"  {line}")
    return OK


def history(console: Console, client: Client, as_json: bool) -> int:
    found = client.get(*CONFIG, "history")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    for one in found.items("items"):
        state = "   on trial" if one.flag("provisional") else ""
        note = f"   {one.text('note')}" if one.text("note") else ""
        head = f"{one.count('revision'):>4}  {_moment(one.text('at'))}  {one.text('cause')} by {one.text('author')}"
        console.out(f"{head}{state}{note}")
        for line in told(one.items("changes")):
            console.out(f"      {line}")
        if more := one.count("more"):
            console.out(f"      and {counted(more, 'change')} more")
    return OK


def why(console: Console, client: Client, path: str, as_json: bool) -> int:
    """Where settings come from."""
    found = client.get(*CONFIG, "why", query=f"path={quote(path, safe='')}")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    for item in found.items("items"):
        value = item.text("value")
        console.out(f"{item.text('path')}: {'nothing' if value is None else value}   {_source(item)}")
    if more := found.count("more"):
        console.out(f"and {counted(more, 'setting')} more")
    return OK


def _source(item: Part) -> str:
    written = item.part("written")
    if item.text("source") != "api":
        return _written(written)
    by, at = item.text("by"), _moment(item.text("at"))
    who = f"by {by} over the API, {at}" if by is not None else "over the API, by whom is not known any more"
    value = written.text("value")
    return f"{who}; without that {'nothing' if value is None else value}, {_written(written)}"


def _written(written: Part) -> str:
    kind = written.text("source")
    if kind == "default":
        return "the default"
    held = written.fields.get("variables")
    names = ", ".join(printable(str(name)) for name in held) if isinstance(held, list) else ""
    if kind == "environment":
        return f"from the environment, {names}"
    place = f"{written.text('file')}:{written.count('line')}:{written.count('column')}"
    under = f", as {written.text('path')}" if written.text("path") else ""
    return f"{place}{under}{f', from {names}' if names else ''}"


def _change(console: Console, client: Client, method: str, content: Content, terms: Terms) -> int:
    """Change what is in force at this moment; somebody else's change in between makes it fail."""
    _, tag = client.tagged(*CONFIG)
    return _told(console, client.change(method, *CONFIG, tag=tag, content=content, query=terms.query), terms)


def _told(console: Console, found: Part, terms: Terms) -> int:
    if terms.as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    changes = found.items("changes")
    if not changes:
        console.say("nothing changes: it is in force already")
        return OK
    what = counted(len(changes), "change")
    console.say(f"this would be {what}:" if terms.dry_run else f"changed: {what}, revision {found.count('revision')}")
    for line in told(changes):
        console.say(f"  {line}")
    effects = found.fields.get("effects")
    if isinstance(effects, list) and effects:
        console.say("what it does:" if not terms.dry_run else "what it would do:")
        for effect in effects:
            console.say(f"  {printable(str(effect))}")
    for warning in found.items("warnings"):
        console.say(f"  warning: {fault(warning)}")
    trial = found.part("provisional")
    if trial.fields and not terms.dry_run:
        left = round(trial.number("seconds_left") or 0.0)
        console.say(f"it is on trial: `balancer config confirm` within {left} s, or it undoes itself")
    return OK


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise Failure(USAGE, f"{file} cannot be read: {error.strerror or error}") from None


def _value(setting: str) -> tuple[str, object]:
    """PATH=VALUE with the value as a file would have it; nothing after the = takes a setting back."""
    from config.compose import compose, typed
    from config.nodes import plain
    from config.problems import ConfigError, path_of

    path, equals, text = setting.partition("=")
    if not equals or not path:
        raise Failure(USAGE, f"--set must be PATH=VALUE, such as pools.app.strategy=hash, not {setting!r}")
    try:
        path_of(path)
    except ValueError as error:
        raise Failure(USAGE, f"--set {error}") from None
    text = text.strip()
    if (text[:1], text[-1:]) not in _CLOSED or len(text) < 2:
        return path, typed(text)
    try:
        tree, problems = compose(f"it: {text}", "")
    except ConfigError as error:
        tree, problems = None, list(error.problems)
    if tree is None or problems:
        why = problems[0].message
        raise Failure(USAGE, f"--set {path}: the value {why}; in quotes it is text: '{path}=\"...\"'") from None
    return path, plain(tree.entries["it"])


def _patch(values: Sequence[tuple[str, object]], config: Mapping[str, object]) -> dict[str, object]:
    """Settings of a configuration as one merge patch."""
    from config.naming import quoted, setting
    from config.problems import path_text

    patch: dict[str, object] = {}
    for text, value in values:
        try:
            path = setting(text, config)
        except ValueError as error:
            raise Failure(USAGE, f"--set {text}: {error}") from None
        if (whole := quoted(path, config)) is not None:
            raise Failure(USAGE, f"--set {text}: a new name with dots needs brackets and quotes: '{whole}=...'")
        inner = patch
        if not all(isinstance(piece, str) for piece in path):
            listing = path_text(path[: next(at for at, piece in enumerate(path) if isinstance(piece, int))])
            raise Failure(USAGE, f"--set {text}: a list is set as a whole: '{listing}=[a, b]'")
        for piece in path[:-1]:
            below = inner.setdefault(str(piece), {})
            if not isinstance(below, dict):
                raise Failure(USAGE, f"--set {text} is inside of what another --set has said")
            inner = below
        inner[str(path[-1])] = value
    return patch


def _moment(text: str | None) -> str:
    moment = figures.moment(text)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment is not None else "-"
