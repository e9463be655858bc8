"""Control over servers with TLS: files are read again on a reload, and a bad one changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from balancer.control import PublishError
from tests.control_room import room
from tests.proxy.secure import secure, stranger, trusted
from tests.proxy.wire import ok, replies


def spoil(file: str) -> None:
    Path(file).write_text("nothing")


async def test_checks_believe_what_the_ca_file_says_at_the_last_reload(tmp_path: Path) -> None:
    ca = trusted(tmp_path)
    async with secure(replies(ok())) as server, room(tmp_path, names="") as home:
        pool = f"servers: {{a: 'https://127.0.0.1:{server.port}'}}, tls: {{ca: {ca}}}"
        home.file.write_text(f"listen: 127.0.0.1:0\npools: {{web: {{{pool}}}}}\n")
        control = await home.begin()
        trusted(tmp_path, stranger())
        (found,) = await control.check_now()
        assert found.result.ok
        reloaded = await control.reload()
        assert reloaded.changes == ()
        (found,) = await control.check_now()
        assert found.result.reason == "its certificate is not signed by a known authority"
        spoil(ca)
        in_force = control.snapshot
        with pytest.raises(PublishError, match=r"pools\.web\.tls\.ca: "):
            await control.reload()
        assert control.snapshot is in_force
        trusted(tmp_path)
        await control.reload()
        (found,) = await control.check_now()
        assert found.result.ok
