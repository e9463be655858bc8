"""From bodies to configurations: what is meant as it is, what is refused, and that nothing else happens."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import overlay as overlays
from config.amend import Basis, amended, based, reaching, read_body, replaced
from config.document import document
from config.load import parse
from config.overlay import Overlay
from config.patch import same
from config.problems import ConfigError
from config.schema import Config
from config.show import show

FILE = """
listen: 127.0.0.1:8080
defaults: {timeouts: {connect: 1s, total: 30s}, health: {active: {headers: {Authorization: "Bearer ${TOKEN}"}}}}
pools:
  app: {servers: [http://a:1, http://b:1], tls: {server_name: a}}
  api: {servers: {x: "http://x:1"}, timeouts: {connect: 2s}}
routes:
  app: {pool: app, headers: {request: {set: {X-Key: "${TOKEN}", X-Own: plain}}}}
  api: {match: /api/**, pool: api}
redis: {url: "redis://:${TOKEN}@h"}
"""
ENVIRON = {"TOKEN": "swordfish", "ADMIN_API_KEY": "k" * 40, "LOG_LEVEL": "debug"}


def basis(text: str = FILE, overlay: Overlay | None = None) -> Basis:
    overlay = overlay or Overlay()
    file = parse(text, "f", ENVIRON)
    base = based(file, overlay)
    return Basis(file, base, overlay, overlays.merge(base.config, overlay))


def patched(body: object, found: Basis | None = None) -> Overlay:
    return amended(found or basis(), read_body(json.dumps(body).encode(), json=True), json=True).overlay


WHOLE = basis()
KEYS = [*Config.model_fields, "defaults", "listen", "servers", "strategy", "app", "api", "a:1", "x", "health", "active"]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 2000), st.sampled_from(["***", "${TOKEN}", "$x", "5s", "app", "/x", ""])
)
BODIES = st.dictionaries(
    st.sampled_from(KEYS),
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=2),
            st.dictionaries(
                st.sampled_from([*KEYS, "url", "weight", "match", "pool", "headers", "timeouts", "path", "set"]),
                inner,
                max_size=3,
            ),
        ),
        max_leaves=6,
    ),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(body=BODIES, whole=st.booleans())
def test_any_body_is_a_configuration_or_a_problem_and_never_anything_else(body: dict[str, object], whole: bool) -> None:
    tree = read_body(json.dumps(body).encode(), json=True)
    try:
        found = replaced(WHOLE, tree, ENVIRON, json=True) if whole else amended(WHOLE, tree, json=True)
    except ConfigError as error:
        found, told = None, str(error)
    else:
        told = json.dumps(found.overlay.patch)
    assert told
    assert "swordfish" not in told
    if found is None:
        return
    assert based(WHOLE.file, found.overlay).config == found.base.config


WEIGHTS = st.integers(1, 5)
TARGETS = st.fixed_dictionaries(
    {},
    optional={
        "shutdown": st.fixed_dictionaries({"grace": st.sampled_from(["5s", "30s"])}),
        "pools": st.fixed_dictionaries(
            {},
            optional={
                "app": st.fixed_dictionaries(
                    {},
                    optional={
                        "servers": st.dictionaries(
                            st.sampled_from(["a:1", "c"]),
                            st.fixed_dictionaries({"url": st.just("http://c:1"), "weight": WEIGHTS}),
                            max_size=1,
                        ),
                        "timeouts": st.fixed_dictionaries({"connect": st.sampled_from(["1s", "9s"])}),
                        "strategy": st.sampled_from(["hash", "random"]),
                    },
                ),
                "new": st.just({"servers": ["http://n:1"]}),
            },
        ),
        "defaults": st.fixed_dictionaries(
            {"timeouts": st.fixed_dictionaries({"connect": st.sampled_from(["3s", "7s"])})}
        ),
        "routes": st.fixed_dictionaries({"new": st.just({"match": "/new", "pool": "api", "timeouts": {"idle": "1s"}})}),
    },
)


@settings(max_examples=60, deadline=None)
@given(one=TARGETS, other=TARGETS)
def test_from_any_configuration_any_other_is_reached(one: dict[str, object], other: dict[str, object]) -> None:
    here = basis(FILE, patched(one))
    wanted = basis(FILE, patched(other))
    found = reaching(here, wanted.base, wanted.running)
    assert found.base.config == wanted.running
    assert "swordfish" not in str(found.overlay)


@settings(max_examples=40, deadline=None)
@given(body=TARGETS)
def test_what_is_shown_means_the_same_when_it_is_put(body: dict[str, object]) -> None:
    here = basis(FILE, patched(body))
    for text, as_json in ((show(here.running), False), (json.dumps(document(here.running)), True)):
        found = replaced(here, read_body(text.encode(), json=as_json), ENVIRON, json=as_json)
        assert found.base.config == here.running
        assert same(found.overlay.patch, here.overlay.patch)


def test_the_file_itself_takes_everything_back() -> None:
    here = basis(FILE, patched({"shutdown": {"grace": "5s"}, "logs": {"level": "error"}, "routes": {"api": None}}))
    found = replaced(here, read_body(FILE.encode(), json=False), ENVIRON, json=False)
    assert found.overlay == Overlay()


def test_a_masked_value_stays_what_it_is_where_it_is() -> None:
    headers = {"request": {"set": {"X-Key": "***", "X-Own": "other"}}}
    assert patched({"routes": {"app": {"headers": headers}}}).patch == {
        "routes": {"app": {"headers": {"request": {"set": {"X-Own": "other"}}}}}
    }
    inherited = {"pools": {"app": {"health": {"active": {"headers": {"Authorization": "***"}, "interval": "9s"}}}}}
    assert patched(inherited).patch == {"pools": {"app": {"health": {"active": {"interval": "9s"}}}}}


@pytest.mark.parametrize(
    "body",
    [
        {"routes": {"app": {"headers": {"request": {"set": {"X-Token": "***"}}}}}},
        {"routes": {"api": {"headers": {"request": {"set": {"X-Key": "***"}}}}}},
        {"pools": {"api": {"health": {"active": {"headers": {"Cookie": "***"}}}}}},
    ],
)
def test_a_secret_can_not_be_moved_by_its_mask(body: object) -> None:
    with pytest.raises(ConfigError, match="must be written in full"):
        patched(body)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ('routes: {app: {headers: {request: {set: {X-Key: "${TOKEN}"}}}}}', True),
        ('routes: {app: {headers: {request: {set: {X-Key: "${TOKEN} "}}}}}', False),
        ('routes: {app: {headers: {request: {set: {X-Own: "${TOKEN}"}}}}}', False),
        ('routes: {api: {headers: {request: {set: {X-Key: "${TOKEN}"}}}}}', False),
        ('routes: {app: {headers: {request: {set: {X-Own: "$${TOKEN}"}}}}}', True),
        ('routes: {app: {headers: {request: {set: {X-Own: "${file:/etc/passwd}"}}}}}', False),
        ('shutdown: {grace: "${NO_SUCH:-5s}"}', False),
    ],
)
def test_a_variable_stays_where_the_file_has_it_and_goes_nowhere_else(text: str, allowed: bool) -> None:
    tree = read_body(text.encode(), json=False)
    if allowed:
        assert "swordfish" not in str(amended(basis(), tree, json=False).overlay.patch)
        return
    with pytest.raises(ConfigError, match=r"must hold no \$\{\.\.\.\}"):
        amended(basis(), tree, json=False)


def test_what_ties_with_a_route_that_no_line_says_is_told_of_it() -> None:
    with pytest.raises(ConfigError, match="goes without saying as the file has no"):
        patched({"routes": {"rest": {"pool": "default"}}}, basis("servers: [http://a:1]\n"))
    with pytest.raises(ConfigError, match=r"they tie$"):
        patched({"routes": {"rest": {"pool": "app"}}})
