"""What single values cannot know: each rule over a whole configuration, refused with its place and its reason."""

from __future__ import annotations

import pytest

from config.checks import STRATEGIES, faults
from config.load import parse
from config.patterns import captures, path_fault, skeleton, template_fault
from config.problems import ConfigError
from config.schema import AdminKey, Config, Listener, Pool, Route, Server
from config.values import Address

SERVERS = "servers: [http://a:1]\n"


def problems(text: str) -> list[str]:
    try:
        parse(text, "f", {})
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_what_holds_before_a_request_has_a_route_is_refused_elsewhere_unless_it_changes_nothing() -> None:
    found = problems(
        route("pool: default, limits: {head: 1KiB}, timeouts: {keep_alive: 1s}, retries: {budget: {ratio: 0}}")
    )
    assert len(found) == 3
    assert all(place in " ".join(found) for place in ("routes.r.limits.head", "routes.r.timeouts.keep_alive"))
    assert problems("pools: {app: {servers: [http://a:1], timeouts: {request_head: 1s}}}") != []
    assert problems(route("pool: default, limits: {head: 32KiB, body: 1KiB}, timeouts: {keep_alive: 75s}")) == []


def test_cookies_of_one_name_and_shares_that_do_not_add_up_are_warned_of() -> None:
    text = (
        "pools: {a: {servers: [http://a:1], sticky: {}}, b: {servers: [http://b:1], sticky: {}}}\n"
        "routes: {one: {pool: a}, two: {match: /two, split: {a: 90%, b: 5%}}}"
    )
    told = [str(warning) for warning in parse(text, "f", {}).warnings]
    assert any("pools.b.sticky" in line and "is the cookie of pools.a too" in line for line in told)
    assert any("routes.two.split: adds up to 0.95" in line for line in told)
    alone = "pools: {a: {servers: [http://a:1], sticky: {}}}\nroutes: {one: {split: {a: 1}}}"
    assert parse(alone, "f", {}).warnings == ()


def warnings(text: str) -> list[str]:
    return [str(warning) for warning in parse(text, "f", {}).warnings]


def test_tls_without_effect_or_without_verification_is_warned_of() -> None:
    pool = "pools: {app: {servers: [%s://a:1], tls: {%s}}}"
    assert "f:1:43: pools.app.tls: has no effect" in warnings(pool % ("http", "ca: x.pem"))[0]
    assert "pools.app.tls.verify: is false: whoever answers" in warnings(pool % ("https", "verify: false"))[0]
    assert warnings(pool % ("https", "ca: x.pem, server_name: app.internal")) == []
    assert warnings(pool % ("http", "")) == []


@pytest.mark.parametrize("name", ["", "a b", "-a", "a..b", "a.", "[::1]", "a/b", "a:1"])
def test_a_server_name_that_is_none_is_refused(name: str) -> None:
    (found,) = problems(f"pools: {{app: {{servers: [https://a], tls: {{server_name: '{name}'}}}}}}")
    assert "pools.app.tls.server_name" in found


@pytest.mark.parametrize("name", ["a", "app.internal", "_app.internal", "192.0.2.7", "::1"])
def test_a_server_name_is_a_host_or_an_address(name: str) -> None:
    assert problems(f"pools: {{app: {{servers: [https://a], tls: {{server_name: '{name}'}}}}}}") == []


