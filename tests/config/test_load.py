"""From text to a Config: short forms, merging, variables, and every problem at once with its place."""

from __future__ import annotations

import hashlib
import pathlib
import pickle
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.load import Loaded, load, parse
from config.problems import ConfigError
from config.schema import Compress, Config, HeaderEdits, Server
from config.values import Address

SERVERS = "servers: [http://a:1]\n"


def config(text: str, **environ: str) -> Config:
    return parse(text, "f", environ).config


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(text, "f", environ)
    return [str(problem) for problem in error.value.problems]


def only_problem(text: str, **environ: str) -> str:
    found = problems(text, **environ)
    assert len(found) == 1, found
    return found[0]


# Short forms -------------------------------------------------------------------------------------------------

LONG = """
listeners: {main: {address: ":8080"}}
pools:
  default:
    servers: {"a:1": {url: "http://a:1"}, "b:2": {url: "http://b:2", weight: 2}}
    strategy: random
routes: {default: {pool: default}}
"""


@pytest.mark.parametrize(
    "text",
    [
        "{listen: ':8080', servers: [http://a:1, {url: http://b:2, weight: 2}], strategy: random}",
        "{servers: {'a:1': http://a:1, 'b:2': {url: http://b:2/, weight: 2}}, strategy: random, routes: }",
        "{servers: 'http://a:1, http://b:2;weight=2', strategy: random, pools: }",
        "{listeners: {main: ':8080'}, pools: {default: {strategy: random}}, servers: 'http://a:1 http://b:2;weight=2'}",
        "{listeners: , pools: {default: {strategy: random, servers: [http://a:1, {url: http://b:2, weight: 2}]}}}",
    ],
)
def test_short_forms_of_servers_and_listeners_mean_the_long_one(text: str) -> None:
    assert config(text) == config(LONG)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("match: /x/**", "match: {path: /x/**}"),
        ("match: {host: a.b}", "match: {host: [a.b]}"),
        ("match: {methods: GET}", "match: {methods: [GET]}"),
        ("maintenance: true", "maintenance: {enabled: true}"),
        ("maintenance: true", "maintenance: {}"),
        ("maintenance: false", "maintenance: null"),
        ("maintenance: {allow: 10.0.0.0/8}", "maintenance: {allow: [10.0.0.0/8]}"),
        ("headers: {request: {X-A: 1.10, X-B: on}}", "headers: {request: {set: {X-A: '1.10', X-B: 'on'}}}"),
        ("headers: {request: {remove: X-A}}", "headers: {request: {remove: [X-A]}}"),
        ("headers:", ""),
        ("limits:", ""),
        ("rewrite: /y", "rewrite: {path: /y}"),
        ("retries: {statuses: 503}", "retries: {statuses: [503]}"),
    ],
)
def test_short_forms_of_a_route_mean_the_long_one(short: str, long: str) -> None:
    def text(form: str) -> str:
        return f"{SERVERS}routes:\n  r:\n    pool: default\n    {form}\n"

    assert config(text(short)) == config(text(long))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("health: {active: /healthz}", "health: {active: {path: /healthz}}"),
        ("health: {active: false, passive: false}", "health: {active: null, passive: null}"),
        ("health: {active: true}", "health: {active: {}}"),
        ("health: {active: {expect: [200, 204]}}", "health: {active: {expect: '200,204'}}"),
        ("sticky: lane", "sticky: {cookie: lane}"),
        ("sticky: true", "sticky: {}"),
        ("sticky: false", ""),
        ("hash: cookie:s", "hash: {key: cookie:s}"),
    ],
)
def test_short_forms_of_a_pool_mean_the_long_one(short: str, long: str) -> None:
    def text(form: str) -> str:
        return f"pools:\n  app:\n    servers: [http://a:1]\n    {form}\n"

    assert config(text(short)) == config(text(long))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("admin: 127.0.0.1:1", "admin: {listen: 127.0.0.1:1}"),
        ("metrics: ':1'", "metrics: {listen: ':1'}"),
        ("redis: redis://h", "redis: {url: redis://h}"),
        ("logs: {access: none}", "logs: {access: {to: none}}"),
        ("logs: {access: false}", "logs: {access: {to: none}}"),
        ("trusted_proxies: 10.0.0.1", "trusted_proxies: [10.0.0.1/32]"),
        ("routes: {r: {redirect: /y}}", "routes: {r: {redirect: {to: /y}}}"),
        ("routes: {r: {respond: 410}}", "routes: {r: {respond: {status: 410}}}"),
        ("defaults:", ""),
    ],
)
def test_short_forms_at_the_top_mean_the_long_one(short: str, long: str) -> None:
    assert config(f"{SERVERS}{short}\n") == config(f"{SERVERS}{long}\n")


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=20))
def test_a_list_of_one_means_what_the_one_means(host: str) -> None:
    def outcome(written: str) -> Config | None:
        try:
            return config(f"{SERVERS}routes: {{r: {{pool: default, match: {{host: {written}}}}}}}")
        except ConfigError:
            return None

    quoted = "'" + host.replace("'", "''").replace("$", "$$") + "'"
    assert outcome(quoted) == outcome(f"[{quoted}]")


