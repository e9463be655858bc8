"""What only the file may say: every setting of the schema has been looked at, and none gets around it."""

from __future__ import annotations

import pytest

from config.file_only import FILE_ONLY, SAYABLE, FileOnly, pattern, permit, texts
from config.findings import Findings
from config.load import parse
from config.nodes import Table
from config.problems import Place
from config.schema import Config

FILE = """
listeners: {main: {address: ":80", tls: {certificates: {cert: a.pem, key: a.key}}}, old: "unix:/run/old.sock"}
pools: {app: {servers: {a: "https://a", s: "unix:/run/app.sock"}, strategy: my.own:Best, tls: {ca: ca.pem}}}
logs: {access: {to: /var/log/access.log}}
"""


def config(text: str) -> Config:
    return parse(text, "f", {}).config


def judged(before: Config, after: Config) -> None:
    nowhere = Table(Place("f"))
    permit(before, after, Findings(nowhere, nowhere))


def test_every_text_setting_of_the_schema_has_been_decided_on() -> None:
    """A new one may name a file: write it into FILE_ONLY if it does, or a program or a place; into SAYABLE if not."""
    below = {found for found in texts() if any(found == key or found.startswith(f"{key}.") for key in FILE_ONLY)}
    assert texts() - below - SAYABLE == set(), "say in config/file_only.py whether the API may say these"
    assert SAYABLE - texts() == set(), "there are no such settings any more"
    assert below & SAYABLE == set()


def test_every_setting_that_is_said_to_be_of_the_file_is_there() -> None:
    assert all(
        any(found == key or found.startswith(f"{key}.") for found in texts()) or key == "metrics.open"
        for key in FILE_ONLY
    )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("pools", "app", "servers", "a.b:80", "url"), "pools.*.servers.*.url"),
        (("routes", "r", "match", "host", 3), "routes.*.match.host.*"),
        (("admin", "keys", 0, "id"), "admin.keys.*.id"),
        (("defaults", "limits", "head"), "defaults.limits.head"),
        (("auth", "u", "jwt", "require", "groups", 1), "auth.*.jwt.require.*.*"),
        (("routes", "r", "cache"), "routes.*.cache"),
    ],
)
def test_a_path_has_the_pattern_of_its_setting(path: tuple[str | int, ...], found: str) -> None:
    assert pattern(path) == found


def test_what_the_file_says_may_stay_and_may_go_with_what_it_belongs_to() -> None:
    file = config(FILE)
    judged(file, file)
    gone = file.model_copy(update={"listeners": {"old": file.listeners["old"]}})
    judged(file, gone)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a.pem", "/etc/shadow"),
        (", tls: {certificates: {cert: a.pem, key: a.key}}", ""),
        (", tls: {ca: ca.pem}", ""),
        ("my.own:Best", "os:system"),
        ("/var/log/access.log", "/etc/cron.d/x"),
        ("/run/app.sock", "/run/docker.sock"),
        ("/run/old.sock", "/run/new.sock"),
        ("logs:", "errors: {page: x.html}\nlogs:"),
        ("logs:", "admin: {hosts: [evil.example]}\nlogs:"),
        ("logs:", "metrics: {open: false}\nlogs:"),
    ],
)
def test_it_may_not_be_changed_added_or_taken_away(old: str, new: str) -> None:
    file, text = config(FILE), FILE.replace(old, new)
    assert text != FILE
    if "page" in new:
        with pytest.raises(FileOnly):
            judged(file, file.model_copy(update={"errors": Config.model_fields["errors"].annotation(page="x.html")}))  # type: ignore[misc]  # a model
        return
    with pytest.raises(FileOnly, match="can only be said by the file"):
        judged(file, config(text))


def test_what_is_free_to_say_may_be_said() -> None:
    more = FILE.replace("logs:", "routes: {r: {pool: app, match: /x, respond: null}}\nlogs: {level: debug}\n#")
    more = more.replace("my.own:Best", "hash").replace('a: "https://a"', 'a: "https://b"')
    judged(config(FILE.replace("logs:", "#")), config(more))
