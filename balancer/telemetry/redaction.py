"""Keeping secrets out of logs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote_plus

MASK = "***"

# No `?` inside, as that is a beginning itself: otherwise each of thousands would be searched from to the end.
_spelt_out = re.compile(r"[?&;][^=&;?%]*%").search


class Redaction:
    """Masks the values of query parameters whose names are secret, however a client spells them.

    Names are compared without case, after percent-decoding and without an index: "%54oken[]" is "token".
    """

    def __init__(self, redact: Collection[str]) -> None:
        """`redact` as in `logs.access.redact`: "query:token", or "user"."""
        self.hides_user = "user" in redact
        self._names = tuple(entry.removeprefix("query:").lower() for entry in redact if entry.startswith("query:"))

    def path(self, path: str) -> str:
        """A request's target, masked."""
        # Looking for each name takes less time than one search for a pattern of all.
        lower = path.lower()
        for name in self._names:
            if name in lower:
                return self._masked(path)
        return self._masked(path) if "%" in path and _spelt_out(path) else path

    def _masked(self, path: str) -> str:
        before, mark, query = path.partition("?")
        return before + mark + "".join(map(self._parameter, re.split("([&;])", query)))

    def _parameter(self, parameter: str) -> str:
        name, equals, _ = parameter.partition("=")
        if equals and unquote_plus(name).partition("[")[0].strip().lower() in self._names:
            return f"{name}={MASK}"
        return parameter


_SECRET = frozenset(
    ("authorization", "proxy_authorization", "cookie", "set_cookie", "password", "secret", "token", "api_key")
)
_credentials = re.compile(r"(://)[^/?#\s]+@").sub
"""To the last @ of the authority: a password may have more of them."""


_own_keys = re.compile(r"\b(balancer_[0-9a-z]{1,8}_)[A-Za-z0-9_-]{40,}").sub
"""Keys of the admin API, its sessions' cookies and their tokens: what people paste where it does not belong."""


def without_keys(text: str) -> str:
    """The text without any key of the admin API."""
    return _own_keys(rf"\1{MASK}", text) if "balancer_" in text else text


def masked(value: object, name: str = "") -> object:
    """A value of the program's log without what its name or an address in it gives away."""
    if name.lower().replace("-", "_").removeprefix("x_") in _SECRET:
        return MASK
    if isinstance(value, str):
        value = without_keys(value)
        return _credentials(rf"\1{MASK}@", value) if "@" in value else value
    if isinstance(value, Mapping):
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner) for inner in value]
    return value