def test_servers_of_a_list_are_named_by_host_and_port() -> None:
    pools = config("servers: [http://a, 'http://[::1]:2', unix:/run/app.sock]").pools
    assert list(pools["default"].servers) == ["a:80", "[::1]:2", "app.sock"]


def test_two_sockets_of_one_name_need_names_of_their_own() -> None:
    assert "is a second server named s, like line 1" in only_problem("servers: [unix:/a/s, unix:/b/s]")


# Merging -----------------------------------------------------------------------------------------------------


def test_defaults_go_below_the_pool_and_the_pool_below_the_route() -> None:
    found = config(
        """
        defaults: {timeouts: {connect: 1s, idle: 2s, total: 3s}, limits: {body: 1KiB}}
        pools: {app: {servers: [http://a:1], timeouts: {idle: 20s}}}
        routes:
          plain: {pool: app}
          own: {pool: app, match: /own, timeouts: {total: 30s}, limits: {body: 2KiB}}
        """
    )
    assert found.timeouts.connect == 1.0
    assert found.limits.body == 1024
    assert (found.pools["app"].timeouts.connect, found.pools["app"].timeouts.idle) == (1.0, 20.0)
    assert found.routes["plain"].timeouts is None
    own = found.routes["own"].timeouts
    assert own is not None
    assert (own.connect, own.idle, own.total) == (1.0, 20.0, 30.0)
    assert (found.routes["own"].limits.body, found.routes["own"].limits.uri) == (2048, 8192)


def test_header_edits_add_up_in_order() -> None:
    found = config(
        """
        defaults: {headers: {via: d, request: {set: {A: d, B: d, E: d}, add: {C: d}, remove: [R]}}}
        pools: {app: {servers: [http://a:1], headers: {request: {set: {b: p}, add: {D: p}, remove: [a]}}}}
        routes: {r: {pool: app, headers: {via: r, request: {set: {C: r}, remove: [X, r]}}}}
        """
    )
    assert found.pools["app"].headers.via == "d"
    assert found.routes["r"].headers.via == "r"
    edits = found.routes["r"].headers.request
    assert edits == HeaderEdits(remove=("r", "a", "X"), set={"E": "d", "b": "p", "C": "r"}, add={"D": "p"})


def test_null_in_a_pool_is_no_mistake_and_changes_nothing() -> None:
    text = "defaults: {health: {active: /h}}\npools: {app: {servers: [http://a:1], health: , timeouts: }}"
    active = config(text).pools["app"].health.active
    assert active is not None
    assert active.path == "/h"


def test_a_switch_in_a_pool_is_over_the_defaults() -> None:
    text = "defaults: {health: {active: /h}}\npools: {app: {servers: [http://a:1], health: {active: false}}}"
    assert config(text).pools["app"].health.active is None


def test_a_split_between_pools_that_differ_in_headers_is_refused() -> None:
    text = """
pools:
  one: {servers: [http://a:1]}
  two: {servers: [http://b:1], headers: {via: x}}
routes: {r: {split: {one: 50%, two: 50%}}}
"""
    assert "must split between pools with the same headers: one and two differ" in only_problem(text)


