"""docs/api.md against the operations that there are."""

import re
from pathlib import Path

from tests.api.desk import BALANCER
from tests.api.test_openapi import ROLES

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_page_lists_every_operation_with_its_role_and_no_other() -> None:
    rows = re.findall(r"^\| `([A-Z]+) ([^`]+)` \| (\w+)", PAGE.read_text(), re.MULTILINE)
    listed = {(method, path.replace("LB/", f"{BALANCER}/")): role for method, path, role in rows}
    assert listed == {operation: role or "open" for operation, role in ROLES.items()}