def route(text: str) -> str:
    return f"{SERVERS}routes: {{r: {{{text}}}}}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pools: {}\nroutes: {r: {pool: app}}", 'must name a pool, not "app"; there is none'),
        ("pools: {app: {servers: []}}", "must have at least one server"),
        ("pools: {app: }", 'must have "servers"'),
        ("servers: [http://a:1, http://a:1]", "is a second server named a:1, like line 1"),
        ("servers: {a: http://a:1, b: http://A:1}", 'must be another address than that of a, not "http://A:1"'),
        ("servers: {'a b': http://a:1}", "must have a name of at most 128 letters"),
        ("servers: [http://127.0.0.1:8080]", "must not be the listener main of this balancer itself"),
        (SERVERS + "strategy: round-robbin", 'not "round-robbin"; did you mean "round-robin"?'),
        (SERVERS + "strategy: 'my.mod:'", "your own as package.module:Class"),
        (
            SERVERS + "listeners: {a: ':1', b: '127.0.0.1:1'}",
            "must not listen where listeners.a.address (line 2) listens",
        ),
        (SERVERS + "listeners: {a: ':9900'}", "listeners.a.address"),
        (SERVERS + "metrics: 127.0.0.1:9900", "must not listen where admin.listen listens already"),
        (SERVERS + "metrics: ':8080'", "must not listen where listeners.main.address listens already"),
        (SERVERS + "listeners: {a: {address: ':1', redirect: b}}", "must be the name of a listener"),
        (SERVERS + "listeners: {a: {address: ':1', redirect: a}}", "must lead to another listener than itself"),
        (SERVERS + "listeners: {a: {address: ':1', redirect: 'https://h/x'}}", "must be the name of a listener"),
        (SERVERS + "admin: 0.0.0.0:9", "unless there is a key (in `keys`, or as ADMIN_API_KEY) and `tls: {cert: "),
        (SERVERS + "admin: {listen: '10.0.0.1:9', tls: {cert: a, key: b}}", "unless there is a key (in `keys`, or as"),
        (
            SERVERS + "admin: {listen: 0.0.0.0:9, insecure: true}",
            "unless there is a key (in `keys`, or as ADMIN_API_KEY)",
        ),
        (SERVERS + "redis: http://h", "must be a URL such as redis://"),
        (SERVERS + "logs: {access: {redact: cookie}}", 'must be such as "query:token"'),
        (SERVERS + "defaults: {health: {active: {body: '('}}}", "must be a regular expression"),
        (SERVERS + "defaults: {headers: {request_id: 'a b'}}", "must be a token"),
        (SERVERS + "defaults: {headers: {via: 'a b'}}", "must be a token"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(text: str, reason: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert reason in found[0]


def rule(text: str) -> str:
    return f"{SERVERS}cache: {{rules: {{pages: {{{text}}}}}}}\nroutes: {{r: {{pool: default, cache: pages}}}}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (route("pool: default, cache: pges") + "\ncache: {rules: {pages: {}}}", 'not "pges"; did you mean "pages"?'),
        (route("pool: default, cache: xyz") + "\ncache: {rules: {pages: {}}}", 'not "xyz"; there is pages'),
        (route("pool: default, cache: xyz"), "f:2:36: routes.r.cache: must be true, false or the name of one of"),
        (route("pool: default, cache: 5"), "must be true, false or the name of one of `cache.rules`, not 5"),
        (route("respond: 410, cache: true"), "must go with pool or split; a respond has nothing that could be cached"),
        (SERVERS + "cache: {rules: {'a b': {}}}", "must have a name of at most 128 letters"),
        (SERVERS + "cache: {rules: {'true': {}}}", "must have another name: `cache: true` on a route is a switch"),
        (
            SERVERS + "cache: {rules: {a: {negative: {200: 1s}}}}",
            'must be a status such as 404, or 4xx or 5xx, not "200"',
        ),
        (SERVERS + "cache: {memory: 1KiB}", 'cache.memory: must be at least 1MiB, not "1KiB"'),
        (SERVERS + "cache: {purge_from: here}", "cache.purge_from"),
        (rule("ignore_query: '?utm_*'"), "must be the name of a query parameter such as fbclid or utm_*"),
        (rule("ignore_query: 'a b'"), 'not "a b"'),
        (rule("ignore_query: 'a*b*c*d*e*'"), "must have at most 4 *"),
        (rule("key: {headers: cookie}"), "must be another field than cookie: name the cookies in key.cookies"),
        (rule("key: {headers: Host}"), "the host is part of every key"),
        (rule("key: {headers: If-None-Match}"), "by it a client asks the cache itself"),
        (rule("key: {headers: TE}"), "it belongs to one connection"),
        (rule("key: {headers: [X-A, x-a]}"), "is there twice"),
        (rule("key: {headers: 'a b'}"), 'must look like "Accept-Language", not "a b"'),
    ],
)
def test_what_could_not_be_cached_by_is_refused(text: str, reason: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert reason in found[0]


def test_what_a_cache_would_never_do_is_warned_of() -> None:
    assert (
        "cache.rules.pages: is used by no route: a route chooses it by `cache: pages`"
        in (warnings(SERVERS + "cache: {rules: {pages: {}}}")[0])
    )
    assert warnings(SERVERS + "cache: {memory: 8MiB}")[0].endswith(
        "cache.memory: keeps no answer of more than 4MiB, though `max_object` allows it"
    )
    assert "cache.max_object: is more than a half of `memory`" in warnings(SERVERS + "cache: {max_object: 40MiB}")[0]
    assert "ignores every parameter" in warnings(rule("ignore_query: '*'"))[0]
    assert "requests with it bypass the cache" in warnings(rule("key: {cookies: a}, bypass: {cookies: a}"))[0]
    assert warnings(rule("key: {headers: X-Country, cookies: a}, bypass: {cookies: b}, ignore_query: utm_*")) == []
    assert warnings(SERVERS + "cache: true") == []


def test_the_switch_of_a_route_may_come_from_a_variable() -> None:
    text = route("pool: default, cache: '${CACHE}'")
    assert parse(text, "f", {"CACHE": "true"}).config.routes["r"].cache is True
    assert parse(text, "f", {"CACHE": "false"}).config.routes["r"].cache is False
    with pytest.raises(ConfigError) as refused:
        parse(text, "f", {"CACHE": "secret"})
    assert "secret" not in str(refused.value)


KEY = "{id: %s, hash: 'sha256:" + "0" * 64 + "', expires: %s}"


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (KEY % ("a", "2027-01-31") + ", " + KEY % ("a", "null"), "must be another id than that of a key above"),
        (KEY % ("a", "tomorrow"), "must be a date such as 2027-01-31"),
        (KEY % ("'a b'", "null"), 'must look like "alice" or "deploy-1"'),
    ],
)
def test_a_key_of_the_admin_api_that_cannot_work_is_refused(keys: str, reason: str) -> None:
    (found,) = problems(f"{SERVERS}admin: {{keys: [{keys}]}}")
    assert reason in found


