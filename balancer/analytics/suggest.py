"""Rules that shapes of traffic suggest: what a POST to /api/communities/*/posts probably means."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import yaml

from balancer.analytics import event as known
from balancer.events.shapes import ANY, Shape

LEAST: Final = 3
"""Requests of a shape that is spoken of."""
_MEANINGS: Final[tuple[tuple[str, str, str], ...]] = (
    ("POST", r"(users|accounts|members|signup|register|registrations?)", known.REGISTERED),
    ("POST", r".*(sessions?|login|signin|token)", known.LOGIN),
    ("POST", r".*(communities|groups|forums|boards|spaces|subreddits)", known.FOUNDED),
    ("POST", r".*\*/(members|memberships?|join|subscribe|subscriptions?|follow)", known.JOINED),
    ("DELETE", r".*\*/(members|memberships?|join|subscribe|subscriptions?|follow)(/\*)?", known.LEFT),
    ("POST", r".*\*/(comments?|replies|reply|answers?)", known.COMMENTED),
    ("POST", r".*(comments?|replies)", known.COMMENTED),
    ("POST", r".*\*/(reactions?|likes?|votes?|upvotes?|favou?rites?|stars?)", known.REACTED),
    ("PUT", r".*\*/(reactions?|likes?|votes?|upvotes?|favou?rites?|stars?)", known.REACTED),
    ("POST", r".*(reports?|flags?|complaints?)/\*/(resolve|close|decide|decision|resolution)", known.RESOLVED),
    ("POST", r".*(reports?|flags?|complaints?)", known.REPORTED),
    ("POST", r".*(posts?|topics?|threads?|articles?|questions?|submissions?|entries)", known.POSTED),
    ("DELETE", r".*(posts?|topics?|threads?|articles?|questions?)/\*", known.POST_DELETED),
    ("DELETE", r".*(comments?|replies)/\*", known.COMMENT_DELETED),
    ("DELETE", r"(users|accounts)/\*", known.USER_DELETED),
    ("GET", r"(posts?|topics?|threads?|articles?|questions?)/\*", known.VIEWED),
    ("GET", r"search", known.SEARCHED),
)
_NAMES: Final = {
    "community": r"communities|groups|forums|boards|spaces|subreddits",
    "post": r"posts?|topics?|threads?|articles?|questions?",
    "comment": r"comments?|replies",
    "report": r"reports?|flags?|complaints?",
}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rule that might be written."""

    event: str
    method: str
    path: str
    """With names for what stands for a thing."""
    count: int
    why: str
    rule: str
    """YAML, for below `analytics.events`."""


def suggestions(shapes: Iterable[Shape], made: Collection[tuple[str, str]]) -> list[Suggestion]:
    """For shapes that no rule is about; `made` are (method, path with * for names) of the rules there are."""
    found: list[Suggestion] = []
    taken: set[str] = set()
    for shape in shapes:
        if shape.count < LEAST or (shape.method, shape.path) in made:
            continue
        event = _event(shape)
        if event is None:
            continue
        path = _named(shape.path)
        name = event if event not in taken else f"{event}_{len(taken)}"
        taken.add(name)
        match = {"method": shape.method, "path": path}
        rule: dict[str, object] = {"match": match}
        thing = {known.POSTED: "post", known.REPORTED: "report"}.get(event)
        if thing is not None and shape.with_location and f"{{{thing}}}" not in path:
            rule["take"] = {thing: f"location:/{thing}s/{{{thing}}}"}
        text = yaml.safe_dump({name: rule}, sort_keys=False, default_flow_style=None, width=200).rstrip()
        verb = {"GET": "reads of", "DELETE": "DELETEs of"}.get(shape.method, f"{shape.method}s on")
        why = f"{shape.count} successful {verb} {shape.path}"
        found.append(Suggestion(name, shape.method, path, shape.count, why, text))
    return found


def _event(shape: Shape) -> str | None:
    path = re.sub(r"^/(api/)?(v[0-9]+/)?", "", shape.path)
    for method, pattern, event in _MEANINGS:
        if shape.method == method and re.fullmatch(pattern, path):
            return event
    if shape.method == "GET":
        return None
    words = [word for word in path.split("/") if word != ANY]
    name = re.sub(r"[^a-z0-9]+", "_", "_".join(words[-2:]).lower()).strip("_")
    return f"{name}_{shape.method.lower()}" if name and name[0].isalpha() else None


def _named(path: str) -> str:
    """With names in the place of stars, by the word before."""
    segments = path.split("/")
    used: set[str] = set()
    for number, segment in enumerate(segments):
        if segment == ANY:
            before = segments[number - 1] if number else ""
            name = next((name for name, words in _NAMES.items() if re.fullmatch(words, before)), "id")
            while name in used:
                name += "2"
            used.add(name)
            segments[number] = f"{{{name}}}"
    return "/".join(segments)
