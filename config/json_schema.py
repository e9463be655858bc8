"""The JSON Schema of what may be written in a file, short forms included, for editors and `config schema`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaValue

from config.schema import AccessLog, Config, Defaults, HeaderEdits, Pool, SecurityHeaders
from config.shapes import Shape, fields
from config.values import Address, Duration, Network, Share, Size, StatusSet, TrustedProxy
from config.widen import SHORT, SWITCHES

_NOTES = ("title", "default", "description")
_NULL: JsonSchemaValue = {"type": "null"}
_VARIABLE: JsonSchemaValue = {
    "type": "string",
    "pattern": r"\$\{.+\}",
    "description": "A value from outside: ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:/path}.",
}
_TOP = {
    "listen": ("Listener", "address", 'Short for listeners: {main: {address: ":8080"}}.'),
    "servers": (
        "Pool",
        "servers",
        "Short for pools: {default: {servers: ...}}; LOAD_BALANCER_SERVERS is over it.",
    ),
    "strategy": ("Pool", "strategy", "Short for pools: {default: {strategy: ...}}."),
}


def schema() -> JsonSchemaValue:
    """JSON Schema 2020-12. It takes whatever the loader takes; the loader finds more that is wrong."""
    whole, defaults = Config.model_json_schema(), Defaults.model_json_schema()
    long: JsonSchemaValue = {
        **defaults.pop("$defs"),
        **whole.pop("$defs"),
        "Config": whole,
        "Defaults": defaults,
    }
    models = {model.__name__: model for top in (Config, Defaults) for model in _models(Shape("model", model=top))}
    forms = {name: _long_form(model, long[name]) for name, model in sorted(models.items())}
    root = forms.pop("Config")
    short = {key: forms[name]["properties"][part] | {"description": text} for key, (name, part, text) in _TOP.items()}
    # In a file these two are under `defaults`.
    below = {key: part for key, part in root["properties"].items() if key not in ("limits", "timeouts")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "balancer.yaml",
        "description": "The configuration of the balancer. The shipped balancer.yaml shows every key.",
        **root,
        "properties": {**short, "defaults": {"$ref": "#/$defs/Defaults"}, **below},
        "$defs": {
            **{name: _any_form(models[name], form) for name, form in forms.items()},
            **{name: _loose(part) for name, part in _quantities().items()},
            "Variable": _VARIABLE,
        },
    }


def schema_text() -> str:
    """The schema as `config schema` prints it and docs/balancer.schema.json holds it."""
    return json.dumps(schema(), indent=2) + "\n"


def _models(shape: Shape | None) -> Iterator[type[BaseModel]]:
    """The models that a shape leads to, some of them more than once."""
    if shape is not None and shape.model is not None:
        yield shape.model
        for inner in fields(shape.model).values():
            yield from _models(inner)
    elif shape is not None:
        yield from _models(shape.inner)


def _long_form(model: type[BaseModel], part: JsonSchemaValue) -> JsonSchemaValue:
    """A model as a mapping of all its keys."""
    # Defaults in the spelling of a file.
    texts = model.model_construct().model_dump(warnings=False)
    properties = {}
    for name, inner in part["properties"].items():
        loose = _named(inner)
        if "description" in inner:
            loose["description"] = inner["description"]
        default = texts.get(name)
        if default is not None and not isinstance(default, dict):
            in_order = sorted if isinstance(default, frozenset) else list
            loose["default"] = in_order(default) if isinstance(default, (frozenset, tuple)) else default
        properties[name] = loose
    result = {"type": "object", "properties": properties, "additionalProperties": False}
    if model is SecurityHeaders:
        for inner in properties.values():
            inner["anyOf"].append({"type": "boolean"})
    if model is Pool:
        server = {"$ref": "#/$defs/Server"}
        properties["servers"]["anyOf"] += [{"type": "array", "items": server}, {"type": "string"}]
    elif model is not Config and "required" in part:
        # A pool's servers may also come from the top of the file or the environment.
        result["required"] = part["required"]
    return result


def _any_form(model: type[BaseModel], long: JsonSchemaValue) -> JsonSchemaValue:
    """A model in its long form and in the short ones; nothing stands for what goes without saying."""
    forms = [long, _NULL]
    if model in SHORT:
        short = {key: part for key, part in long["properties"][SHORT[model]].items() if key != "default"}
        if model is Pool:  # a mapping in place of a pool is the pool
            short["anyOf"] = [form for form in short["anyOf"] if form["type"] in ("array", "string")]
        forms.append(short)
    if model in SWITCHES:
        forms.append({"type": "boolean"})
    if model is AccessLog:
        forms.append({"const": False})
    if model is HeaderEdits:
        forms.append(
            {
                "type": "object",
                "description": "Fields to set, short for {set: {...}}.",
                "additionalProperties": {"type": ["string", "number", "boolean"]},
                "propertyNames": {"not": {"enum": sorted(long["properties"])}},
            }
        )
    return {"description": model.__doc__ or "", "anyOf": forms}


@cache
def _quantities() -> dict[str, JsonSchemaValue]:
    """The kinds of values with a spelling of their own."""
    return {
        "Address": TypeAdapter(Address).json_schema(),
        "Duration": TypeAdapter(Duration).json_schema(),
        "Network": TypeAdapter(Network).json_schema(),
        "Share": TypeAdapter(Share).json_schema(),
        "Size": TypeAdapter(Size).json_schema(),
        "StatusSet": TypeAdapter(StatusSet).json_schema(),
        "TrustedProxy": TypeAdapter(TrustedProxy).json_schema(),
    }


def _named(part: JsonSchemaValue) -> JsonSchemaValue:
    """A reference to a quantity, or else the place as the loader takes it."""
    bare = {key: value for key, value in part.items() if key not in _NOTES}
    for name, quantity in _quantities().items():
        if bare == quantity:
            return {"$ref": f"#/$defs/{name}"}
    return _loose(part)


def _loose(part: JsonSchemaValue) -> JsonSchemaValue:
    """One place as the loader takes it: one value for a list, a variable for a number, a number for text."""
    if "$ref" in part:
        return {"$ref": part["$ref"]}
    notes = {"examples": part["examples"]} if "examples" in part else {}
    if "anyOf" in part:
        loose = [_named(form) for form in part["anyOf"]]
        flat = [form for one in loose for form in (one["anyOf"] if one.keys() == {"anyOf"} else [one])]
        return {"anyOf": [form for index, form in enumerate(flat) if form not in flat[:index]], **notes}
    if part.get("type") == "array":
        item = _named(part["items"])
        return {"anyOf": [{"type": "array", "items": item}, item, _NULL], **notes}
    if "patternProperties" in part:
        keys = {pattern: _named(value) for pattern, value in part["patternProperties"].items()}
        return {"anyOf": [{"type": "object", "patternProperties": keys, "additionalProperties": False}, _NULL]}
    if part.get("type") == "object":
        return {"anyOf": [{"type": "object", "additionalProperties": _named(part["additionalProperties"])}, _NULL]}
    bare = {key: value for key, value in part.items() if key not in (*_NOTES, "examples")}
    if part.get("type") == "null":
        return bare
    if bare == {"type": "string"}:
        return {"type": ["string", "number", "boolean"], **notes}
    return {"anyOf": [bare, {"$ref": "#/$defs/Variable"}], **notes}
