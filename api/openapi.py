"""The OpenAPI 3.1 document, from the operations and the very models that they validate and answer with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from api.operation import Operation, if_match
from api.problems import CONTENT_TYPE, ProblemDetails
from config.values import StatusSet

Mode = Literal["validation", "serialization"]
Json = dict[str, object]
Schemas = Callable[[type[BaseModel], Mode], Json]

REFS = "#/components/schemas/{model}"
ANYWHERE = {
    400: "The request can not be read, or it has something twice that decides, such as a key.",
    403: "From a web page of another site, or the key's role is too low.",
}
WITH_KEY = {
    401: "No key, or one that is not known or has expired.",
}
WITH_TRAIL = {507: "The change could not be noted in the audit trail, and so was not made."}
LIMITED = {429: "Too many requests or wrong keys; see Retry-After."}
WITH_PATH = {404: "No such pool or server."}
WITH_BODY = {
    408: "The body did not come in time.",
    413: "The body is larger than {limit}.",
    415: "Another Content-Type is needed.",
}
CONDITIONAL = {412: "The configuration is another one by now.", 428: "If-Match is needed."}
WITH_FIELDS = {422: "A field is not as expected; `errors` names each."}
ALWAYS = {421: "The Host is no name of this listener.", 500: "A fault of the balancer's own; the log has it."}


class _Generator(GenerateJsonSchema):
    """pydantic's, with defaults as they are written and not as our values hold them."""

    def encode_default(self, dft: object) -> object:
        return str(dft) if isinstance(dft, StatusSet) else super().encode_default(dft)


def document(operations: Iterable[Operation], version: str) -> Json:
    operations = tuple(operations)
    wanted: list[tuple[type[BaseModel], Mode]] = [(ProblemDetails, "serialization")]
    for operation in operations:
        wanted += [(operation.body, "validation")] if operation.body else []
        wanted += [(operation.answer, "serialization")] if operation.answer else []
    references, definitions = models_json_schema(
        list(dict.fromkeys(wanted)), ref_template=REFS, schema_generator=_Generator
    )

    def schema(model: type[BaseModel], mode: Mode) -> Json:
        return references[model, mode]

    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Balancer admin API",
            "version": version,
            "description": "Times are RFC 3339 in UTC, durations seconds, sizes bytes, ratios 0 to 1. "
            "What is not known is null. Errors are problem details (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": _with_seconds(definitions.get("$defs", {})),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-balancer",
                    "description": "Set by POST /api/session; without TLS, on loopback, its name is `balancer`.",
                },
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-CSRF-Token",
                    "description": "The token that POST and GET /api/session tell; every change in a session needs it.",
                },
            },
        },
    }


def _with_seconds(schema: object) -> object:
    """Durations as the API takes them: in a file a bare number other than 0 is none, here it is seconds."""
    if isinstance(schema, list):
        return [_with_seconds(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == {"type": "integer", "const": 0}:
        return {"type": "number", "minimum": 0}
    return {name: _with_seconds(part) for name, part in schema.items()}


def _operation(operation: Operation, schemas: Schemas) -> Json:
    summary, _, description = (operation.handle.__doc__ or "").partition("\n")
    described: Json = {
        "operationId": operation.name,
        "summary": summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation, schemas),
    }
    if description.strip():
        described["description"] = " ".join(description.split())
    in_session: Json = {"session": []} if operation.method == "GET" else {"session": [], "csrf": []}
    ways: list[Json] = [{"bearer": []}, {"key": []}, in_session]
    if isinstance(operation.role, str):
        described["security"] = ways
        described["x-role"] = operation.role
    else:
        described["security"] = [{}, *ways]
    if operation.takes_body:
        schema: Json | None = schemas(operation.body, "validation") if operation.body else None
        raw: dict[str, Json] = {
            name: {"type": "object"} if name.endswith("json") else {} for name in operation.body_types
        }
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {
                name: {"schema": schema or operation.body_schemas.get(name) or raw[name]}
                for name in operation.body_types
            },
        }
    return described


def _parameters(operation: Operation) -> list[Json]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    found: list[Json] = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    if operation.precondition is if_match:
        about = 'The ETag of the configuration that is to be changed, or "*".'
        header: Json = {"name": "If-Match", "in": "header", "required": True, "description": about}
        found.append({**header, "schema": {"type": "string"}})
    found += [{"name": name, "in": "header", "required": False, **about} for name, about in operation.headers.items()]
    if operation.query is not None:
        schema = operation.query.model_json_schema(ref_template=REFS)
        for name, property_ in schema["properties"].items():
            shown = {key: value for key, value in property_.items() if key != "description"}
            found.append(
                {
                    "name": name,
                    "in": "query",
                    "required": name in schema.get("required", ()),
                    "description": property_.get("description", ""),
                    "schema": shown,
                }
            )
    return found


def _responses(operation: Operation, schemas: Schemas) -> Json:
    responses: Json = {}
    for status, when in operation.statuses.items():
        response: Json = {"description": when}
        if status != 204:
            raw = {"type": "object" if operation.content_type == "application/json" else "string"}
            schema = schemas(operation.answer, "serialization") if operation.answer else raw
            others = {name: {"schema": {"type": "string"}} for name in operation.other_types}
            response["content"] = {operation.content_type: {"schema": schema}, **others}
        responses[str(status)] = response
    problem = {CONTENT_TYPE: {"schema": schemas(ProblemDetails, "serialization")}}
    for status, when in sorted(problems_of(operation).items()):
        responses[str(status)] = {"description": when, "content": problem}
    return responses


def problems_of(operation: Operation) -> dict[int, str]:
    """Every problem that the operation may answer with."""
    found = {**ANYWHERE, **ALWAYS}
    if not operation.unlimited:
        found |= LIMITED
    if operation.role is not None:
        found |= WITH_KEY
    if operation.method != "GET" and operation.trail == "both":
        found |= WITH_TRAIL
    if "{" in operation.path:
        found |= WITH_PATH
    if operation.takes_body:
        limit = operation.limit
        size = f"{limit // 1024} KiB" if isinstance(limit, int) else "is configured"
        found |= {status: text.format(limit=size) for status, text in WITH_BODY.items()}
    if operation.precondition is if_match:
        found |= CONDITIONAL
    return {**found, **WITH_FIELDS, **operation.problems}