def test_a_key_in_the_place_of_its_name_is_refused_and_not_repeated() -> None:
    key = "balancer_00000000_" + "k" * 43
    (found,) = problems(f"{SERVERS}admin: {{keys: [{KEY % (key, '2027-01-31')}]}}")
    assert "admin.keys[0].id: must be a name for the key, and not a key" in found
    assert key not in found


def test_another_address_of_the_admin_api_needs_a_key_and_tls_or_a_word_about_it() -> None:
    here = f"{SERVERS}admin: {{listen: 0.0.0.0:9, keys: [{KEY % ('a', '2027-01-31')}], "
    (found,) = problems(here + "}")
    assert "unless there is `tls: {cert: ..., key: ...}` (or `insecure: true`: others can read keys)" in found
    assert not warnings(here + "tls: {cert: a.pem, key: a.key}}")
    (warned,) = warnings(here + "insecure: true}")
    assert "admin.insecure: is true: whoever is on the way to the API can read keys" in warned


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("match: /x", "must have one of pool, split, redirect or respond"),
        ("pool: default, respond: 410", "must have only one of pool, split, redirect or respond, not pool and respond"),
        ("pool: defalt", 'must name a pool, not "defalt"; did you mean "default"?'),
        ("split: {default: 1, next: 1}", 'routes.r.split.next: must name a pool, not "next"; there is default'),
        ("split: {default: 0}", "must give at least one pool a share"),
        ("split: {}", "must give at least one pool a share"),
        ("pool: default, sticky: lane", "must go with a split"),
        ("respond: 410, rewrite: /x", "must go with pool or split; a respond sends nothing"),
        ("pool: default, match: {host: 'a:80'}", "must be a host without port"),
        ("pool: default, match: {host: 'a.*.b'}", "must be a host without port"),
        ("pool: default, match: /x/*", "must have `**` only as its last part"),
        ("pool: default, match: /**/x", "must have `**` only as its last part"),
        ("pool: default, match: '/x{id}'", "must have a {name} as a whole part"),
        ("pool: default, match: '/{id}/{id}'", "must not have {id} twice"),
        ("pool: default, match: '/{rest}/**'", "must not have {rest} twice"),
        ("pool: default, match: /a?b", "must be a path without query"),
        ("pool: default, match: /ä", "must be a path without query"),
        ("pool: default, match: /%2f", "must have upper-case hexadecimal digits"),
        ("pool: default, match: {headers: {'a b': x}}", "must have the name of a field"),
        ("match: '/{id}', redirect: '/{di}'", "must use only captures of the path, not {di}"),
        ("redirect: '/{'", "must have braces only around the name of a capture"),
        ("redirect: 'x'", "must begin with https://, http:// or /"),
        ("redirect: '/a b'", "must have no spaces"),
        ("pool: default, match: /x, rewrite: '/{rest}'", "the path has no captures"),
        ("pool: default, rewrite: '/{host}'", "must use only captures of the path, not {host}: there is {rest}"),
        ("pool: default, rewrite: {path: /x, add_prefix: /y}", "must have either a whole path, or a prefix"),
        ("pool: default, rewrite: {strip_prefix: x}", "must begin with /"),
        ("pool: default, rewrite: {add_prefix: '/{rest}'}", "must use only captures"),
        ("respond: {content_type: nonsense}", "must be a media type"),
        (
            "pool: default, maintenance: {content_type: 'a/b\\n'}".replace("'a/b\\n'", '"a/b\\n"'),
            "must be a media type",
        ),
        ("respond: {headers: {Content-Length: 1}}", "must leave Content-Length alone"),
        ("pool: default, headers: {request: {Transfer-Encoding: x}}", "must leave Transfer-Encoding alone"),
        ("pool: default, headers: {request: {remove: connection}}", "must leave connection alone"),
        ("pool: default, headers: {request: {add: {Host: x}}}", "must leave Host alone"),
        ("pool: default, headers: {response: {Host: x}}", "must leave Host alone"),
        ("pool: default, headers: {response: {remove: 'a:b'}}", "must have the name of a field"),
        ("pool: default, headers: {response: {'': x}}", "must have the name of a field"),
        ('pool: default, headers: {response: {X: "a\\r\\nSet-Cookie: b"}}', "must be one line of Latin-1 text"),
        ("pool: default, headers: {response: {X: €}}", "must be one line of Latin-1 text"),
        ("pool: default, headers: {response: {X-A: 1, x-a: 2}}", "is there twice"),
    ],
)
def test_a_route_that_cannot_work_is_refused(text: str, reason: str) -> None:
    found = problems(route(text))
    assert len(found) == 1, found
    assert reason in found[0]
    assert found[0].startswith("f:2:")