def test_a_value_remembers_where_it_was_written() -> None:
    loaded = parse("defaults:\n  timeouts: {connect: 1s}\nservers:\n- http://a:1\n", "f", {})
    place = loaded.where(("pools", "default", "timeouts", "connect"))
    assert place is not None
    assert (place.line, place.path) == (2, "defaults.timeouts.connect")
    place = loaded.where(("pools", "default", "servers", "a:1"))
    assert place is not None
    assert (place.line, place.path) == (4, "servers[0]")
    assert loaded.where(("pools", "default", "strategy")) is None


# Variables ---------------------------------------------------------------------------------------------------


def test_a_plain_scalar_is_typed_after_its_variables_and_a_quoted_one_is_not() -> None:
    text = SERVERS + "routes: {r: {respond: {status: '${S}', body: '${S}'}}}\nmetrics:\n  max_series: ${S}\n"
    found = config(text, S="410")
    respond = found.routes["r"].respond
    assert respond is not None
    assert (respond.status, respond.body, found.metrics.max_series) == (410, "410", 410)


@pytest.mark.parametrize(
    ("written", "environ", "value"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("${A:-d}", {}, "d"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A-d}", {"A": ""}, ""),
        ("${A-}", {}, ""),
        ("${A:?m}", {"A": "x"}, "x"),
        ("$$", {}, "$"),
        ("$${A}", {}, "${A}"),
        ("$$$$ $ $A", {}, "$$ $ $A"),
        ("a${A}b${A}", {"A": "${B}"}, "a${B}b${B}"),
        ("[1, 2]: {x}", {}, "[1, 2]: {x}"),
        ("${A}", {"A": "x: [y\n"}, "x: [y\n"),
    ],
)
def test_variables_expand_once_and_into_one_value(written: str, environ: Mapping[str, str], value: str) -> None:
    found = parse(f"{SERVERS}routes: {{r: {{respond: {{body: '{written}'}}}}}}", "f", environ).config
    respond = found.routes["r"].respond
    assert respond is not None
    assert respond.body == value


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("${A}", "needs the environment variable A, which is not set; ${A:-default} would give it a default"),
        ("${A:?set it}", "needs the environment variable A: set it"),
        ("${A?}", "needs the environment variable A: it is not set"),
        ("${", "must be ${NAME}"),
        ("${1}", "must be ${NAME}"),
        ("${A:-${B}}", "must be ${NAME}"),
        ("${file:/nowhere/at/all}", "needs the file /nowhere/at/all: No such file or directory"),
    ],
)
def test_a_variable_that_cannot_expand_says_so_and_nothing_else_is_said_of_the_place(written: str, reason: str) -> None:
    problem = only_problem(f"servers:\n  a: {{url: 'http://a:1', weight: '{written}'}}\n")
    assert problem.startswith(f"f:2:34: servers.a.weight: {reason}")


def test_a_missing_variable_of_a_required_value_is_one_problem() -> None:
    assert "NOPE" in only_problem("servers: {a: {url: '${NOPE}'}}")
    assert "NOPE" in only_problem("servers: ['${NOPE}']")
    assert "NOPE" in only_problem("servers: '${NOPE}'")
    assert "NOPE" in only_problem(SERVERS + "routes: {r: {pool: '${NOPE}'}}")
    assert "NOPE" in only_problem(SERVERS + "admin: {keys: [{id: a, hash: '${NOPE}'}]}")


def test_a_secret_file_is_read_without_its_last_line_break(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "f.yaml").write_text(SERVERS + 'defaults: {health: {active: {headers: {X: "${file:secret}"}}}}')
    active = load(tmp_path / "f.yaml", {}).config.pools["default"].health.active
    assert active is not None
    assert active.headers == {"X": "s3cret"}


def test_a_file_too_large_for_a_secret_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 65537)
    (tmp_path / "f.yaml").write_text("servers: ['${file:secret}']")
    with pytest.raises(ConfigError, match="needs the file secret to have at most 64 KiB"):
        load(tmp_path / "f.yaml", {})


