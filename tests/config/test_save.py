"""What the API changed, folded back into the file: comments stay, and the file says what was in force."""

from __future__ import annotations

import json
import pathlib
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import overlay as overlays
from config.amend import Basis, amended, based
from config.json_tree import json_tree
from config.load import parse
from config.overlay import Overlay
from config.save import Unsaved, saved, write
from config.schema import Server
from config.state import StateError

FILE = """\
# The site of the shop.
listen: 127.0.0.1:8080   # behind the firewall

trusted_proxies:
  - 10.0.0.0/8     # the office
  - 192.0.2.1      # the bastion
  # more to come

defaults:
  timeouts: {connect: 1s, idle: 30s}   # short
  health:
    active: {path: /healthz, headers: {Authorization: "Bearer ${TOKEN}"}}

pools:
  # What customers see.
  app:
    servers:
      - http://10.0.0.11:8000   # rack 1
      - url: http://10.0.0.12:8000   # rack 2
        weight: 2
    strategy: round-robin   # fair
  api:
    servers: {a: http://10.0.1.1:80, b: {url: "http://10.0.1.2:80", weight: 3}}   # two
  old: [http://10.0.2.1:80, http://10.0.2.2:80]

routes:
  shop: {pool: app}
  api:
    match: /api/**   # versioned
    pool: api
  legacy: {match: /old/**, pool: old, methods: [GET, HEAD]}

# The end.
"""
ENVIRON = {"TOKEN": "swordfish"}


def basis(text: str = FILE, overlay: Overlay | None = None) -> Basis:
    overlay = overlay or Overlay()
    file = parse(text, "balancer.yaml", ENVIRON, pathlib.Path("balancer.yaml"))
    base = based(file, overlay)
    return Basis(file, base, overlay, overlays.merge(base.config, overlay))


def after(patch: str, text: str = FILE, overlay: Overlay | None = None) -> Basis:
    found = amended(basis(text, overlay), json_tree(patch.encode(), "the body"), json=True)
    return basis(text, found.overlay)


def lines(before: str, after_: str) -> tuple[list[str], list[str]]:
    """The lines that have gone, and those that have come."""
    old, new = before.splitlines(), after_.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


@pytest.mark.parametrize(
    ("patch", "gone", "came"),
    [
        (
            '{"listen": ":9000"}',
            ["listen: 127.0.0.1:8080   # behind the firewall"],
            ["listen: ':9000'   # behind the firewall"],
        ),
        (
            '{"defaults": {"timeouts": {"connect": "2s", "tunnel": "5m"}}}',
            ["  timeouts: {connect: 1s, idle: 30s}   # short"],
            ["  timeouts: {connect: 2s, idle: 30s, tunnel: 5m}   # short"],
        ),
        (
            '{"pools": {"app": {"servers": {"10.0.0.11:8000": {"weight": 4}}}}}',
            ["      - http://10.0.0.11:8000   # rack 1"],
            ["      - {url: http://10.0.0.11:8000, weight: 4}   # rack 1"],
        ),
        (
            '{"pools": {"app": {"servers": {"10.0.0.12:8000": {"weight": 5}}}}}',
            ["        weight: 2"],
            ["        weight: 5"],
        ),
        (
            '{"pools": {"app": {"servers": {"10.0.0.11:8000": null, "10.0.0.13:8000": "http://10.0.0.13:8000"}}}}',
            ["      - http://10.0.0.11:8000   # rack 1"],
            ["      - http://10.0.0.13:8000"],
        ),
        (
            '{"pools": {"api": {"servers": {"a": null, "c": {"url": "http://10.0.1.3:80", "backup": true}}}}}',
            ['    servers: {a: http://10.0.1.1:80, b: {url: "http://10.0.1.2:80", weight: 3}}   # two'],
            [
                '    servers: {b: {url: "http://10.0.1.2:80", weight: 3}, '
                "c: {url: 'http://10.0.1.3:80', backup: true}}"
                "   # two"
            ],
        ),
        (
            '{"pools": {"old": {"strategy": "hash"}}}',
            ["  old: [http://10.0.2.1:80, http://10.0.2.2:80]"],
            ["  old: {servers: [http://10.0.2.1:80, http://10.0.2.2:80], strategy: hash}"],
        ),
        ('{"trusted_proxies": ["192.0.2.1", "192.0.2.2"]}', ["  - 10.0.0.0/8     # the office"], ["  - 192.0.2.2"]),
        ('{"shutdown": {"grace": "5s"}}', [], ["shutdown:", "  grace: 5s"]),
        ('{"defaults": {"limits": {"lag": null}}}', [], ["  limits:", "    lag: null"]),
        (
            '{"defaults": {"timeouts": {"idle": null}}}',
            ["  timeouts: {connect: 1s, idle: 30s}   # short"],
            ["  timeouts: {connect: 1s}   # short"],
        ),
        ('{"routes": {"api": null}}', ["    match: /api/**   # versioned", "    pool: api"], []),
    ],
)
def test_a_change_touches_its_own_lines_and_no_others(patch: str, gone: list[str], came: list[str]) -> None:
    found = after(patch)
    text, loaded, overlay = saved(found, ENVIRON)
    assert lines(FILE, text) == (gone, came)
    assert loaded.config == found.running
    assert overlay == Overlay()


