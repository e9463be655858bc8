"""Control over servers with TLS: files are read again on a reload, and a bad one changes nothing."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile as copy

import pytest

from balancer.control import PublishError
from tests.control_room import room
from tests.proxy.secure import secure, stranger, trusted
from tests.proxy.wire import ok, replies
from tests.tls.authority import issued


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


async def test_a_reload_tells_of_certificates_that_cannot_be_used_and_of_those_that_stay(tmp_path: Path) -> None:
    good, other = issued(tmp_path, "a.test"), issued(tmp_path, "b.test")
    async with room(tmp_path) as home:
        tls = f"{{certificates: [{{cert: {good['cert']}, key: {good['key']}}}]}}"
        home.file.write_text(
            f"listeners: {{main: {{address: '127.0.0.1:0', tls: {tls}}}}}\n"
            f"pools: {{web: {{servers: {{a: '{home.wards['a'].url}'}}}}}}\n"
        )
        control = await home.begin()
        assert (await control.reload()).warnings == ()
        copy(other["key"], good["key"])
        (warning,) = (await control.reload()).warnings
        assert "is not the key of the certificate" in str(warning)
        assert str(warning).startswith(f"{home.file}:1:")