def test_a_secret_file_that_is_no_text_is_refused_without_its_content(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter2\xff")
    (tmp_path / "f.yaml").write_text("servers: ['${file:secret}']")
    with pytest.raises(ConfigError) as error:
        load(tmp_path / "f.yaml", {})
    assert "to be UTF-8 text" in str(error.value)
    assert "hunter2" not in str(error.value)


# The environment ---------------------------------------------------------------------------------------------


def test_one_variable_is_a_whole_configuration() -> None:
    found = load(None, {"LOAD_BALANCER_SERVERS": "http://a:1,http://b:2;weight=2, http://c:3;backup,https://d"}).config
    assert found == config(
        "{listen: ':8080', servers: [http://a:1, {url: http://b:2, weight: 2}, {url: http://c:3, backup: true}, "
        "https://d]}"
    )


@pytest.mark.parametrize(
    "text",
    [
        SERVERS,
        "pools: {default: {servers: [http://b:1]}}",
        "pools: {app: {servers: [http://b:1]}}",
        "pools: {app: [http://b:1]}",
        "pools: {app: }",
        "",
    ],
)
def test_the_servers_variable_is_over_the_only_pool(text: str) -> None:
    (pool,) = config(text, LOAD_BALANCER_SERVERS="http://x:9").pools.values()
    assert pool.servers == {"x:9": Server(url="http://x:9")}


def test_the_servers_variable_needs_to_know_which_pool_it_means() -> None:
    text = "pools: {one: [http://a:1], two: [http://b:1]}\nroutes: {r: {split: {one: 1, two: 1}}}"
    problem = only_problem(text, LOAD_BALANCER_SERVERS="http://x:9")
    assert problem == "LOAD_BALANCER_SERVERS: pools.default.servers: means pools.default, but the file has one and two"


def test_variables_are_over_the_file() -> None:
    found = config(
        SERVERS + "listeners: {web: ':1'}\nadmin: 127.0.0.1:2\nlogs: {level: error}\nredis: {timeout: 1s}",
        LOAD_BALANCER_LISTEN="127.0.0.1:8",
        LOAD_BALANCER_STRATEGY="hash",
        BALANCER_ADMIN_LISTEN="127.0.0.1:9",
        REDIS_URL="redis://r",
        LOG_LEVEL="WARN",
    )
    assert found.listeners["web"].address == Address("127.0.0.1", 8)
    assert found.pools["default"].strategy == "hash"
    assert found.admin.listen == Address("127.0.0.1", 9)
    assert (found.redis.url, found.redis.timeout) == ("redis://r", 1.0)
    assert found.logs.level == "warning"


def test_a_variable_and_a_short_form_are_both_heard() -> None:
    found = config("pools: {app: [http://a:1]}\nlisteners: {main: ':1'}", LOAD_BALANCER_STRATEGY="hash")
    assert found.pools["app"].strategy == "hash"
    assert found == config("pools: {app: {servers: [http://a:1], strategy: hash}}\nlisteners: {main: ':1'}")
    assert config("pools: {default: [http://a:1]}\nstrategy: hash").pools["default"].strategy == "hash"


def test_a_variable_that_is_no_text_is_refused() -> None:
    assert "needs the environment variable A to be UTF-8 text" in only_problem("servers: ['${A}']", A="\udcff")


def test_the_only_key_of_the_admin_api_may_stand_without_its_list() -> None:
    key = "{id: a, hash: 'sha256:" + "0" * 64 + "'}"
    found = config(f"{SERVERS}admin: {{keys: {key}}}", ADMIN_API_KEY="x")
    assert [key.id for key in found.admin.keys] == ["a", "ADMIN_API_KEY"]


def test_an_empty_variable_says_nothing() -> None:
    names = ("LOAD_BALANCER_SERVERS", "LOAD_BALANCER_LISTEN", "ADMIN_API_KEY", "REDIS_URL", "LOG_LEVEL")
    assert config(SERVERS, **dict.fromkeys(names, "")) == config(SERVERS)


def test_the_admin_key_goes_no_further_than_its_hash() -> None:
    loaded = parse(SERVERS + "admin: 127.0.0.1:9", "f", {"ADMIN_API_KEY": "correct-horse"})
    (key,) = loaded.config.admin.keys
    assert (key.id, key.role) == ("ADMIN_API_KEY", "admin")
    assert key.hash == f"sha256:{hashlib.sha256(b'correct-horse').hexdigest()}"
    assert "correct-horse" not in repr(loaded)


def test_problems_of_a_variable_name_it_as_their_place() -> None:
    found = problems(
        "",
        LOAD_BALANCER_SERVERS="http://a:1;weigh=2",
        LOG_LEVEL="loud",
        REDIS_URL="http://:pw@h",
        ADMIN_API_KEY="a b",
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "ADMIN_API_KEY",
        "LOAD_BALANCER_SERVERS",
        "LOG_LEVEL",
        "REDIS_URL",
    ]
    assert not any("pw" in problem or "a b" in problem for problem in found)


# Everything at once ------------------------------------------------------------------------------------------


def test_all_problems_of_a_file_come_at_once_in_its_order() -> None:
    text = """\
listen: 8080
servers:
  a: {url: "ftp://h", weight: 0}
  b: {url: http://h:1, wieght: 2}
  b: http://h:2
defaults: {timeouts: {connect: 3}}
routes:
  r: {match: {path: /x, methods: get}, pool: defualt}
  s: {match: "/{a}", redirect: "/{b}"}
logs: {level: "${LEVEL}"}
"""
    assert problems(text) == [
        'f:1:9: listen: must be an address such as ":8080", "127.0.0.1:8080" or "unix:/run/balancer.sock", not 8080',
        "f:3:12: servers.a.url: must be a server such as http://10.0.0.11:8000, https://app.internal or "
        'unix:/run/app.sock, not "ftp://h"',
        "f:3:31: servers.a.weight: must be at least 1, not 0",
        'f:4:24: servers.b.wieght: is not a known key: did you mean "weight"?',
        'f:5:3: servers.b: "b" is written twice, first in line 4',
        "f:6:32: defaults.timeouts.connect: must have a unit, such as 30s or 250ms, not 3",
        'f:8:34: routes.r.match.methods: must look like "GET" or "POST", not "get"',
        'f:8:46: routes.r.pool: must name a pool, not "defualt"; did you mean "default"?',
        "f:9:32: routes.s.redirect: must use only captures of the path, not {b}: "
        'there is {a}, {host}, {path}, {query}, not "/{b}"',
        "f:10:15: logs.level: needs the environment variable LEVEL, which is not set; "
        "${LEVEL:-default} would give it a default",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("severs: [http://a:1]", 'f:1:1: severs: is not a known key: did you mean "servers"?'),
        ("servers: {a: {weight: 2}}", 'f:1:14: servers.a: must have "url"'),
        (
            "servers: {a: {url: http://a:1, backup: on}}",
            'f:1:40: servers.a.backup: must be true or false, not "on"',
        ),
        (
            "servers: {a: {url: http://a:1, weight: true}}",
            "f:1:40: servers.a.weight: must be a number, not true or false",
        ),
        (
            "servers: {a: {url: http://a:1, weight: 1.5}}",
            "f:1:40: servers.a.weight: must be a whole number, not 1.5",
        ),
        (
            "servers: {a: {url: http://a:1, weight: x}}",
            'f:1:40: servers.a.weight: must be a whole number, not "x"',
        ),
        (
            SERVERS + "timeouts: {connect: 1s}",
            "f:2:1: timeouts: must be written as `defaults: {timeouts: ...}`",
        ),
        (SERVERS + "defaults: 5", "f:2:11: defaults: must be a mapping of keys and values, not 5"),
        (SERVERS + "defaults: {servers: x}", "f:2:12: defaults.servers: is not a known key"),
        (SERVERS + "routes: [x]", "f:2:9: routes: must be a mapping of names and values, not a list"),
        (SERVERS + "shutdown: {grace: }", "f:2:19: shutdown.grace: must be a duration such as"),
        (
            SERVERS + "pools: {default: {servers: [http://b:1]}}",
            "f:1:1: servers: stands for pools.default.servers, which line 2 has too",
        ),
        (SERVERS + "logs: {format: xml}", 'f:2:16: logs.format: must be auto, json or text, not "xml"'),
        (SERVERS + "metrics: {max_series: 5}", "f:2:23: metrics.max_series: must be at least 100, not 5"),
        (
            SERVERS + "defaults: {retries: {attempts: 11}}",
            "f:2:32: defaults.retries.attempts: must be at most 10, not 11",
        ),
        (
            SERVERS + "defaults: {timeouts: {connect: 0}}",
            "f:2:32: defaults.timeouts.connect: must be more than 0s, not 0",
        ),
        (SERVERS + "defaults: {health: {active: {interval: 1us}}}", "must be at least 10ms"),
        (
            "pools: {a: [http://a:1], b: [http://b:1]}",
            "routes: must say which pool takes which requests: there are a and b",
        ),
        ("", "f: servers: must name a server: `servers:"),
    ],
)
def test_a_problem_says_what_was_expected_and_what_came(text: str, problem: str) -> None:
    assert problem in only_problem(text)


