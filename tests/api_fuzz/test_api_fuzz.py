"""Every operation of the running admin API, with each role's key and with none, as its own document has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.load import load
from tests.api_fuzz.run import faults, fuzz, house_with_cdn
from tests.system.house import opened

pytestmark = pytest.mark.slow
EXAMPLES = {"": 1, "viewer": 2, "operator": 3, "admin": 4}
"""For each operation: a role that is refused most of them sees the same with each."""


@pytest.mark.parametrize("role", EXAMPLES, ids=lambda role: role or "no key")
def test_every_answer_is_as_the_document_says_and_no_role_is_crossed(tmp_path: Path, role: str) -> None:
    with opened(house_with_cdn(tmp_path)) as house:
        before = house.state()
        found = fuzz(house, role, examples=EXAMPLES[role])
        assert faults(house.log) == []
        assert found.ok, found.text
        assert found.requests > 300, found.text
        after = house.state()
        if role == "admin":
            load(house.file, {})  # what was saved into the operator's file is a configuration
        else:
            assert after[-1] == before[-1]  # the operator's file
        if role in ("", "viewer"):
            assert after == before