def test_text_that_looks_like_a_variable_stays_text() -> None:
    change = json_tree(
        b'{"routes": {"docs": {"match": "/docs", "respond": {"body": "$x $"}}, "legacy": null}}', "the body"
    )
    found = basis(FILE, amended(basis(), change, json=True).overlay)
    text, loaded, _ = saved(found, ENVIRON)
    assert loaded.config.routes["docs"].respond is not None
    assert loaded.config.routes["docs"].respond.body == "$x $"
    assert "# The end." in text


def test_changes_to_single_servers_are_saved_too_but_for_their_states() -> None:
    overlay = overlays.add_server(Overlay(), "api", "c", Server(url="http://10.0.1.3:80", weight=2))
    overlay = overlays.set_weight(overlay, "app", "10.0.0.11:8000", 7)
    overlay = overlays.set_state(overlay, "api", "a", "drained")
    text, loaded, left = saved(basis(FILE, overlay), ENVIRON)
    assert loaded.config.pools["app"].servers["10.0.0.11:8000"].weight == 7
    assert loaded.config.pools["api"].servers["c"].weight == 2
    assert left == overlays.set_state(Overlay(), "api", "a", "drained")
    assert "# rack 1" in text


SHORT = """\
# tiny
listen: 127.0.0.1:8080
servers: [http://10.0.0.1:80, "http://10.0.0.2:80"]   # two
"""


@pytest.mark.parametrize(
    ("patch", "line"),
    [
        ('{"pools": {"default": {"strategy": "hash"}}}', "      strategy: hash"),
        ('{"pools": {"default": {"servers": {"10.0.0.3:80": "http://10.0.0.3:80"}}}}', None),
        ('{"listeners": {"main": {"proxy_protocol": "refuse", "address": ":81"}}}', "listen: :81"),
        ('{"pools": {"default": {"servers": {"10.0.0.2:80": {"backup": true}}}}}', None),
        ('{"servers": ["http://10.0.0.9:80"]}', None),
    ],
)
def test_a_file_of_short_forms_is_saved_too(patch: str, line: str | None) -> None:
    found = after(patch, SHORT)
    text, loaded, _ = saved(found, ENVIRON)
    assert loaded.config == found.running
    assert text.startswith("# tiny\n")
    assert "# two" in text


TINY = "rate_limits: {a: {rate: 5/s}}\nservers: [http://10.0.0.1:80]\n"


@pytest.mark.parametrize(
    ("text", "patch", "came"),
    [
        (TINY, '{"routes": {"default": {"rate_limit": "a"}}}', ["routes:", "  default:", "    pool: default"]),
        (
            TINY,
            '{"routes": {"api": {"match": "/api/**", "pool": "default"}}}',
            ["routes:", "  default:", "    pool: default", "  api:"],
        ),
        (TINY, '{"pools": {"b": {"servers": {"x": "http://10.0.0.2:80"}}}}', ["routes:", "    pool: default"]),
        (TINY + "routes:   # none yet\n", '{"routes": {"default": {"rate_limit": "a"}}}', []),
        (TINY + "routes: {}\n", '{"pools": {"b": {"servers": {"x": "http://10.0.0.2:80"}}}}', []),
        (TINY + "listen:\n", '{"listeners": {"b": {"address": ":81"}}}', ["listen: ':8080'", "  b:"]),
        (TINY, '{"listeners": {"b": {"address": ":81"}}}', ["  main:", "    address: :8080", "  b:"]),
    ],
)
def test_what_went_without_saying_is_written_out_once_it_does_not(text: str, patch: str, came: list[str]) -> None:
    found = after(patch, text)
    new, loaded, overlay = saved(found, ENVIRON)
    assert loaded.config == found.running
    assert overlay == Overlay()
    assert set(came) <= set(new.splitlines())


def test_a_pool_that_the_file_has_by_a_short_form_can_go() -> None:
    patch = '{"pools": {"default": null, "b": {"servers": {"x": "http://b"}}}, "routes": {"default": {"pool": "b"}}}'
    text, _, _ = saved(after(patch, "servers: [http://10.0.0.1:80]\n"), ENVIRON)
    assert text == "pools:\n  b:\n    servers:\n      x:\n        url: http://b\n"