@pytest.mark.parametrize(
    "text",
    [
        "pool: default, headers: {request: {Host: app.internal}}",
        "pool: default, match: {headers: {Upgrade: websocket}}",
        "pool: default, match: {host: ['*.example.com', localhost, '[::1]', xn--bcher-kva.example]}",
        "match: '/{id}/x/**', redirect: 'https://{host}/{id}/{rest}?{query}'",
        "pool: default, match: '/v1/**', rewrite: '/v2/{rest}'",
        "pool: default, rewrite: {strip_prefix: /x, add_prefix: /y}",
        "split: {default: 0.1}, sticky: lane",
        "pool: default, match: /%7Euser/a.b",
    ],
)
def test_a_route_that_can_work_is_taken(text: str) -> None:
    assert problems(route(text)) == []


@pytest.mark.parametrize(
    ("one", "other", "tie"),
    [
        ("", "", True),
        ("path: /x", "path: /x", True),
        ("path: '/{a}'", "path: '/{b}'", True),
        ("path: /x", "path: '/{b}'", False),
        ("host: a.b", "host: [c.d, A.B]", True),
        ("host: a.b", "host: '*.b'", False),
        ("host: a.b", "", False),
        ("methods: [GET, POST]", "methods: [POST, PUT]", True),
        ("methods: GET", "methods: POST", False),
        ("methods: GET", "", False),
        ("headers: {X: y}", "headers: {x: y}", True),
        ("headers: {X: y}", "headers: {X: z}", False),
        ("headers: {X: y}", "headers: {X: '*'}", False),
    ],
)
def test_two_routes_tie_when_neither_is_more_specific(one: str, other: str, tie: bool) -> None:
    text = f"{SERVERS}routes:\n  a: {{pool: default, match: {{{one}}}}}\n  b: {{pool: default, match: {{{other}}}}}\n"
    found = problems(text)
    assert bool(found) == tie
    assert not tie or found[0].startswith("f:4:6: routes.b: must match something else than routes.a (line 3)")