def test_a_value_from_a_variable_is_not_repeated() -> None:
    problem = only_problem("servers: {a: {url: 'http://a:1', weight: '${W}'}}", W="hunter2")
    assert problem == "f:1:42: servers.a.weight: must be a whole number, not what W holds"


@pytest.mark.parametrize(
    "text",
    [
        "servers: ['http://u:hunter2@a:1']",
        SERVERS + "redis: 'http://:hunter2@h'",
        SERVERS + "admin: {keys: [{id: a, hash: hunter2}]}",
        SERVERS + 'defaults: {health: {active: {headers: {A: "hunter2\\n"}}}}',
        SERVERS + 'defaults: {headers: {request: {set: {Authorization: "hunter2\\n"}}}}',
        SERVERS + "defaults: {headers: {request: {set: {Cookie: [hunter2]}}}}",
    ],
)
def test_a_secret_is_in_no_problem(text: str) -> None:
    assert not any("hunter2" in problem for problem in problems(text))


def test_a_problem_is_one_line_whatever_was_written() -> None:
    text = """servers: {"a\\n\\e": {url: "x\\ny"}, b: "${B:?one\\ntwo}"}\n"\\tkey": 1"""
    assert all(problem.isprintable() for problem in problems(text))


def test_a_file_that_is_not_there_is_a_problem(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_an_error_and_a_configuration_survive_a_pipe() -> None:
    with pytest.raises(ConfigError) as error:
        parse("x: 1", "f", {})
    assert pickle.loads(pickle.dumps(error.value)).problems == error.value.problems
    found = config(SERVERS + "trusted_proxies: 10.0.0.0/8")
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_pool_that_no_route_uses_is_a_warning() -> None:
    loaded = parse("pools:\n  a: [http://a:1]\n  b: [http://b:1]\nroutes: {r: {pool: a}}", "f", {})
    assert [str(warning) for warning in loaded.warnings] == ["f:3:6: pools.b: is used by no route"]


def _outcome(text: str) -> Loaded | ConfigError:
    try:
        return parse(text, "f", {"A": "x"})
    except ConfigError as error:
        return error


SPOTS = (
    "listen: {}\nservers: [http://a:1]",
    "servers: {}",
    "servers: {{a: {}}}",
    "servers: {{a: {{url: http://a:1, weight: {}}}}}",
    "servers: [http://a:1]\nstrategy: {}",
    "servers: [http://a:1]\nroutes: {{r: {}}}",
    "servers: [http://a:1]\nroutes: {{r: {{pool: default, match: {}}}}}",
    "servers: [http://a:1]\nroutes: {{r: {{match: /x, redirect: {}}}}}",
    "servers: [http://a:1]\nroutes: {{r: {{pool: default, headers: {{response: {}}}}}}}",
    "servers: [http://a:1]\nroutes: {{r: {{pool: default, rewrite: {}}}}}",
    "servers: [http://a:1]\nroutes: {{r: {{split: {}}}}}",
    "servers: [http://a:1]\ndefaults: {}",
    "servers: [http://a:1]\ndefaults: {{health: {{active: {}}}}}",
    "servers: [http://a:1]\nadmin: {}",
    "servers: [http://a:1]\nadmin: {{keys: {}}}",
    "pools: {}",
    "pools: {{a: {}}}",
    "listeners: {}",
    "{}: 1",
)
VALUES = st.recursive(
    st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=12),
        st.sampled_from(
            [
                "${A}",
                "${B}",
                "$",
                "true",
                "null",
                "1",
                "-1",
                "1.5",
                "5s",
                "/",
                "/{a}/**",
                "http://a:1",
                "*",
                "~",
            ]
        ),
    ).map(lambda text: "'" + text.replace("'", "''") + "'" if len(text) % 2 else text),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(
            st.tuples(st.sampled_from(["url", "path", "host", "set", "a", "'b c'", "keys", "id"]), inner),
            max_size=3,
        ).map(lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"),
    ),
    max_leaves=5,
)


