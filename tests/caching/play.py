"""Plays a case, and says what did not come out as it has to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic, sleep
from typing import Any, Final

from tests.caching.case import ANY, Case, Step
from tests.caching.client import Client, Seen
from tests.caching.lab import Lab
from tests.caching.server import Answer, Asked, Place, dated

EVENTUALLY: Final = 5.0
BODILESS: Final = (204, 304)


def play(case: Case, lab: Lab, clients: Sequence[Client] = (), settle: Callable[[], None] | None = None) -> list[str]:
    """What is wrong, each in a few words with the number of its step; none: the rule holds.

    With several `clients` they take turns. `settle` waits after a step until all that it does has been done.
    """
    place = lab.place(case.id)
    clients = clients or (lab.client(case.site),)
    wrong: list[str] = []
    current = 0
    for number, step in enumerate(case.steps, 1):
        client = clients[(number - 1) % len(clients)]
        current, faults = _play(case, step, place, client, lab, current, told=len(clients) == 1)
        if settle is not None:
            settle()
        wrong += [f"step {number}: {fault}" for fault in faults]
        if faults:
            break  # what follows follows from it
    if len(clients) == 1:
        lab.site(case.site)  # it still runs
    return wrong


def _play(
    case: Case, step: Step, place: Place, client: Client, lab: Lab, current: int, *, told: bool
) -> tuple[int, list[str]]:
    """`told`: whether what Cache-Status says is looked at."""
    path = f"{case.prefix}/{place.name}{step.tail}"
    before = len(place.asked)
    place.answers.clear()
    place.plan(*(_at(answer, f"{case.prefix}/{place.name}") for answer in step.answers))
    if step.away:
        lab.server.stop()
    try:
        end = monotonic() + EVENTUALLY
        while True:
            lines = [line.replace("{path}", path) for line in step.lines]
            client.send(
                step.target.replace("{path}", path),
                *(dated(line) for line in lines),
                method=step.method,
                host=step.host,
                body=step.body,
                version=step.version,
            )
            seen = client.answer(step.method)
            current, faults = _judge(
                step if told else replace(step, hit=None, cache=None), seen, place, before, current
            )
            if not faults or not step.eventually or monotonic() > end:
                return current, faults
            sleep(0.02)
    finally:
        if step.away:
            lab.server.start()


def _at(answer: Answer, path: str) -> Answer:
    return replace(answer, lines=tuple(line.replace("{path}", path) for line in answer.lines))


def _judge(step: Step, seen: Seen, place: Place, before: int, current: int) -> tuple[int, list[str]]:
    wrong: list[str] = []
    wanted = len(step.answers) if step.reaches is None else step.reaches
    place.wait(before + max(wanted, 0), 3.0 if not step.eventually else 0.1)
    with place.changed:
        arrived = place.asked[before:]
    for offset, answer in enumerate(step.answers[: len(arrived)]):
        if answer.status not in BODILESS and not answer.silent:
            current = before + offset + 1
    if len(arrived) != wanted and wanted != ANY:
        shown = "; ".join(f"{a.method} {a.target} {_notable(a)}" for a in arrived)
        wrong.append(f"the server got {len(arrived)} requests, not {wanted} [{shown}]")
    elif arrived and wanted != ANY:
        wrong += _compare(step.asked, arrived[-1], "the server got")
        method = step.arrives_as or step.method
        if arrived[-1].method != method:
            wrong.append(f"the server got a {arrived[-1].method}, not a {method}")
    if not seen.whole:
        wrong.append(f"the client got no whole answer: {seen.status}, {seen.body[:60]!r}, {seen.fault}")
        return current, wrong
    if seen.version != "1.1":
        wrong.append(f"the client got an answer of HTTP/{seen.version}")
    if seen.status != step.status:
        wrong.append(f"the client got {seen.status} with {seen.body[:80]!r}, not {step.status}")
    else:
        wrong += _compare_body(step, seen, place, current)
    wrong += _compare(step.has, seen, "the client got")
    age = seen.age
    if step.age is not None and (age is None or not step.age[0] <= age <= step.age[1]):
        wrong.append(f"the client got Age: {age}, not {step.age[0]} to {step.age[1]}")
    if step.hit and (age is None or age < 0):
        wrong.append(f"the client got Age: {seen.values('age')}, and it was a hit")
    wrong += _compare_cache(step, seen, place)
    return current, wrong


def _notable(asked: Asked) -> str:
    return ", ".join(f"{name}: {value}" for name, value in asked.fields if name.startswith(("if-", "cache", "range")))


def _compare_body(step: Step, seen: Seen, place: Place, current: int) -> list[str]:
    if step.gets is not None:
        expected = step.gets
    elif step.method == "HEAD" or step.status in BODILESS:
        expected = b""
    elif step.page:
        return []
    else:
        expected = place.body_of(step.of or current)
    if seen.body != expected:
        return [f"the client got the body {seen.body[:80]!r}, not {expected[:80]!r}"]
    return []


def _compare(wanted: tuple[str, ...], message: Asked | Seen, who: str) -> list[str]:
    wrong: list[str] = []
    for line in wanted:
        name, colon, value = line.partition(":")
        values = message.values(name.lstrip("!"))
        if name.startswith("!"):
            if values and not colon:
                wrong.append(f"{who} {name[1:]}: {values}")
            elif colon and value.strip() in values:
                wrong.append(f"{who} {line[1:]}")
        elif not colon and not values:
            wrong.append(f"{who} no {name}")
        elif colon and value.strip() not in values:
            wrong.append(f"{who} {name}: {values}, not {value.strip()}")
    return wrong


def _compare_cache(step: Step, seen: Seen, place: Place) -> list[str]:
    cache = seen.cache
    if step.hit is None and step.cache is None:
        return []
    if cache is None:
        needed = step.method in ("GET", "HEAD") or step.cache is not None
        return ["the client got no Cache-Status"] if needed else []
    wrong: list[str] = []
    if step.hit is True and (cache.get("hit") is not True or "fwd" in cache):
        wrong.append(f"Cache-Status says {_plain(cache)}, and it was a hit")
    if step.hit is False and (cache.get("hit", False) is not False or "fwd" not in cache):
        wrong.append(f"Cache-Status says {_plain(cache)}, and it was no hit")
    for name, value in (step.cache or {}).items():
        got = cache.get(name)
        value = value.replace("{path}", f"/{place.name}") if isinstance(value, str) else value
        got = str(got) if got is not None and not isinstance(got, bool | int) else got
        right = value[0] <= got <= value[1] if isinstance(value, tuple) and isinstance(got, int) else got == value
        if not right:
            wrong.append(f"Cache-Status says {_plain(cache)}, not {name}={value}")
    return wrong


def _plain(cache: dict[str, Any]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cache.items()) or "nothing"