def test_a_pool_with_a_problem_of_its_own_is_not_unknown_to_routes() -> None:
    text = "pools: {app: {servers: {a: {url: http://a:1, weight: x}}}}\nroutes: {r: {pool: app}}"
    (found,) = problems(text)
    assert "servers.a.weight" in found
    (found,) = problems("pools: {app: 5}\nroutes: {r: {pool: app}}")
    assert "pools.app" in found


def test_a_configuration_from_elsewhere_is_judged_the_same() -> None:
    config = Config(
        listeners={"main": Listener(address=Address.of(":8080"))},
        pools={"app": Pool(servers={"a": Server(url="ftp://a")}, strategy="x")},
        routes={"r": Route(pool="ap")},
    )
    assert [str(problem) for problem in faults(config, "PATCH")] == [
        "PATCH: pools.app.servers.a.url: must be a server such as http://10.0.0.11:8000, https://app.internal or "
        'unix:/run/app.sock, not "ftp://a"',
        f'PATCH: pools.app.strategy: must be {", ".join(STRATEGIES)} or your own as package.module:Class, not "x"',
        'PATCH: routes.r.pool: must name a pool, not "ap"; did you mean "app"?',
    ]
    key = AdminKey(id="a", hash="sha256:" + "0" * 64, expires="x")
    assert len(faults(config.model_copy(update={"admin": config.admin.model_copy(update={"keys": (key,)})}))) == 4


def test_patterns_tell_their_captures() -> None:
    assert captures("/a/{b}/{c}/**") == ("b", "c", "rest")
    assert skeleton("/a/{b}/**") == "/a/{}/**"
    assert path_fault("/a/{b}/**") is None
    assert template_fault("/x/{b}", ("b",)) is None


def listener(text: str, more: str = "") -> str:
    return f"{SERVERS}{more}listeners: {{main: {{address: ':8443', {text}}}}}"


CERTIFICATES = "certificates: [{cert: a.pem, key: a.key}]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (listener("tls: {certificates: []}"), "listeners.main.tls.certificates: "),
        (listener("tls: {certificates: [{cert: a.pem}]}"), 'must have "key"'),
        (listener(f"tls: {{{CERTIFICATES}, minimum: 1.1}}"), "listeners.main.tls.minimum: "),
        (listener(f"tls: {{{CERTIFICATES}, client_subject: Cookie}}"), "Cookie means something else already"),
        (listener(f"tls: {{{CERTIFICATES}, client_subject: X-Forwarded-For}}"), "means something else already"),
        (listener(f"tls: {{{CERTIFICATES}, client_subject: Connection}}"), "means something else already"),
        (listener(f"tls: {{{CERTIFICATES}, client_subject: X_Client}}"), 'spaces, colon and _, not "X_Client"'),
        (listener("proxy_protocol: yes"), "listeners.main.proxy_protocol: "),
        (
            listener("proxy_protocol: require"),
            "needs `trusted_proxies`: nobody else's PROXY protocol header is believed",
        ),
        (
            f"{SERVERS}listeners: {{main: {{address: 'unix:/run/x', proxy_protocol: accept}}}}",
            "must be refuse on a Unix socket",
        ),
        (route("pool: default, timeouts: {tls_handshake: 1s}"), "write it under defaults.timeouts"),
    ],
)
def test_tls_and_proxy_headers_that_cannot_work_are_refused(text: str, reason: str) -> None:
    assert any(reason in problem for problem in problems(text)), problems(text)