@given(st.sampled_from(SPOTS), VALUES)
def test_no_value_anywhere_brings_the_loader_down_and_every_problem_has_a_place(spot: str, value: str) -> None:
    outcome = _outcome(spot.format(value))
    if isinstance(outcome, ConfigError):
        assert outcome.problems
        for problem in outcome.problems:
            assert problem.file
            assert problem.line or problem.path
            assert problem.message
            assert str(problem).isprintable()


# What came from a variable or a file is in no message, and without `look` it is not even taken --------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SERVERS + "routes: {r: {pool: '${V}'}}", "routes.r.pool: must name a pool, not what V holds"),
        (
            SERVERS + "routes: {r: {match: '/{${V}}/{${V}}', pool: default}}",
            "must not have a capture twice, not what V",
        ),
        (SERVERS + "routes: {r: {match: '/a', redirect: '/{${V}}'}}", "must use only captures of the path, not what V"),
        (
            SERVERS + "routes: {r: {match: '/{${V}}', pool: default, rewrite: {path: '/{no}'}}}",
            'must use only captures of the path, not "/{no}"',
        ),
        (SERVERS + "routes: {r: {match: '/{a}', pool: default, rewrite: {path: '/{${V}}'}}}", "captures of the path"),
        ("servers: ['http://${V}:1', 'http://${V}:1']", "is a second server like that of line 1"),
        (
            "servers: ['http://${V}:1', {url: 'http://${V}:1/'}]\npools: {default: {health: false}}",
            "is a second server like that of line 1",
        ),
        ("servers: {a: 'http://${V}:1', b: 'http://${V}:1'}", "must be another address than that of a server above"),
        ("servers: 'http://a:1;weight=${N}'", "must be at least 1, not what N holds"),
        ("servers: [http://a:1]\nstrategy: '${V}'", "your own as package.module:Class, not what V holds"),
        (SERVERS + "listeners: {a: ':1', b: {address: ':2', redirect: '${V}'}}", "not what V holds"),
        (SERVERS + "defaults: {health: {active: {body: '(?P=${V})'}}}", "must be a regular expression, not what V"),
        (SERVERS + "trusted_proxies: ['${NET}']", "must have no bits set after the prefix, not what NET holds"),
    ],
)
def test_no_message_has_anything_of_a_value_that_a_variable_brought(text: str, says: str) -> None:
    found = problems(text, V="hunter2", N="0", NET="10.9.8.7/8")
    assert any(says in problem for problem in found), found
    for part in ("hunter2", "10.9.8.7", "10.0.0.0", "not 0"):
        assert not any(part in problem for problem in found), found


