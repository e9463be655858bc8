"""What `config show` prints loads to the same configuration again, and tells no secret."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.diff import Change, diff
from config.load import parse
from config.masking import is_secret, masked
from config.problems import Path
from config.schema import Config
from config.show import show

EVERYTHING = """
listeners: {main: ":8080", old: {address: "unix:/run/b.sock", redirect: main}}
trusted_proxies: [10.0.0.0/8, "::1"]
defaults:
  timeouts: {connect: 1500us, total: 1d, keep_alive: 0}
  limits: {head: 1000, body: 3GiB}
  retries: {statuses: [502, 503], when: connect, methods: [GET, M-SEARCH], budget: {ratio: 33.3%, minimum: 0.1}}
  health: {active: {path: "/h?$x=$${y}", expect: "2xx,301", body: "^ok$$"}, passive: false, keep_at_least: 1}
  headers: {via: null, request_id: null, request: {remove: [X-B], add: {X-C: "on"}}}
pools:
  app:
    servers: {a: http://a:1, b: {url: unix:/run/b, weight: 3, max_connections: 0, backup: true}, "1": http://c}
    strategy: my.plugin:Best
    sticky: {ttl: 1h}
    headers: {forwarded: none, request: {X-A: "012"}, response: {add: {X-D: " spaced: #"}}}
  next: {servers: [http://n:1], health: {active: false, passive: {share: 10%}}}
routes:
  api: {match: {host: [a.b, "*.c"], path: "/x/{id}/**", methods: [GET, PUT], headers: {X: "*"}}, pool: app,
        rewrite: "/{id}/{rest}", timeouts: {idle: 1s}, retries: {attempts: 1}, limits: {body: 0}}
  split: {match: /s, split: {next: 0.3}, sticky: {cookie: lane, secure: true}, maintenance: {allow: 192.0.2.7}}
  moved: {match: /m, redirect: {to: "https://{host}/", status: 301}}
  gone: {match: /g, respond: {status: 410, body: "multi\\nline $$HOME ~\\ttab\\a", headers: {X: "null"}}}
admin: {hosts: [b.internal], state: "1:30"}
metrics: {listen: "[::1]:9901", open: false}
logs: {level: debug, access: {to: none, sample: 0.5, redact: []}}
shutdown: {delay: 90s}
"""


def config(text: str) -> Config:
    return parse(text, "f", {}).config


@pytest.mark.parametrize("text", ["servers: [http://a:1]", EVERYTHING])
def test_what_is_shown_loads_to_the_same_configuration(text: str) -> None:
    assert config(show(config(text))) == config(text)


NAMES = st.sampled_from(["X-A", "x-a", "X-B", "X-C"])
# One field in two spellings is refused.
FIELDS = st.dictionaries(NAMES, st.sampled_from("123"), max_size=3).filter(
    lambda fields: not {"X-A", "x-a"} <= fields.keys()
)
EDITS = st.fixed_dictionaries({}, optional={"remove": st.lists(NAMES, max_size=2), "set": FIELDS, "add": FIELDS})


@pytest.mark.slow
@given(st.lists(EDITS, min_size=3, max_size=3))
def test_merged_header_edits_merge_to_themselves(levels: list[dict[str, object]]) -> None:
    defaults, pool, route = levels
    text = f"""
defaults: {{headers: {{response: {defaults}}}}}
pools: {{app: {{servers: [http://a:1], headers: {{response: {pool}}}}}}}
routes: {{r: {{pool: app, headers: {{response: {route}}}}}}}
"""
    once = config(text)
    assert config(show(once)) == once


@pytest.mark.slow
@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_is_shown_so_that_it_loads_again(body: str) -> None:
    once = config("{servers: [http://a:1], routes: {r: {respond: {}}}}")
    respond = once.routes["r"].respond
    assert respond is not None
    route = once.routes["r"].model_copy(update={"respond": respond.model_copy(update={"body": body})})
    changed = once.model_copy(update={"routes": {"r": route}})
    assert config(show(changed)) == changed


def test_secrets_are_masked() -> None:
    text = """
servers: [http://a:1]
redis: "redis://user:hunter2@h:1/0"
admin: {keys: [{id: a, hash: "sha256:%s"}]}
defaults:
  health: {active: {headers: {X-Probe: hunter2}}}
  headers: {request: {X-Api-Key: hunter2, Authorization: hunter2, X-Plain: plain}}
routes: {r: {pool: default, match: {headers: {X-Verify: hunter2}}}}
""" % ("5ecbe7" + "0" * 58)
    shown = show(config(text))
    assert "hunter2" not in shown
    assert "5ecbe7" not in shown
    assert "redis://***@h:1/0" in shown
    assert "X-Plain: plain" in shown


@pytest.mark.slow
def test_the_text_is_the_same_in_every_process() -> None:
    program = "from config.load import parse; from config.show import show; import sys\n"
    program += "sys.stdout.write(show(parse('servers: [http://a:1]', 'f', {}).config))"
    seeds = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert seeds[0] == seeds[1]


def test_a_difference_names_each_value_and_no_secret() -> None:
    before = config("servers: [http://a:1]\nredis: 'redis://:old@h'\nlogs: {access: {redact: []}}")
    after = config("servers: [http://a:1, http://b:1]\nredis: 'redis://:new@h'\nlogs: {access: {redact: ['query:x']}}")
    assert diff(before, before) == ()
    assert diff(before, after) == (
        Change('pools.default.servers["b:1"].url', None, "http://b:1"),
        Change('pools.default.servers["b:1"].weight', None, "1"),
        Change('pools.default.servers["b:1"].backup', None, "false"),
        Change("redis.url", "redis://***@h", "redis://***@h"),
        Change("logs.access.redact", "[]", "[query:x]"),
    )
    assert str(Change("a.b", None, "1")) == "a.b: nothing -> 1"


def test_a_difference_of_keys_names_each_and_hides_its_hash() -> None:
    key = "{id: alice, hash: 'sha256:%s'}" % ("5ecbe7" + "0" * 58)
    changes = diff(config("servers: [http://a:1]"), config(f"servers: [http://a:1]\nadmin: {{keys: [{key}]}}"))
    assert Change("admin.keys[0].id", None, "alice") in changes
    assert Change("admin.keys[0].hash", None, "sha256:***") in changes


def test_a_credential_is_known_by_its_place_or_its_name() -> None:
    assert is_secret(("pools", "a", "health", "active", "headers", "X"))
    assert is_secret(("routes", "r", "headers", "request", "set", "X-Auth-Token"))
    assert not is_secret(("routes", "r", "headers", "request", "set", "X-Robots-Tag"))
    assert not is_secret(("pools", "token", "strategy"))
    assert masked(("redis", "url"), "redis://a:b@h") == "redis://***@h"
    assert masked(("redis", "url"), "redis://:p@ss@h:1/0") == "redis://***@h:1/0"
    assert masked(("redis", "url"), "redis://:p/a?s#s@h/0") == "redis://***@h/0"
    assert masked(("redis", "url"), "redis://h/0?password=hunter2&timeout=1") == "redis://h/0?***"
    assert masked(("redis", "url"), "unix:///run/redis?db=1&password=hunter2") == "unix:///run/redis?***"
    assert masked(("redis", "url"), "h/0?password=hunter2") == "h/0?***"
    assert masked(("redis", "timeout"), "100ms") == "100ms"
    assert masked(("logs", "access", "to"), "x://u:p@ss@h/a@b") == "x://***@h/a@b"
    path = ("pools", "a", "health", "active", "path")
    assert masked(path, "/up?full=1&api_key=hunter2&Token=x&b=2") == "/up?full=1&api_key=***&Token=***&b=2"


@pytest.mark.parametrize(
    ("unjudged", "unknown"),
    [
        (("listeners", "main", "address"), {"listeners.main.address"}),
        (("listeners", "main"), {"listeners.main.address"}),
        (("redis", "url"), {"redis.url"}),
        (("pools", "a", "servers", "x", "url"), {"pools.a.servers.x.url", "pools.a.servers.y.weight"}),
        (("pools", "a", "timeouts", "connect"), {"pools.a.timeouts.connect", "routes.r.timeouts.connect"}),
        (
            ("defaults", "timeouts", "connect"),
            {"defaults.timeouts.connect", "pools.a.timeouts.connect", "routes.r.timeouts.connect"},
        ),
        (("admin", "keys", 0, "hash"), {"admin.keys[0].id"}),
    ],
)
def test_a_change_that_is_not_known_is_left_out_and_no_other(unjudged: Path, unknown: set[str]) -> None:
    text = """
listen: ':{one}'
redis: {{url: 'redis://h{one}', timeout: {one}s}}
pools: {{a: {{servers: {{x: 'http://b:{one}', y: {{url: http://c:1, weight: {one}}}}}}}}}
admin: {{keys: [{{id: 'k{one}', hash: 'sha256:{hash}'}}]}}
routes: {{r: {{pool: a, timeouts: {{total: 50s}}}}}}
defaults: {{timeouts: {{connect: {one}s}}}}
"""
    before, after = (config(text.format(one=one, hash="0" * 64)) for one in (1, 2))
    every = {change.path for change in diff(before, after)}
    assert every - {change.path for change in diff(before, after, [unjudged])} == unknown
