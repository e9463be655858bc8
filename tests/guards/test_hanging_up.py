"""A client that hangs up while it is held is nobody else's trouble."""

from __future__ import annotations

import asyncio
from base64 import b64encode

from balancer.guards.passwords import hashed
from tests.guards.sites import guarded

PASSWORD = hashed(b"right", bytes(16))


async def test_who_waits_with_it_for_the_same_look_is_answered() -> None:
    text = f"""
    auth: {{staff: {{basic: {{users: {{alice: "{PASSWORD}"}}}}}}}}
    routes: {{all: {{pool: default, auth: staff}}}}
    """
    async with guarded(text) as site:
        wrong = b"Authorization: Basic " + b64encode(b"alice:wrong")
        leaver = await site.connect()
        await leaver.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n%b\r\n\r\nabc" % wrong)
        stayer = await site.connect()
        await stayer.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % wrong)
        leaver.cut()
        async with asyncio.timeout(5):
            assert (await stayer.answer())[0] == 401
