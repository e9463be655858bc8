"""`balancer purge` and `balancer cache`: what is taken out of the cache, and what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from balancer.commands import figures
from balancer.commands.client import Client
from balancer.commands.console import Console, counted, printable
from balancer.commands.document import Part
from balancer.commands.outcome import ERROR, OK, USAGE, Failure
from balancer.commands.table import Column, Line, Span, rendered, table

CACHE = ("api", "infrastructure", "cache")
KEYS = (
    Column("url"),
    Column("hits", right=True),
    Column("ttl", right=True),
    Column("age", right=True),
    Column("size", right=True),
    Column("variants", right=True),
    Column("status", right=True),
)
TAGS = (Column("tag"), Column("answers", right=True))


def purge(console: Console, client: Client, wanted: Mapping[str, Sequence[str] | bool], as_json: bool) -> int:
    """Purge, and tell what came of it on each level. `wanted` is as the API has it: urls, tags, soft and so on."""
    body = {name: value for name, value in wanted.items() if value}
    if not body.keys() - {"soft"}:
        raise Failure(USAGE, "nothing to purge: expected a URL such as /posts/1, or one of the options for others")
    urls = wanted.get("urls")
    for url in urls if isinstance(urls, Sequence) else ():
        if "*" in url:
            raise Failure(USAGE, f"{url!r} would be one URL with a star in it: for all that are like it, use --pattern")
    prefixes = wanted.get("prefixes")
    for prefix in prefixes if isinstance(prefixes, Sequence) else ():
        if "*" in prefix:
            raise Failure(USAGE, f"{prefix!r} has a star in it: prefixes are taken as they are; use --pattern")
    receipt = client.post(*CACHE, "purge", body=body, also=(503,))
    if as_json:
        console.out(json.dumps(receipt.fields, indent=2))
    else:
        for item in receipt.items("items"):
            console.out(_item(item))
    if receipt.flag("ok"):
        return OK
    failed = [f"{level.text('level')}: {level.text('reason') or 'no reason is told'}" for level in _failed(receipt)]
    raise Failure(ERROR, f"not everything is purged everywhere ({'; '.join(failed)}); it does no harm to try again")


def _failed(receipt: Part) -> Iterator[Part]:
    return (level for level in receipt.items("levels") if not level.flag("ok"))


def _item(item: Part) -> str:
    kind, value = item.text("kind") or "?", item.text("value")
    now = "stale" if item.flag("soft") else "gone"
    told = []
    for level in item.items("levels"):
        name = level.text("level") or "?"
        entries = level.number("entries")
        if not level.flag("ok"):
            told.append(f"{name} has not taken it: {level.text('reason') or 'no reason is told'}")
        elif entries is None:
            told.append(f"{name} has taken it")
        else:
            told.append(f"{counted(int(entries), 'answer')} {now} in {name}")
    return f"{kind} {value}: {', '.join(told)}" if value else f"{kind}: {', '.join(told)}"


def stats(console: Console, client: Client, as_json: bool, top: int) -> int:
    found = client.get(*CACHE, "stats", query=f"top={top}")
    if as_json:
        console.out(json.dumps(found.fields, indent=2))
        return OK
    size = console.size
    width = size[0] if size else None
    console.out("\n".join(rendered(line, width, console.colours) for line in page(found, width)))
    return OK


def page(found: Part, width: int | None) -> Iterator[Line]:
    """All of it, line by line; `width` is the terminal's, None for as wide as it takes."""
    if not found.flag("enabled"):
        yield [Span("no route is cached: `cache: true` in balancer.yaml caches all of them")]
        return
    ratio = found.part("hit_ratio")
    yield [
        Span("cache", "bold"),
        Span(f"   {counted(found.count('entries'), 'answer')}"),
        Span(f"   {figures.size(found.number('bytes'))} of {figures.size(found.number('limit'))}"),
        Span(f"   evicted {figures.count(found.number('evicted'))}"),
    ]
    yield [
        Span(f"hit ratio   {figures.share(ratio.number('now'))} now"),
        Span(f"   {figures.share(ratio.number('five_minutes'))} in 5 min"),
        Span(f"   {figures.share(ratio.number('hour'))} in 1 h"),
        Span(f"   {figures.share(ratio.number('since_start'))} since the start"),
    ]
    yield from _counts("requests", found.part("requests"))
    yield [
        Span(f"fills   {figures.count(found.number('fills'))}   {found.count('fills_under_way')} under way"),
        Span(f"   {found.count('waiting')} waiting   {figures.count(found.number('collapsed'))} collapsed"),
    ]
    yield from _counts("not stored", found.part("not_stored"))
    yield from _counts("purges", found.part("purges"))
    yield from _redis(found.part("redis"))
    yield from _listed(KEYS, [_key(key) for key in found.items("top_keys")], width)
    yield from _listed(TAGS, [_tag(tag) for tag in found.items("top_tags")], width)


def _counts(name: str, counts: Part) -> Iterator[Line]:
    if counts.fields:
        ranked = sorted(counts.fields, key=lambda key: -counts.count(key))
        yield [
            Span(f"{name}   {'   '.join(f'{printable(key)} {figures.count(counts.number(key))}' for key in ranked)}")
        ]


def _redis(level: Part) -> Iterator[Line]:
    if level.fields:
        state, reason = level.text("state") or "?", level.text("reason")
        up = state == "up"
        latency = level.part("latency")
        told = [f"p50 {figures.latency(latency.number('p50'))}", f"p99 {figures.latency(latency.number('p99'))}"]
        if not up:
            told.insert(0, reason or "no reason is told")
        if level.count("owed"):
            told.append(f"{counted(level.count('owed'), 'purge')} to be told")
        yield [Span("redis   "), Span(state, "green" if up else "red"), Span("   ".join(("", *told)))]
        yield from _counts("in redis", level.part("results"))


def _listed(columns: Sequence[Column], rows: Sequence[Sequence[Span]], width: int | None) -> Iterator[Line]:
    if rows:
        yield []
        yield from table(columns, rows, width)


def _tag(tag: Part) -> list[Span]:
    return [Span(tag.text("tag") or ""), Span(figures.count(tag.number("entries")))]


def _key(key: Part) -> list[Span]:
    ttl = key.number("ttl")
    stale = ttl is not None and ttl <= 0
    return [
        Span(key.text("url") or ""),
        Span(figures.count(key.number("hits"))),
        Span("stale" if stale else figures.age(ttl), "yellow" if stale else None),
        Span(figures.age(key.number("age"))),
        Span(figures.size(key.number("bytes"))),
        Span(figures.count(key.number("variants"))),
        Span(figures.count(key.number("status"))),
    ]
