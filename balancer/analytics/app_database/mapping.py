"""What the app calls its tables and columns, checked against its catalogue, and the views that queries see instead.

Each query begins with what it needs of `users`, `posts` and so on as common table expressions, so that its text is the
same for every app. NOT MATERIALIZED: PostgreSQL plans through them, indexes included. Names are quoted and come from a
checked configuration only; values are parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from config.analytics import (
    Comments,
    Communities,
    Entity,
    Memberships,
    ModerationActions,
    Posts,
    Reactions,
    UserReports,
    Users,
)
from config.analytics import Mapping as Settings
from config.problems import listed

Family = Literal["time", "number", "text", "bool", "other"]
Catalogue = Mapping[tuple[str, str], Mapping[str, str]]
"""(schema, table) to column to its type."""

_MODELS: Final[Mapping[str, type[Entity]]] = {
    "users": Users,
    "communities": Communities,
    "memberships": Memberships,
    "posts": Posts,
    "comments": Comments,
    "reactions": Reactions,
    "reports": UserReports,
    "moderation_actions": ModerationActions,
}
ENTITIES: Final = tuple(_MODELS)
TIMES: Final = frozenset(
    ("created_at", "last_seen_at", "deleted_at", "suspended_until", "joined_at", "left_at", "removed_at", "resolved_at")
)
BOOLS: Final = frozenset(("is_bot", "automated"))
NUMBERS: Final = frozenset(("trust_level",))
TEXTS: Final = frozenset(("role", "action", "status", "reason", "target_type", "visibility", "slug", "name", "title"))
OPTIONAL: Final[Mapping[str, frozenset[str]]] = {
    "users": frozenset(("name", "last_seen_at", "deleted_at", "suspended_until", "role", "trust_level", "is_bot")),
    "communities": frozenset(("slug", "name", "visibility", "deleted_at")),
    "memberships": frozenset(("left_at",)),
    "posts": frozenset(("community_id", "title", "deleted_at", "removed_at")),
    "comments": frozenset(("deleted_at",)),
    "reactions": frozenset(("target_type", "target_id")),
    "reports": frozenset(
        ("reporter_id", "target_type", "target_user_id", "community_id", "reason", "status", "resolved_at")
    ),
    "moderation_actions": frozenset(("moderator_id", "community_id", "report_id", "automated")),
}
_FAMILIES: Final[Mapping[str, Family]] = {
    **dict.fromkeys(("timestamp with time zone", "timestamp without time zone", "date"), "time"),
    **dict.fromkeys(("smallint", "integer", "bigint", "numeric", "real", "double precision"), "number"),
    **dict.fromkeys(("text", "character varying", "character", "USER-DEFINED", "name"), "text"),
    "boolean": "bool",
}
_NULLS: Final = {"time": "NULL::timestamptz", "bool": "false", "number": "NULL::bigint", "text": "NULL::text"}
_IDS: Final[Mapping[str, Mapping[str, str]]] = {
    "users": {"id": "users"},
    "communities": {"id": "communities"},
    "memberships": {"community_id": "communities", "user_id": "users"},
    "posts": {"id": "posts", "community_id": "communities", "author_id": "users"},
    "comments": {"id": "comments", "post_id": "posts", "author_id": "users"},
    "reactions": {"user_id": "users", "target_id": "posts"},
    "reports": {"id": "reports", "reporter_id": "users", "target_user_id": "users", "community_id": "communities"},
    "moderation_actions": {
        "id": "moderation_actions",
        "moderator_id": "users",
        "community_id": "communities",
        "report_id": "reports",
    },
}
"""Whose id a column has."""
_OF_IDS: Final = ("smallint", "integer", "bigint", "numeric", "uuid", "text", "character varying")
"""Types that a NULL in the place of an id may have."""
UNMAPPED: Final = "{entity} are not mapped"
ABSENT: Final = "{entity}.{column} is not mapped, or the app has no such column"


@dataclass(frozen=True, slots=True)
class Part:
    """One entity as it is in this app."""

    table: str
    """Quoted; empty where there is none."""
    columns: Mapping[str, str]
    """Logical name to an expression of SQL; those that the app does not have are in `absent`."""
    absent: frozenset[str] = frozenset()
    values: tuple[tuple[str, object], ...] = ()
    """Quoted column and what it must be."""
    words: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """(logical column, what reports call a value, what the app calls it)."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The app's schema as reports see it."""

    parts: Mapping[str, Part]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Entities that there are not, each with the reason."""
    unmapped: frozenset[str] = frozenset()
    """Of those that are missing: what the configuration says that the app has not."""
    empty: Mapping[str, Part] = field(default_factory=dict)
    """What queries see of those that are missing: their columns, and no rows."""
    problems: Sequence[str] = ()
    """Sentences for the operator."""

    def views(self, entities: Sequence[str], values: list[object]) -> str:
        """WITH clauses without the WITH; parameters are appended to `values`."""
        parts = {**self.empty, **self.parts}
        return ",\n".join(f"{name} AS NOT MATERIALIZED ({_view(parts[name], values)})" for name in entities)

    def lacks(self, need: str) -> str | None:
        """Why there is no such entity, or no such `entity.column`; None: there is."""
        entity, _, column = need.partition(".")
        if entity in self.missing:
            return self.missing[entity]
        return ABSENT.format(entity=entity, column=column) if column in self.parts[entity].absent else None


def checked(settings: Settings, tables_in: str, time_zone: str, catalogue: Catalogue) -> Schema:
    """The mapping held against what there is."""
    parts: dict[str, Part] = {}
    missing: dict[str, str] = {}
    unmapped: set[str] = set()
    problems: list[str] = []
    nulls = _nulls_of_ids(settings, tables_in, catalogue)
    for name in ENTITIES:
        entity: Entity | None = getattr(settings, name)
        if entity is None:
            missing[name] = UNMAPPED.format(entity=name)
            unmapped.add(name)
            continue
        faults: list[str] = []
        part = _part(name, entity, tables_in, time_zone, catalogue, faults, nulls)
        problems += faults
        if part is None:
            missing[name] = faults[0]
        else:
            parts[name] = part
    empty = {
        name: Part("", {column: _null(name, column, nulls) for column in columns_of(_MODELS[name])}) for name in missing
    }
    return Schema(parts, missing, frozenset(unmapped), empty, problems)


def columns_of(entity: type[Entity]) -> Sequence[str]:
    """Its logical ones."""
    return [name for name in entity.model_fields if name not in ("table", "where", "status_values", "action_values")]


def _place(entity: Entity, tables_in: str) -> tuple[str, str]:
    schema, _, table = entity.table.rpartition(".")
    return schema or tables_in, table


def _nulls_of_ids(settings: Settings, tables_in: str, catalogue: Catalogue) -> Mapping[str, str]:
    """By whose ids they are, NULLs of the type that the app's have: queries compare ids of one table with another's."""
    kinds: dict[str, str] = {}
    for own in (True, False):  # what a table calls its own id first
        for name, ids in _IDS.items():
            entity: Entity | None = getattr(settings, name)
            if entity is None:
                continue
            there = catalogue.get(_place(entity, tables_in), {})
            for logical, of in ids.items():
                kind = there.get(getattr(entity, logical) or "") if (logical == "id") is own else None
                if kind in _OF_IDS:
                    kinds.setdefault(of, kind)
    return {of: f"NULL::{kind}" for of, kind in kinds.items()}


def _null(entity: str, logical: str, nulls: Mapping[str, str]) -> str:
    of = _IDS[entity].get(logical)
    return _NULLS[_wanted(logical) or "text"] if of is None else nulls.get(of, "NULL::text")


def _part(
    name: str,
    entity: Entity,
    tables_in: str,
    time_zone: str,
    catalogue: Catalogue,
    faults: list[str],
    nulls: Mapping[str, str],
) -> Part | None:
    place = _place(entity, tables_in)
    there = catalogue.get(place)
    shown = ".".join(place)
    if there is None:
        known = sorted(f"{s}.{t}" for s, t in catalogue if s == place[0])[:20]
        hint = (
            f"there is {listed(known, 'and')}" if known else f"the schema {place[0]} has none that this role may read"
        )
        faults.append(
            f"analytics.database.mapping.{name}.table: there is no table {shown}; {hint}; null if the app has none"
        )
        return None
    columns: dict[str, str] = {}
    absent: set[str] = set()
    usable = True
    for logical in columns_of(type(entity)):
        column: str | None = getattr(entity, logical)
        optional = logical in OPTIONAL[name]
        setting = f"analytics.database.mapping.{name}.{logical}"
        if column is not None and column not in there:
            written = logical in entity.model_fields_set
            if not optional or written:
                known_columns = listed(sorted(there)[:30], "and")
                faults.append(f"{setting}: {shown} has no column {column}; there is {known_columns}")
            usable = usable and optional
            column = None
        if column is None:
            absent.add(logical)
            columns[logical] = _null(name, logical, nulls)
            continue
        family = _FAMILIES.get(there[column], "other")
        wanted = _wanted(logical)
        if not _fits(wanted, family):
            faults.append(f"{setting}: {shown}.{column} must be a {_SAID[wanted or 'text']}, and is {there[column]}")
            usable = usable and optional
            absent.add(logical)
            columns[logical] = _null(name, logical, nulls)
            continue
        columns[logical] = _expression(_quoted(column), wanted, there[column], time_zone)
    for column in entity.where:
        if column not in there:
            faults.append(f"analytics.database.mapping.{name}.where: {shown} has no column {column}")
            usable = False
    if not usable:
        return None
    words: list[tuple[str, str, tuple[str, ...]]] = []
    if isinstance(entity, UserReports):
        words = [("status", said, called) for said, called in entity.status_values.items()]
    elif isinstance(entity, ModerationActions):
        words = [("action", said, called) for said, called in entity.action_values.items()]
    return Part(
        ".".join(map(_quoted, place)),
        columns,
        frozenset(absent),
        tuple((f"{_quoted(column)}::text", _text(value)) for column, value in entity.where.items()),
        tuple(words),
    )


_SAID: Final = {"time": "time", "bool": "boolean", "number": "number", "text": "text"}


def _wanted(logical: str) -> Family | None:
    """None: any, as of ids."""
    if logical in TIMES:
        return "time"
    if logical in BOOLS:
        return "bool"
    if logical in NUMBERS:
        return "number"
    return "text" if logical in TEXTS else None


def _fits(wanted: Family | None, family: Family) -> bool:
    if wanted is None or wanted == family or wanted == "text":  # everything can be told as text
        return True
    return family == "number"  # seconds since 1970, and 0 and 1


def _expression(quoted: str, wanted: Family | None, kind: str, time_zone: str) -> str:
    if wanted == "time":
        if _FAMILIES.get(kind) == "number":
            return f"to_timestamp({quoted}::double precision)"
        if kind != "timestamp with time zone":
            return f"({quoted}::timestamp AT TIME ZONE {_literal(time_zone)})"
        return quoted
    if wanted == "bool":
        return f"coalesce({quoted}::int::boolean, false)" if kind != "boolean" else f"coalesce({quoted}, false)"
    if wanted == "text":
        return f"{quoted}::text"
    return quoted


def _view(part: Part, values: list[object]) -> str:
    expressions = dict(part.columns)
    for logical in {word[0] for word in part.words}:
        if logical in part.absent:
            continue
        cases = []
        for column, said, called in part.words:
            if column == logical:
                values.append(list(called))
                cases.append(f"WHEN {expressions[logical]} = ANY(${len(values)}::text[]) THEN {_literal(said)}")
        expressions[logical] = f"CASE {' '.join(cases)} ELSE {expressions[logical]} END"
    if not part.table:
        return f"SELECT {', '.join(f'{null} AS {logical}' for logical, null in expressions.items())} WHERE false"
    selected = ", ".join(f"{expression} AS {logical}" for logical, expression in expressions.items())
    where = []
    for column, value in part.values:
        values.append(value)
        where.append(f"{column} = ${len(values)}::text")
    return f"SELECT {selected} FROM {part.table}" + (f" WHERE {' AND '.join(where)}" if where else "")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