def test_methods_from_a_variable_are_not_told_by_two_routes_that_tie() -> None:
    route = "{match: {methods: ['${V}']}, pool: default}"
    problem = only_problem(f"{SERVERS}routes: {{a: {route}, b: {route}}}", V="HUNTER")
    assert problem.endswith("routes.b: must match something else than routes.a (line 2): they tie")


def test_a_hint_would_tell_what_a_variable_holds_and_so_there_is_none() -> None:
    assert "did you mean" not in only_problem(SERVERS + "routes: {r: {pool: '${V}'}}", V="defualt")
    assert "did you mean" not in only_problem(SERVERS + "strategy: '${V}'", V="hsah")


UNSEEN = (
    "{listen: '${V}', servers: ['${V}'], strategy: '${V}', admin: {listen: '${V}', insecure: '${V}', keys: "
    "[{id: a, hash: '${V}'}]}, redis: '${V}', metrics: {listen: '${V}'}, trusted_proxies: ['${V}'], "
    "defaults: {timeouts: {connect: '${V}'}, headers: {request: {set: {A: '${file:/nowhere/at/all}'}}}}, "
    "logs: {access: {to: '${V}', redact: ['${V}']}}, routes: {"
    "a: {match: '${V}', pool: default}, "
    "b: {match: '${V}', split: {default: '${V}'}}, "
    "c: {match: {path: '/c/{${V}}'}, pool: default, rewrite: {path: '/{x}'}}, "
    "d: {match: {host: '${V}'}, redirect: '${V}'}, e: {match: {methods: '${V}'}, respond: '${V}'}, "
    "f: {pool: '${V}'}}}"
)


