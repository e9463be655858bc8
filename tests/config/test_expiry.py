"""Keys whose time is over are told with their place; a file is good all the same."""

from __future__ import annotations

from datetime import date

import pytest

from config.expiry import expired_keys, without_admin
from config.load import Loaded, parse

LAST = date(2027, 1, 31)
AFTER = date(2027, 2, 1)
HASH = "sha256:" + "0" * 64


def loaded(admin: str = "", clients: str = "") -> Loaded:
    auth = f"auth: {{a: {{api_keys: {{keys: {{{clients}}}}}}}}}\n" if clients else ""
    routes = "routes: {r: {pool: default, auth: a}}" if clients else ""
    return parse(f"servers: [http://a:1]\nadmin: {{keys: [{admin}]}}\n{auth}{routes}", "f", {})


def test_a_key_is_good_on_its_last_day_and_told_on_the_next() -> None:
    key = f"hash: '{HASH}', expires: 2027-01-31"
    found = loaded(f"{{id: a, role: admin, {key}}}", f"acme: {{{key}}}, other: '{HASH[:-1]}1'")
    assert list(expired_keys(found, LAST)) == []
    first, second = map(str, expired_keys(found, AFTER))
    assert first.startswith("f:2:")
    assert "admin.keys[0].expires: has passed: the key a opens nothing any more" in first
    assert second.startswith("f:3:")
    assert "auth.a.api_keys.keys.acme.expires: has passed: the key acme lets nobody in any more" in second


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("", False),  # one is made at the start
        (f"{{id: a, role: admin, hash: '{HASH}'}}", False),
        (f"{{id: a, role: admin, hash: '{HASH}', expires: 2027-01-31}}", True),
        (f"{{id: a, role: viewer, hash: '{HASH}'}}", True),
        (f"{{id: a, role: viewer, hash: '{HASH}'}}, {{id: b, role: admin, hash: '{HASH}'}}", False),
    ],
)
def test_keys_of_which_none_may_do_everything_are_told(keys: str, told: bool) -> None:
    found = [str(problem) for problem in without_admin(loaded(keys), AFTER)]
    assert bool(found) == told
    assert all("admin.keys: has no key of role admin that works" in line for line in found)
