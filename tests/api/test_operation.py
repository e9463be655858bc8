"""The frame around a function of the API."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.operation import Call, Operation
from api.problems import Problem


async def test_a_precondition_is_judged_before_the_rest_of_the_request_is_looked_at() -> None:
    acted: list[Call] = []

    async def act(call: Call) -> None:
        acted.append(call)

    def never(call: Call) -> None:
        raise Problem(412, f"not for {call.request.path}")

    operation = Operation("PUT", "/x", "admin", act, precondition=never)
    request = make_mocked_request("PUT", "/x?nix=1")
    with pytest.raises(Problem, match="not for /x") as caught:
        await operation.respond(request, None)
    assert caught.value.status == 412
    assert acted == []
    fulfilled = Operation("PUT", "/x", "admin", act, precondition=lambda call: None)
    assert isinstance(await fulfilled.respond(make_mocked_request("PUT", "/x"), None), web.Response)
    assert len(acted) == 1