def test_tls_and_proxy_headers_that_can_work_are_taken_without_a_look_at_the_files() -> None:
    text = listener(f"tls: {{{CERTIFICATES}, minimum: 1.3, client_ca: ca.pem}}, proxy_protocol: accept")
    assert problems(text.replace("listeners", "trusted_proxies: [10.0.0.0/8]\nlisteners")) == []


@pytest.mark.parametrize(
    ("policy", "place", "said"),
    [
        ("rate: 200000/s, shared: exact", "rate_limits.p.rate", "must be at most 100000/s where it is shared"),
        ("rate: 1/30d, burst: 13, shared: true", "rate_limits.p.burst", "must come back within a year"),
        ("rate: 100000/s, burst: 1000, shared: leased", "", ""),
        ("rate: 1/30d, burst: 12, shared: true", "", ""),
        ("rate: 200000/s", "", ""),
    ],
)
def test_a_shared_limit_is_one_that_redis_can_count(policy: str, place: str, said: str) -> None:
    found = problems(f'{SERVERS}redis: {{url: "redis://h"}}\nrate_limits: {{p: {{{policy}}}}}\n')
    assert bool(found) == bool(said), found
    assert all(place in line and said in line for line in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hsts: max-age", "must be such as max-age=31536000; includeSubDomains, or true for a year"),
        ("hsts: 'max-age=1; max-age=2'", "must be such as max-age="),
        ("hsts: 'true'", "must be such as max-age="),
        ("content_type_options: sniff", 'must be nosniff, or null for none, not "sniff"'),
        ("frame_options: MAYBE", "must be DENY or SAMEORIGIN"),
        ("frame_options: 'ALLOW-FROM https://a.example'", "frame-ancestors in content_security_policy"),
        ("referrer_policy: never", "must be no-referrer, "),
        ('referrer_policy: "a\\nb"', "must be one line of ASCII text"),
        ("permissions_policy: \"camera 'none'\"", "must be such as camera=(), geolocation=(self)"),
        ("cross_origin_opener_policy: same-site", "must be same-origin, same-origin-allow-popups"),
        ("content_security_policy: true", "must be the field's value, as it has no default, or null"),
    ],
)
def test_a_field_that_browsers_would_drop_is_refused_where_it_is_written(text: str, said: str) -> None:
    for whole in (f"{SERVERS}security_headers: {{{text}}}", route(f"pool: default, security_headers: {{{text}}}")):
        (found,) = problems(whole)
        assert found.startswith("f:2:")
        assert "security_headers." in found
        assert said in found


def test_a_field_for_browsers_that_is_true_is_its_default_and_false_is_none() -> None:
    text = (
        f"{SERVERS}security_headers: {{hsts: null, frame_options: false, referrer_policy: 'origin, no-referrer'}}\n"
        "routes: {r: {pool: default, security_headers: {hsts: true, cross_origin_opener_policy: same-origin}}}"
    )
    config = parse(text, "f", {}).config
    assert config.security_headers is not None
    assert (config.security_headers.hsts, config.security_headers.frame_options) == (None, None)
    fields = config.routes["r"].security_headers
    assert fields is not None
    assert (fields.hsts, fields.frame_options) == ("max-age=31536000", None)
    assert fields.referrer_policy == "origin, no-referrer"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("admin: {audit: false}", "admin.audit: must be a path, or null for none, not false"),
        ("admin: {state: true}", "admin.state: must be a path, not true"),
        ("admin: {tls: {cert: true, key: a}}", 'admin.tls.cert: must be a path such as "/etc/balancer/site.pem", not'),
        ("errors: {page: false}", "errors.page: must be the path of an HTML file"),
        ("defaults: {headers: {via: false}}", "defaults.headers.via: must be text, or null for none, not false"),
        (
            "listeners: {m: {address: ':1', tls: {certificates: [{cert: a, key: b}], client_ca: false}}}",
            "listeners.m.tls.client_ca: must be a path, or null for none, not false",
        ),
        (
            "redis: {url: 'rediss://h', tls: {ca: false}}",
            'redis.tls.ca: must be a path such as "/etc/balancer/internal-ca.pem", or null for none, not false',
        ),
    ],
)
def test_a_switch_is_no_file_and_no_field(text: str, said: str) -> None:
    (found,) = problems(SERVERS + text)
    assert said in found