def test_what_is_not_looked_at_is_not_judged_and_each_is_told() -> None:
    loaded = parse(UNSEEN, "f", {"V": "hunter2"}, look=False)
    assert len(loaded.unjudged) == UNSEEN.count("${")
    assert len(loaded.warnings) == UNSEEN.count("${")
    assert all("was not judged: what" in warning.message for warning in loaded.warnings)
    assert "hunter2" not in repr(loaded)


def test_pools_of_a_split_do_not_disagree_by_what_is_not_looked_at() -> None:
    text = (
        "pools: {a: {servers: [http://a:1], timeouts: {connect: '${V}'}}, "
        "b: {servers: [http://b:1], timeouts: {connect: 3s}}}\n"
        "routes: {r: {split: {a: 1, b: 1}, timeouts: {total: 5s}}}"
    )
    assert parse(text, "f", {"V": "3s"}, look=False).unjudged == (("pools", "a", "timeouts", "connect"),)


def test_a_whole_group_that_is_not_looked_at_leaves_nothing_to_judge() -> None:
    with pytest.raises(ConfigError, match="can not be judged as a whole: what V holds is not looked at here"):
        parse(SERVERS + "listeners: '${V}'", "f", {"V": "x"}, look=False)


def test_without_looking_a_default_holds_and_what_is_missing_or_misspelt_is_told() -> None:
    assert parse(f"{SERVERS}shutdown: {{grace: '${{NOT:-7s}}'}}", "f", {}, look=False).config.shutdown.grace == 7.0
    with pytest.raises(ConfigError, match="needs the environment variable NOT"):
        parse(f"{SERVERS}shutdown: {{grace: '${{NOT}}'}}", "f", {}, look=False)
    with pytest.raises(ConfigError, match="must be \\$"):
        parse(f"{SERVERS}shutdown: {{grace: '${{1}}'}}", "f", {}, look=False)


# Compression -------------------------------------------------------------------------------------------------


def test_compression_at_the_top_holds_for_all_routes_that_go_to_servers() -> None:
    text = """
servers: [http://a:1]
compress: {min_size: 10, codings: [gzip]}
routes:
  plain: {match: /plain, pool: default}
  own: {match: /own, pool: default, compress: {min_size: 20}}
  same: {match: /same, pool: default, compress: true}
  none: {match: /none, pool: default, compress: false}
  away: {match: /away, redirect: /plain}
"""
    found = config(text)
    top = Compress(min_size=10, codings=("gzip",))
    assert found.compress == top
    assert {name: route.compress for name, route in found.routes.items()} == {
        "plain": top,
        "own": Compress(min_size=20, codings=("gzip",)),
        "same": top,
        "none": None,
        "away": None,
    }


@pytest.mark.parametrize("value", ["true", "{}"])
def test_one_word_switches_compression_on(value: str) -> None:
    assert config(SERVERS + f"compress: {value}").routes["default"].compress == Compress()


@pytest.mark.parametrize("text", ["", "compress: false", "compress: null", "compress:"])
def test_compression_is_off_until_it_is_switched_on(text: str) -> None:
    found = config(SERVERS + text)
    assert found.compress is None
    assert found.routes["default"].compress is None


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("{codings: []}", "codings: must have one at least"),
        ("{codings: [deflate]}", 'codings[0]: must be gzip, br or zstd, not "deflate"'),
        ("{types: [html]}", "types[0]"),
    ],
)
def test_compression_by_what_is_not_known_is_refused(value: str, where: str) -> None:
    assert f"compress.{where}" in only_problem(SERVERS + f"compress: {value}")