def test_an_empty_file_under_variables_is_saved() -> None:
    environ = {"LOAD_BALANCER_SERVERS": "http://10.0.0.1:80"}
    file = parse("", "balancer.yaml", environ, pathlib.Path("balancer.yaml"))
    first = Basis(file, file, Overlay(), file.config)
    overlay = amended(first, json_tree(b'{"shutdown": {"grace": "5s"}}', "the body"), json=True).overlay
    base = based(file, overlay)
    text, _, _ = saved(Basis(file, base, overlay, base.config), environ)
    assert text == "shutdown:\n  grace: 5s\n"


@pytest.mark.parametrize(
    ("text", "patch", "says"),
    [
        (
            "x: &t {weight: 2}\nservers: {a: {url: http://a, <<: *t}}".replace(
                "x: ", "pools: {other: {servers: {b: {url: http://b, <<: "
            ).replace(
                "{weight: 2}\n",
                "{weight: 2}}}}, two: &p {servers: {c: http://c}}, three: *p}\nroutes: {r: {pool: other}}\n",
            ),
            '{"pools": {"three": {"strategy": "hash"}}}',
            "written once and repeated",
        ),
        (
            "servers:\n  - http://a:1\n",
            '{"pools": {"default": {"servers": {"b": "http://b:1"}}}}',
            "no server can be named b",
        ),
        (
            "servers: [http://a:1]\ntrusted_proxies: [\n  10.0.0.0/8, # office\n]\n",
            '{"trusted_proxies": ["192.0.2.1"]}',
            "has comments in it",
        ),
        ("servers: [http://a:1]\ntrusted_proxies: ['${NET}']\n", '{"trusted_proxies": ["192.0.2.1"]}', "holds \\$"),
    ],
)
def test_what_can_not_be_saved_says_why_and_where(text: str, patch: str, says: str) -> None:
    environ = {**ENVIRON, "NET": "10.0.0.0/8"}
    file = parse(text, "balancer.yaml", environ, pathlib.Path("balancer.yaml"))
    overlay = amended(
        Basis(file, file, Overlay(), file.config), json_tree(patch.encode(), "the body"), json=True
    ).overlay
    base = based(file, overlay)
    with pytest.raises(Unsaved, match=says) as error:
        saved(Basis(file, base, overlay, base.config), environ)
    assert error.value.problems[0].line


def test_what_a_variable_is_over_can_not_be_saved_and_it_is_named() -> None:
    environ = {"LOG_LEVEL": "debug"}
    file = parse("servers: [http://a:1]\n", "balancer.yaml", environ, pathlib.Path("balancer.yaml"))
    overlay = amended(
        Basis(file, file, Overlay(), file.config), json_tree(b'{"logs": {"level": "error"}}', "b"), json=True
    ).overlay
    base = based(file, overlay)
    with pytest.raises(Unsaved, match=r"logs\.level: would be debug and not error, as LOG_LEVEL is over the file"):
        saved(Basis(file, base, overlay, base.config), environ)


def test_what_would_be_lost_is_told_in_few_lines_and_without_words_of_python() -> None:
    environ = {"LOAD_BALANCER_SERVERS": "http://10.0.0.1:80"}
    file = parse("", "balancer.yaml", environ, pathlib.Path("balancer.yaml"))
    body = b'{"pools": {"default": null, "b": {"servers": {"x": "http://b"}}}, "routes": {"default": {"pool": "b"}}}'
    overlay = amended(Basis(file, file, Overlay(), file.config), json_tree(body, "the body"), json=True).overlay
    base = based(file, overlay)
    with pytest.raises(Unsaved) as error:
        saved(Basis(file, base, overlay, base.config), environ)
    assert len(error.value.problems) <= 8
    assert "None" not in str(error.value)


# Any file with comments, any changes.

COMMENT = st.sampled_from(["", "   # why", "  # a: {b: [c]}"])
WEIGHTS = st.integers(1, 9)