def test_the_same_word_in_quotes_is_a_name() -> None:
    assert parse(SERVERS + "admin: {audit: 'false'}", "f", {}).config.admin.audit == "false"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate_limit: a", "each route says that for itself: routes.NAME.rate_limit; policies are written in `rate_lim"),
        ("defaults: {rate_limit: a}", "each route says that for itself: routes.NAME.rate_limit"),
        ("defaults: {auth: a}", "each route says that for itself: routes.NAME.auth"),
        ("defaults: {security_headers: true}", "it is for all routes, and stands at the top of the file"),
        ("defaults: {access: {deny: 10.0.0.0/8}}", "it is for all routes, and stands at the top of the file"),
        ("defaults: {strategy: hash}", "each pool says that for itself: pools.NAME.strategy"),
        ("defaults: {redis: a}", "it stands at the top of the file"),
        ("sticky: lb", "each route says that for itself"),
        ("defaults: {helth: {}}", 'did you mean "health"?'),
    ],
)
def test_a_key_of_another_place_is_told_which(text: str, said: str) -> None:
    (found,) = problems(SERVERS + text)
    assert "is not a known key: " in found
    assert said in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("access: [10.0.0.0/8]", "must be a mapping of keys and values, such as {allow: ..., deny: ...}, not a list"),
        ("security_headers: maybe", "must be true, false or a mapping of keys and values, such as {hsts: ..., "),
        ("admin: {keys: {alice: 'sha256:0'}}", "admin.keys: must be a list, such as [{id: ..., hash: ...}]"),
        ("rate_limits: {a: {rate: 1/s, costs: {get: 1}}}", 'rate_limits.a.costs.get: must look like "GET" or "POST"'),
        ("rate_limits: {a: {rate: 1/s, shared: maybe}}", "must be true or false, or leased or exact, not"),
        ("rate_limits: {a: {concurrency: 1, burst: 5}}", "burst: must go with a rate, such as 100/s: it is what"),
        ("rate_limits: {a: {concurrency: 1, shared: true}}", "shared: must go with a rate: how many requests are"),
        ("redis: 'redis://u:p@ss/w@127.0.0.1:6379/0'", "a / in a password is written as %2F"),
    ],
)
def test_a_value_of_another_form_is_told_one_that_fits(text: str, said: str) -> None:
    (found,) = problems(SERVERS + text)
    assert said in found


def test_a_rate_stands_for_its_policy() -> None:
    config = parse(
        f"{SERVERS}rate_limits: {{a: 10/s}}\nroutes: {{r: {{pool: default, rate_limit: a}}}}", "f", {}
    ).config
    assert str(config.rate_limits["a"].rate) == "10/s"


def test_limits_that_limit_nothing_or_otherwise_than_they_say_are_warned_of() -> None:
    keys = "auth: {keys: {api_keys: {keys: {k: '%s'}}}}\n" % ("sha256:" + "0" * 64)
    policies = f"{SERVERS}{keys}rate_limits: {{a: {{rate: 1/s, key: api-key}}, b: {{rate: 1/s, key: 'jwt:sub'}}}}\n"
    told = warnings(policies + "routes: {r: {pool: default, auth: keys, rate_limit: a}}")
    assert told == ["f:3:48: rate_limits.b: limits nothing: a route chooses it by `rate_limit: b`"]
    told = warnings(policies + "routes: {r: {pool: default, auth: keys, rate_limit: [a, b]}}")
    assert len(told) == 1
    assert "routes.r.rate_limit[1]: b counts by jwt:sub, which no request of this route has" in told[0]
    assert "as its `auth` takes no tokens: it counts by client" in told[0]
    told = warnings(
        policies + "routes: {r: {pool: default, rate_limit: [a, b]}, k: {match: /k, pool: default, auth: keys}}"
    )
    assert len(told) == 2
    assert all("as it has no `auth`: it counts by client" in line for line in told)
