"""The shipped files: they load, the JSON Schema takes them, and what they say of defaults is true."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from config.cdn import ImagePreset
from config.compose import compose
from config.json_schema import schema, schema_text
from config.load import parse
from config.nodes import Items, Node, Table, plain
from config.problems import ConfigError
from config.schema import CacheRule, Cdn, Compress, Config, Defaults, Pool
from config.shapes import Shape, fields
from config.values import WRITTEN, Address

ROOT = pathlib.Path(__file__).parents[2]
SHIPPED = ROOT / "balancer.yaml"
EXAMPLES = sorted({*ROOT.glob("examples/**/*.yaml"), SHIPPED})
VALIDATOR = jsonschema.Draft202012Validator(schema())


def uncommented() -> str:
    """The shipped file with every option in effect."""
    return re.sub(r"^#(?!#| yaml-language-server)", "", SHIPPED.read_text(), flags=re.MULTILINE)


def data(text: str) -> dict[str, object]:
    tree, problems = compose(text, "f")
    assert not problems
    found = plain(tree)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_shipped_configuration_loads(path: pathlib.Path) -> None:
    assert parse(path.read_bytes(), path.name, {}, path).config.pools


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_json_schema_takes_every_shipped_configuration(path: pathlib.Path) -> None:
    VALIDATOR.validate(data(path.read_text()))


def test_the_json_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_committed_json_schema_is_current() -> None:
    committed = ROOT / "docs" / "balancer.schema.json"
    assert committed.read_text() == schema_text(), "write `balancer config schema` to docs/balancer.schema.json"


def test_editors_find_the_schema_from_the_first_line() -> None:
    first = SHIPPED.read_text().partition("\n")[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (ROOT / first.partition("=")[2]).is_file()


def test_the_shipped_file_listens_on_8080_for_the_three_servers_of_the_demonstration() -> None:
    config = parse(SHIPPED.read_bytes(), "balancer.yaml", {}).config
    assert [listener.address for listener in config.listeners.values()] == [Address("", 8080)]
    (pool,) = config.pools.values()
    assert list(pool.servers) == ["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003"]
    assert (
        config == parse("servers: 'http://127.0.0.1:3001 http://127.0.0.1:3002 http://127.0.0.1:3003'", "f", {}).config
    )


def test_every_option_of_the_shipped_file_can_be_put_into_effect() -> None:
    assert parse(uncommented(), "balancer.yaml", {}).config.routes
    VALIDATOR.validate(data(uncommented()))


def test_the_shipped_file_tells_true_defaults() -> None:
    written = data(uncommented())
    assert Defaults.model_validate(written["defaults"], context=WRITTEN) == Defaults()
    config = parse(uncommented(), "balancer.yaml", {}).config
    plainest = parse("servers: [http://a:1]", "f", {}).config
    for part in ("trusted_proxies", "redis", "admin", "metrics", "logs", "errors", "shutdown", "limits", "timeouts"):
        assert getattr(config, part) == getattr(plainest, part)
    assert config.compress == Compress()
    assert config.cdn is not None
    assert config.cdn.images is not None
    images = config.cdn.images.model_copy(update={"presets": {}})
    assert config.cdn.model_copy(update={"images": images}) == Cdn()
    assert config.cdn.images.presets == {"thumb": ImagePreset()}
    assert config.cache.model_copy(update={"rules": {}}) == plainest.cache
    assert config.cache.rules["plain"] == CacheRule()
    app, default = config.pools["app"], plainest.pools["default"]
    for part in Pool.model_fields.keys() - {"servers"}:
        assert getattr(app, part) == getattr(default, part)


def _written(node: Node, shape: Shape) -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(node, Table) and shape.model is not None:
        for key, inner in node.entries.items():
            yield shape.model, key
            yield from _written(inner, fields(shape.model).get(key, Shape("other")))
    elif isinstance(node, Table) and shape.inner is not None:
        for inner in node.entries.values():
            yield from _written(inner, shape.inner)
    elif isinstance(node, Items) and shape.inner is not None:
        for inner in node.items:
            yield from _written(inner, shape.inner)


def _known(shape: Shape) -> Iterator[tuple[type[BaseModel], str]]:
    if shape.model is not None:
        for key, inner in fields(shape.model).items():
            yield shape.model, key
            yield from _known(inner)
    elif shape.inner is not None:
        yield from _known(shape.inner)


def test_every_key_there_is_stands_in_the_shipped_file() -> None:
    # Once as it is written, once widened: both spellings tell of a key.
    tree, _ = compose(uncommented(), "f")
    shape, defaults = Shape("model", model=Config), Shape("model", model=Defaults)
    told = {*_written(tree, shape), *_written(tree.table("defaults"), defaults)}
    told |= set(_written(parse(uncommented(), "f", {}).tree, shape))
    # The keys of the admin API are told of in a comment, as an example would be somebody's key.
    known = {pair for pair in _known(shape) if pair[0].__name__ != "AdminKey"}
    assert sorted((model.__name__, key) for model, key in known - told) == []
    assert all(f"{key}:" in SHIPPED.read_text() for key in ("id", "hash", "role", "expires"))


VALUE = st.sampled_from(
    """
    1|0|-1|1.5|true|null|''|5s|10MiB|20%|GET|get|/x|x|'${A:-1}'|[]|[1]|[x]|{}|{x: y}|{url: http://a:1}|http://a:1
    |[http://a:1]|{path: /x}|':1'|2xx|200|hash|10.0.0.0/8|{set: {X: y}}|{cookie: x}|{a: 0.5}|redis://h|none|info
    """.replace("\n    ", "").split("|")
)
LEAVES = sorted({key for _, key in _known(Shape("model", model=Config))})


SPOTS = ["listen: {}", "servers: {}", "servers: {{a: {}}}", "pools: {{default: {}}}", "listeners: {{a: {}}}"]
SPOTS += ["admin: {}", "logs: {}", "trusted_proxies: {}"]
for _key in LEAVES:
    SPOTS += [
        f"pools: {{{{default: {{{{{_key}: {{}}}}}}}}}}",
        f"routes: {{{{r: {{{{pool: default, {_key}: {{}}}}}}}}}}",
    ]
    SPOTS += [f"routes: {{{{r: {{{{pool: default, match: {{{{{_key}: {{}}}}}}}}}}}}}}"]
    SPOTS += [f"defaults: {{{{{part}: {{{{{_key}: {{}}}}}}}}}}" for part in ("timeouts", "limits")]
    SPOTS += [f"defaults: {{{{health: {{{{active: {{{{{_key}: {{}}}}}}}}}}}}}}"]
    SPOTS += [f"defaults: {{{{headers: {{{{request: {{{{{_key}: {{}}}}}}}}}}}}}}"]


@given(st.sampled_from(SPOTS), VALUE)
def test_the_json_schema_takes_whatever_the_loader_takes(spot: str, value: str) -> None:
    text = spot.format(value)
    if not text.startswith("servers") and "http://" not in text:
        text += "\nservers: [http://a:1]"
    try:
        parse(text, "f", {})
    except ConfigError:
        return
    VALIDATOR.validate(data(text))


@pytest.mark.parametrize(
    "text",
    [
        "severs: []",
        "listen: 8080",
        "servers: {a: {weight: 1}}",
        "limits: {}",
        "logs: {level: loud}",
        "pools: {a: {b: http://a}}",
    ],
)
def test_the_json_schema_refuses_the_plainest_mistakes(text: str) -> None:
    assert not VALIDATOR.is_valid(data(text))


def test_the_json_schema_describes_its_keys() -> None:
    known = schema()["$defs"]
    assert known["Timeouts"]["anyOf"][0]["properties"]["connect"]["description"] == "Opening a connection to a server."
    assert known["Timeouts"]["anyOf"][0]["properties"]["connect"]["default"] == "3s"
    assert json.loads(schema_text()) == schema()
