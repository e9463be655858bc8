"""The one language of purges: what an operator writes, as targets, and what a target means."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from balancer.cache.keys import normal
from balancer.cache.purges import MOST_STARS, matcher
from balancer.cdn.errors import Invalid
from balancer.cdn.purging.collapse import collapse
from balancer.cdn.purging.ticket import PurgeOrder
from balancer.cdn.types import PurgeKind, PurgeTarget

MOST: Final = 1000
"""Targets of one order."""
MOST_WIDE: Final = 100
"""Prefixes and patterns of one order: caches have to try them one by one."""
LONGEST: Final = 2000
"""Characters of a target, percent-encoded."""
LONGEST_TAG: Final = 1024
EXPECTED: Final = "/path, /folder/*, https://host/path, tag:NAME or host:NAME"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")
_DEFAULT_PORT: Final = re.compile(r":(80|443)\Z")
_TAG: Final = re.compile(r"[!-+\--~]+")
_STARS: Final = re.compile(r"\*+")
_VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7F)))
_PATH: Final = "".join(_VISIBLE - set('"<>^`{}'))
_QUERY: Final = "".join(_VISIBLE - set("\"<>'"))
"""What browsers leave as it is (URL Standard, path and special-query percent-encode sets); % is of what is encoded."""


class Fault(NamedTuple):
    """One item of an order that is none, and where it stands."""

    field: str
    position: int | None
    """None: it is the field as a whole."""
    reason: str

    @property
    def pointer(self) -> str:
        """Into the order as JSON (RFC 6901)."""
        return f"/{self.field}" if self.position is None else f"/{self.field}/{self.position}"


class BadOrder(Invalid):
    """An order of which nothing is done, with everything that is wrong about it."""

    def __init__(self, faults: Collection[Fault]) -> None:
        self.faults = tuple(faults)
        where = [f"{one.field}[{one.position}]" if one.position is not None else one.field for one in self.faults]
        told = "; ".join(f"{place}: {fault.reason}" for place, fault in zip(where, self.faults, strict=True))
        super().__init__(f"nothing was purged: {told}")
        count = len(self.faults)
        self.summary = f"nothing was purged: {count} {'thing is' if count == 1 else 'things are'} not as expected"
        """The same without the faults, for whoever is told them one by one."""


class _Bad(ValueError):
    """The text is the reason, without the place."""


def parse(order: PurgeOrder) -> tuple[PurgeTarget, ...]:
    """All that is ordered, each target once and none that another one covers; BadOrder with every fault there is."""
    readers: dict[str, Callable[[str], PurgeTarget]] = {
        "patterns": _any,
        "paths": _path,
        "urls": _url,
        "tags": _tag,
        "hosts": _only_host,
    }
    targets: list[PurgeTarget] = []
    faults: list[Fault] = []
    count = sum(len(getattr(order, field)) for field in readers)
    if count > MOST:
        raise BadOrder([Fault("patterns", None, f"at most {MOST} targets in one order, not {count}")])
    for field, read in readers.items():
        for position, text in enumerate(getattr(order, field)):
            try:
                target = read(_clean(text))
                if target.kind is PurgeKind.ALL and not order.everything:
                    raise _Bad(f'{text!r} is everything: say so by "everything": true')
                targets.append(target)
            except _Bad as bad:
                faults.append(Fault(field, position, str(bad)))
    if order.everything:
        targets.append(PurgeTarget(PurgeKind.ALL, ""))
    if not order.scope:
        faults.append(Fault("scope", None, 'expected "own", "cdn" or both, not nothing'))
    if not targets and not faults:
        reason = 'expected at least one target; nothing is never everything: that takes "everything": true'
        faults.append(Fault("patterns", None, reason))
    if faults:
        raise BadOrder(faults)
    kept = collapse(targets)
    wide = sum(target.kind in (PurgeKind.PREFIX, PurgeKind.PATTERN) for target in kept)
    if wide > MOST_WIDE:
        reason = f"at most {MOST_WIDE} targets with a star in one order, not {wide}; tags can be purged by the thousand"
        raise BadOrder([Fault("patterns", None, reason)])
    return kept


def target(text: str) -> PurgeTarget:
    """One target by its text, everything included; Invalid with a sentence that says what was expected."""
    try:
        return _any(_clean(text))
    except _Bad as bad:
        raise Invalid(f"cannot purge {text!r}: {bad}") from None


def matches(wanted: PurgeTarget, url: str, tags: Collection[str] = ()) -> bool:
    """Whether a stored answer is meant: by its URL, spelled as the cache spells it, and its tags."""
    if wanted.kind is PurgeKind.ALL:
        return True
    if wanted.kind is PurgeKind.TAG:
        return wanted.value in tags
    host, text = placed(url)
    if wanted.kind is PurgeKind.HOST:
        return wanted.value == host
    if wanted.host is not None and wanted.host != host:
        return False
    path, mark, query = text.partition("?")
    if wanted.kind is PurgeKind.PREFIX:
        return text.startswith(wanted.value)
    if wanted.kind is PurgeKind.PATTERN:
        held = text if "?" in wanted.value else path
        # To the matcher a question mark is any character; here it is where the query begins.
        return matcher(wanted.value.replace("?", "\n").encode()).match(held.replace("?", "\n").encode()) is not None
    return path == wanted.value and (wanted.query is None or (bool(mark) and query == wanted.query))


def placed(url: str) -> tuple[str, str]:
    """The host of a URL as targets have it, and the path with its query."""
    _, _, rest = url.partition("://")
    host, slash, after = rest.partition("/")
    return _DEFAULT_PORT.sub("", host.lower()), slash + after


def _clean(text: str) -> str:
    """NFC, without white space around it."""
    if not isinstance(text, str):
        raise _Bad(f"expected a text, not {type(text).__name__}")
    text = text.strip(" \t\r\n")
    if not text:
        raise _Bad(f"expected {EXPECTED}; not nothing")
    if len(text) > LONGEST:
        raise _Bad(f"at most {LONGEST} characters, not {len(text)}")
    if _CONTROL.search(text):
        raise _Bad("has control characters, which no URL, tag or host has")
    return unicodedata.normalize("NFC", text)


def _any(text: str) -> PurgeTarget:
    kind, colon, rest = text.partition(":")
    if colon and kind.lower() in _BY_PREFIX:
        return _BY_PREFIX[kind.lower()](rest.strip())
    return _url(text) if _is_url(text) else _path(text)


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _url(text: str) -> PurgeTarget:
    if not _is_url(text):
        raise _Bad(f"expected a URL such as https://example.com/posts/*, not {text!r}")
    name, slash, rest = text.partition("://")[2].partition("/")
    if not slash and ("?" in name or "#" in name):
        raise _Bad(f"the path of {text!r} has no slash before it")
    return _place(slash + rest or "/", _host(name))


def _path(text: str) -> PurgeTarget:
    if not text.startswith(("/", "*")):
        raise _Bad(f"expected {EXPECTED}; not {text!r}")
    return _place(text if text.startswith("/") else f"/{text}", None)


def _only_host(text: str) -> PurgeTarget:
    return PurgeTarget(PurgeKind.HOST, _host(text))


def _host(text: str) -> str:
    if "@" in text:
        raise _Bad("a host has no user name before it")
    if "*" in text:
        raise _Bad(f"a host is written in full, without a star: {text!r}")
    if not text.isascii():
        raise _Bad(f"write the host {text!r} as it is sent, in ASCII (xn--...)")
    host = _DEFAULT_PORT.sub("", text.lower())
    if not _HOST.fullmatch(host):
        raise _Bad(f"expected a host such as example.com or example.com:8080, not {text!r}")
    return host


def _tag(text: str) -> PurgeTarget:
    if not _TAG.fullmatch(text):
        raise _Bad(f"a tag is of visible ASCII characters without commas and white space, not {text!r}")
    if len(text) > LONGEST_TAG:
        raise _Bad(f"a tag has at most {LONGEST_TAG} characters, not {len(text)}")
    return PurgeTarget(PurgeKind.TAG, text)


def _place(text: str, host: str | None) -> PurgeTarget:
    """A path with its query, by where it has a star."""
    text = _spelled(text)
    text = _STARS.sub("*", text)
    if text.count("*") > MOST_STARS:
        raise _Bad(f"at most {MOST_STARS} stars in one target, not {text.count('*')}")
    path, mark, query = text.partition("?")
    if mark and query == "*" and "*" not in path:
        return PurgeTarget(PurgeKind.URL, path, host)
    if "*" not in text:
        return PurgeTarget(PurgeKind.URL, path, host, query if mark else None)
    if "*" in text[:-1] or mark:
        return PurgeTarget(PurgeKind.PATTERN, text, host)
    if text == "/*" and host is None:
        return PurgeTarget(PurgeKind.ALL, "")
    return PurgeTarget(PurgeKind.PREFIX, text[:-1], host)


def _spelled(text: str) -> str:
    """As caches have it: what needs percent-encoding encoded once, and nothing else."""
    if "#" in text:
        raise _Bad("the part after # is never sent to anybody; leave it out")
    if "\\" in text:
        raise _Bad("has a backslash, of which browsers make a slash; write what is meant")
    if broken := _BROKEN.search(text):
        raise _Bad(f"has a % at character {broken.start() + 1} that begins no two hex digits; the sign itself is %25")
    path = text.partition("?")[0]
    if any(part in (".", "..") for part in re.split(r"[/\\]", unquote(path, errors="replace"))):
        raise _Bad("has . or .. between slashes; write the path that is meant")
    _, mark, query = text.partition("?")
    spelled = normal(f"{quote(path, safe=_PATH)}{mark}{quote(query, safe=_QUERY)}".encode()).decode()
    if len(spelled) > LONGEST:
        raise _Bad(f"at most {LONGEST} characters once it is percent-encoded, not {len(spelled)}")
    return spelled


_BY_PREFIX: Final[dict[str, Callable[[str], PurgeTarget]]] = {"tag": _tag, "host": _only_host}
