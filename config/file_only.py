"""What only the file may say: whoever holds a key to the admin API must not come by the machine through it.

The one place where that is decided. Text is the kind of value that can name a file, a program or a place, so the API
may say only the text settings that `SAYABLE` lists; numbers, switches and choices it may say wherever they are not
below a key of `FILE_ONLY`. A text setting in neither list is refused, and a test asks for a decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from config.document import document, leaves
from config.error_page import PageFile
from config.findings import Findings
from config.patch import same
from config.patterns import PLUGIN
from config.problems import ConfigError, Path, Problem
from config.schema import Config
from config.values import Address

FILE_ONLY: Mapping[str, str] = {
    "admin": "it says who may use this API, and where",
    "alerts": "it says who is told what, by addresses that are secrets",
    "analytics": "it says what is kept of people, and names files and databases",
    "auth.*.jwt.ca": "it names a file",
    "auth.*.jwt.jwks": "it says whose keys are believed",
    "auth.*.jwt.public_key": "it says whose signature is believed",
    "auth.*.jwt.secret": "it says whose signature is believed",
    "cdn": "it names folders, accounts, and who gets files and purges",
    "databases": "it says who is asked, with which password, and names files",
    "errors.page": "it names a file",
    "listeners.*.tls.certificates": "it names files",
    "listeners.*.tls.client_ca": "it names a file",
    "logs.access.to": "it names a file",
    "metrics.listen": "it opens figures to whoever reaches a port, without a key",
    "metrics.open": "it opens figures to whoever reaches the port, without a key",
    "pools.*.tls.ca": "it names a file",
    "pools.*.tls.certificate": "it names files",
    "require_cdn.secret": "it says who is believed to be the CDN",
    "redis.tls": "it names files, and says who is believed to be the server",
    "redis.url": "it says who gets what is cached, and the password",
}
"""Settings, and everything below them, with the reason."""

SAYABLE = frozenset(
    {
        "auth.*.api_keys.header",
        "auth.*.api_keys.keys.*.expires",
        "auth.*.api_keys.keys.*.hash",
        "auth.*.basic.realm",
        "auth.*.basic.users.*",
        "auth.*.forward.copy_headers.*",
        "auth.*.forward.path",
        "auth.*.forward.pool",
        "auth.*.forward.subject",
        "auth.*.jwt.audience.*",
        "auth.*.jwt.claims_to.*",
        "auth.*.jwt.issuer",
        "auth.*.jwt.realm",
        "auth.*.jwt.require.*.*",
        "auth.*.jwt.subject",
        "auth.*.jwt.token",
        "auth.*.subject_to",
        "cache.rules.*.bypass.cookies.*",
        "cache.rules.*.bypass.headers.*",
        "cache.rules.*.ignore_query.*",
        "cache.rules.*.key.cookies.*",
        "cache.rules.*.key.headers.*",
        "cache.tags.*",
        "compress.types.*",
        "listeners.*.address",  # but no socket: see `_named_by_the_file`
        "listeners.*.redirect",
        "listeners.*.tls.client_subject",
        "logs.access.redact.*",
        "require_cdn.header",
        "metrics.path",
        "pools.*.hash.key",
        "pools.*.headers.request.add.*",
        "pools.*.headers.request.remove.*",
        "pools.*.headers.request.set.*",
        "pools.*.headers.request_id",
        "pools.*.headers.response.add.*",
        "pools.*.headers.response.remove.*",
        "pools.*.headers.response.set.*",
        "pools.*.headers.via",
        "pools.*.health.active.body",
        "pools.*.health.active.headers.*",
        "pools.*.health.active.method",
        "pools.*.health.active.path",
        "pools.*.retries.methods.*",
        "pools.*.servers.*.url",  # but no socket
        "pools.*.sticky.cookie",
        "pools.*.strategy",  # but no program
        "pools.*.tls.server_name",
        "rate_limits.*.key.*",
        "redis.prefix",
        "refuse_scanners.allow.*",
        "refuse_scanners.also.*",
        "routes.*.auth.*",
        "routes.*.cache",
        "routes.*.compress.types.*",
        "routes.*.headers.request.add.*",
        "routes.*.headers.request.remove.*",
        "routes.*.headers.request.set.*",
        "routes.*.headers.request_id",
        "routes.*.headers.response.add.*",
        "routes.*.headers.response.remove.*",
        "routes.*.headers.response.set.*",
        "routes.*.headers.via",
        "routes.*.maintenance.body",
        "routes.*.maintenance.content_type",
        "routes.*.match.headers.*",
        "routes.*.match.host.*",
        "routes.*.match.methods.*",
        "routes.*.match.path",
        "routes.*.methods.*",
        "routes.*.pool",
        "routes.*.rate_limit.*.policy",
        "routes.*.redirect.to",
        "routes.*.refuse_scanners.allow.*",
        "routes.*.refuse_scanners.also.*",
        "routes.*.request_body.types.*",
        "routes.*.respond.body",
        "routes.*.respond.content_type",
        "routes.*.respond.headers.*",
        "routes.*.retries.methods.*",
        "routes.*.rewrite.add_prefix",
        "routes.*.rewrite.path",
        "routes.*.rewrite.strip_prefix",
        "routes.*.security_headers.content_security_policy",
        "routes.*.security_headers.content_type_options",
        "routes.*.security_headers.cross_origin_opener_policy",
        "routes.*.security_headers.frame_options",
        "routes.*.security_headers.hsts",
        "routes.*.security_headers.permissions_policy",
        "routes.*.security_headers.referrer_policy",
        "routes.*.sticky.cookie",
        "routes.*.upgrades.*",
        "security_headers.content_security_policy",
        "security_headers.content_type_options",
        "security_headers.cross_origin_opener_policy",
        "security_headers.frame_options",
        "security_headers.hsts",
        "security_headers.permissions_policy",
        "security_headers.referrer_policy",
    }
)
"""Text settings that name nothing on the machine, and are looked at in this light."""

_TEXTS = (str, PageFile, Address)
_NAMED = ("auth", "pools", "routes", "listeners")
"""Groups whose members may come and go as a whole, with what the file says in them."""


class FileOnly(ConfigError):
    """A change that says what only the file may say; nothing else of it has been looked at."""


def permit(file: Config, config: Config, found: Findings) -> None:
    """Raise FileOnly unless each setting of `config` is one that may be said, or is as the file has it.

    Judged by what would be in force and not by how it was written, so that no short form gets around it.
    """
    before, after = _values(file), _values(config)
    problems = []
    for path in dict.fromkeys((*after, *before)):
        if same(before.get(path), after.get(path)) or _left(path, config):
            continue
        if reason := _reason(path, after.get(path), before, config):
            problems.append(Problem.at(found.place(path), f"can only be said by the file: {reason}"))
    if problems:
        raise FileOnly(problems)


def _values(config: Config) -> dict[Path, object]:
    return dict(leaves(document(config, mask=False)))


def _left(path: Path, config: Config) -> bool:
    """Whether the listener, pool or route that it belonged to has gone."""
    return path[0] in _NAMED and len(path) > 1 and path[1] not in getattr(config, str(path[0]))


def _reason(path: Path, value: object, before: Mapping[Path, object], config: Config) -> str | None:
    beginnings = _patterns(path)
    for beginning in reversed(beginnings):
        if reason := FILE_ONLY.get(beginning):
            return None if path not in before and _is_default(path, value) else reason
    setting = beginnings[-1]
    if setting in SAYABLE:
        return _named_by_the_file(setting, value, before.values())
    if (setting in texts() or f"{setting}.*" in texts()) and not _is_default(path, value):
        return None if f"{setting}.*" in SAYABLE else "it is text that has not been looked at in this light"
    return None


def _is_default(path: Path, value: object) -> bool:
    """Whether a listener, pool or route that is new has what it would have anyway."""
    return (path[0] in _NAMED and value in (None, [], {})) or same(value, _defaults().get(pattern(path)))


@cache
def _defaults() -> Mapping[str, object]:
    """What settings of a bare configuration are, by pattern."""
    bare = Config.model_validate(
        {"listeners": {"*": {"address": ":1"}}, "pools": {"*": {"servers": {}}}, "routes": {"*": {"pool": "*"}}}
    )
    return {pattern(path): value for path, value in leaves(document(bare, mask=False))}


def _named_by_the_file(setting: str, value: object, known: Collection[object]) -> str | None:
    """Text that may be said, unless it names a socket or a program that the file does not name."""
    if not isinstance(value, str) or value in known:
        return None
    if setting in ("pools.*.servers.*.url", "listeners.*.address") and value.lower().startswith("unix:"):
        return "it names a socket that the file does not name"
    if setting == "pools.*.strategy" and PLUGIN.fullmatch(value):
        return "it names a program that the file does not name"
    return None


def pattern(path: Path) -> str:
    """`("pools", "app", "servers", "a", "url")` as `pools.*.servers.*.url`."""
    return _patterns(path)[-1] if path else ""


def _patterns(path: Path) -> list[str]:
    """The patterns of all its beginnings, the shortest first."""
    found: list[str] = []
    annotation: object = Config
    for piece in path:
        name = "*"
        if annotation is Config and piece == "defaults":
            name = "defaults"
        else:
            _, model, inner = _shape(annotation)
            if model is not None and isinstance(piece, str):
                name, field = piece, model.model_fields.get(piece)
                annotation = field.annotation if field is not None else None
            else:
                annotation = inner
        found.append(f"{found[-1]}.{name}" if found else name)
    return found


def _shape(annotation: object) -> tuple[object, type[BaseModel] | None, object]:
    """The annotation, its model if it allows one, and what its members are if it allows many.

    Remembered, as there are few and each setting of each route asks for several; by identity, as not all can be hashed.
    """
    known = _shapes.get(id(annotation))
    if known is None:
        kinds = list(_kinds(annotation))
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        args = next((get_args(kind) for kind in kinds if get_origin(kind) in (dict, tuple, frozenset)), (None,))
        inner = args[1] if len(args) > 1 and args[1] is not ... else args[0]
        known = _shapes[id(annotation)] = annotation, model, inner
    return known


_shapes: dict[int, tuple[object, type[BaseModel] | None, object]] = {}


@cache
def texts() -> frozenset[str]:
    """Every setting of the schema that is free text, as a pattern."""
    return frozenset(found for found, kind in _walk(Config, "") if kind in _TEXTS)


def _walk(annotation: object, at: str) -> Iterator[tuple[str, object]]:
    for kind in _kinds(annotation):
        origin, args = get_origin(kind), get_args(kind)
        if origin is dict:
            yield from _walk(args[1], f"{at}.*")
        elif origin in (tuple, frozenset):
            yield from _walk(args[0], f"{at}.*")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                yield from _walk(field.annotation, f"{at}.{name}" if at else name)
        else:
            yield at, kind


def _kinds(annotation: object) -> Iterable[object]:
    """The kinds of values that an annotation allows, without null and choices."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return [kind for one in get_args(annotation) if one is not NoneType for kind in _kinds(one)]
    return [] if get_origin(annotation) is Literal else [annotation]