@st.composite
def files(draw: st.DrawFn) -> str:
    """Pools in every style there is, with comments everywhere."""
    text = f"# top{draw(COMMENT)}\nlisten: :8080{draw(COMMENT)}\n\npools:{draw(COMMENT)}\n"
    for pool in "ab":
        style = draw(st.sampled_from(["block", "flow", "list", "short", "long"]))
        urls = [f"http://10.0.{'ab'.index(pool)}.{n}:80" for n in range(1, draw(st.integers(1, 3)) + 1)]
        named = {url[7:]: url for url in urls}
        if style == "block":
            text += f"  {pool}:{draw(COMMENT)}\n    # before\n    servers:\n"
            text += "".join(f'      "{name}": {url}{draw(COMMENT)}\n' for name, url in named.items())
            text += f"    strategy: random{draw(COMMENT)}\n" if draw(st.booleans()) else ""
        elif style == "flow":
            inner = ", ".join(f'"{name}": {{url: "{url}", weight: {draw(WEIGHTS)}}}' for name, url in named.items())
            text += f"  {pool}: {{servers: {{{inner}}}, strategy: hash}}{draw(COMMENT)}\n"
        elif style == "list":
            text += f"  {pool}:\n    servers:{draw(COMMENT)}\n"
            text += "".join(f"    - {url}{draw(COMMENT)}\n" for url in urls)
        elif style == "short":
            text += f"  {pool}: [{', '.join(urls)}]{draw(COMMENT)}\n"
        else:
            text += f"  {pool}:\n    servers:\n"
            text += "".join(f'      "{name}":{draw(COMMENT)}\n        url: {url}\n' for name, url in named.items())
    routes = f"routes:\n  a: {{pool: a}}{draw(COMMENT)}\n  b:\n    match: /b{draw(COMMENT)}\n    pool: b\n"
    return text + routes + ("# end\n" if draw(st.booleans()) else "")


@st.composite
def changes(draw: st.DrawFn) -> dict[str, object]:
    """A merge patch that goes with any of these files."""
    pool: dict[str, object] = {}
    servers: dict[str, object] = {}
    if draw(st.booleans()):
        servers["10.0.0.1:80"] = {"weight": draw(WEIGHTS)}
    if draw(st.booleans()):
        servers["10.0.0.9:80"] = {"url": "http://10.0.0.9:80", "weight": draw(WEIGHTS)}
    if servers:
        pool["servers"] = servers
    if draw(st.booleans()):
        pool["strategy"] = draw(st.sampled_from(["two-choices", None]))
    if draw(st.booleans()):
        pool["health"] = {"active": draw(st.sampled_from([None, {"path": "/x y".replace(" ", "")}]))}
    patch: dict[str, object] = {"pools": {"a": pool}} if pool else {}
    if draw(st.booleans()):
        patch["shutdown"] = {"grace": "5s"}
    if draw(st.booleans()):
        patch["routes"] = {"b": draw(st.sampled_from([{"match": {"path": "/c"}}, {"upgrades": []}, None]))}
    if draw(st.booleans()):
        patch["routes"] = {**patch.get("routes", {}), "n": {"match": "/n", "redirect": {"to": "https://x/#y"}}}  # type: ignore[dict-item]  # a mapping
    return patch


@given(text=files(), patch=changes())
def test_whatever_is_saved_keeps_every_comment_that_its_line_keeps_and_says_what_was_in_force(
    text: str, patch: dict[str, object]
) -> None:
    found = after(json.dumps(patch), text)
    new, loaded, overlay = saved(found, ENVIRON)
    assert loaded.config == found.running
    assert overlay == Overlay()
    removed = patch.get("routes", {}).get("b", 0) is None  # type: ignore[attr-defined]  # a mapping
    whole = [line for line in text.splitlines() if line.strip().startswith("#")]
    assert [line for line in new.splitlines() if line.strip().startswith("#")] == whole
    if not removed and "strategy" not in str(patch):
        assert new.count("# why") == text.count("# why")


def test_a_file_is_written_whole_with_its_mode_and_the_old_one_beside_it(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "balancer.yaml"
    file.write_text("old")
    file.chmod(0o640)
    write(file, "new\r\n")
    assert file.read_bytes() == b"new\r\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (tmp_path / "balancer.yaml.bak").read_text() == "old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["balancer.yaml", "balancer.yaml.bak"]
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    with pytest.raises(StateError, match="is a link"):
        write(link, "x")


def test_a_secret_is_not_saved_where_everybody_can_read_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "balancer.yaml"
    path.write_text("servers: [http://a:1]\n")
    body = b'{"routes": {"default": {"headers": {"request": {"set": {"X-Token": "hunter2"}}}}}}'
    file = parse(path.read_bytes(), str(path), {}, path)
    overlay = amended(Basis(file, file, Overlay(), file.config), json_tree(body, "the body"), json=True).overlay
    base = based(file, overlay)
    found = Basis(file, base, overlay, base.config)
    path.chmod(0o644)
    with pytest.raises(Unsaved, match="can be read by everybody") as error:
        saved(found, {})
    assert "hunter2" not in str(error.value)
    path.chmod(0o640)
    assert "hunter2" in saved(found, {})[0]
