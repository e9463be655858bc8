"""The CDN of the running balancer as a new user has it: no account, one line of configuration, the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.cdn.local.samples import picture
from tests.system.house import House, Line, opened, request
from tests.tree import ROOT

pytestmark = pytest.mark.slow
FILES = "/api/infrastructure/cdn/files"
MiB = 1 << 20


def house(folder: Path, **cdn: Any) -> House:
    return House(folder, {"cdn": {"local": {"directory": str(folder / "cdn"), "keep_free": 0}, **cdn}})


def command(house: House, *words: str, role: str = "operator") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "balancer", "cdn", *words],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "BALANCER_ADMIN": f"http://127.0.0.1:{house.admin}",
            "ADMIN_API_KEY": house.keys[role],
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def site(house: House, path: str, **fields: str) -> Any:
    with Line(house.port) as line:
        line.say(request("GET", path, fields))
        return line.answer()


def test_a_file_goes_in_by_the_command_line_and_out_by_the_site(tmp_path: Path) -> None:
    content = picture("PNG", (64, 64))
    (tmp_path / "cat.png").write_bytes(content)
    with opened(house(tmp_path)) as home:
        done = command(home, "upload", str(tmp_path / "cat.png"), "--tag", "cats", "--json")
        assert done.returncode == 0, done.stderr
        (stored,) = json.loads(done.stdout)
        assert (stored["created"], stored["tags"], stored["content_type"]) == (True, ["cats"], "image/png")
        assert stored["sha256"] == sha256(content).hexdigest()
        answer = site(home, stored["url"])
        assert (answer.status, answer.body) == (200, content)
        assert stored["path"] in command(home, "ls", role="viewer").stdout
        assert command(home, "status", role="viewer").stdout.startswith("local   ok")
        assert 'created": false' in command(home, "upload", str(tmp_path / "cat.png"), "--json").stdout
        assert command(home, "rm", stored["path"], role="viewer").returncode == 4
        assert command(home, "rm", stored["path"]).returncode == 0
        assert command(home, "rm", stored["path"]).returncode == 1


def test_a_picture_is_asked_for_in_another_size_and_purged_with_its_original(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(picture("PNG", (640, 480)))
    with opened(house(tmp_path)) as home:
        (stored,) = json.loads(command(home, "upload", str(tmp_path / "cat.png"), "--tag", "cats", "--json").stdout)
        asked = command(home, "image-url", stored["path"], "--width", "320", "--format", "webp", "--render")
        assert asked.returncode == 0, asked.stderr
        assert "webp, 320 by 240 pixels" in asked.stderr
        small = asked.stdout.strip()

        def verdicts(path: str) -> list[str]:
            return [site(home, path).field("Cache-Status") for _ in range(2)]

        for path in (stored["url"], small):
            miss, hit = verdicts(path)
            assert ("fwd=uri-miss" in miss, "hit" in hit) == (True, True)
        assert site(home, small).field("Content-Type") == "image/webp"
        purged = command(home, "purge", "tag:cats", "--json")
        assert purged.returncode == 0, purged.stderr
        assert json.loads(purged.stdout)["own"][0]["entries"] == 2
        for path in (stored["url"], small):
            assert "fwd=uri-miss" in verdicts(path)[0]
        ticket = json.loads(purged.stdout)["ticket"]
        assert ticket in command(home, "purges", role="viewer").stdout
        assert command(home, "purges", ticket, role="viewer").stdout.startswith(
            f"{ticket}   completed   seen to be gone"
        )
        assert command(home, "stats", "--from", "1h", role="viewer").returncode == 0


def test_a_form_of_a_real_client_is_taken(tmp_path: Path) -> None:
    with opened(house(tmp_path)) as home:
        whole = (
            b'--b\r\nContent-Disposition: form-data; name="kind"\r\n\r\ndocument\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
            b"Content-Type: text/plain\r\n\r\nhello\r\n--b--\r\n"
        )
        fields = {**home.key("operator"), "Content-Type": "multipart/form-data; boundary=b"}
        answer = home.ask(request("POST", FILES, fields, whole))
        assert answer.status == 201, answer.body
        assert site(home, answer.json["url"]).body == b"hello"


def test_an_upload_that_breaks_off_leaves_nothing_and_the_trail_tells(tmp_path: Path) -> None:
    with opened(house(tmp_path)) as home:
        for _ in range(2):
            with home.line() as line:
                fields = {**home.key("operator"), "Content-Length": str(8 * MiB)}
                head = request("POST", f"{FILES}?name=a.bin", fields).partition(b"Content-Length: 0\r\n")
                line.say(head[0] + head[2] + bytes(MiB))
        # Whoever has hung up is noticed soon; asking takes as long as it takes.
        for _ in range(1000):
            lines = home.ask(request("GET", "/api/audit?phase=done", home.key("admin"))).json["items"]
            if len(lines) == 2:
                break
        assert [(line["operation"], line["status"]) for line in lines] == [("upload_file", 400)] * 2
        assert home.ask(request("GET", FILES, home.key("viewer"))).json["items"] == []
        assert [path for path in (tmp_path / "cdn").rglob("*") if path.is_file() and path.stat().st_size >= MiB] == []


def test_a_file_of_many_megabytes_needs_no_memory_of_its_size(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        for number in range(192):
            file.write(number.to_bytes(2, "big") * (MiB // 2))
    with opened(house(tmp_path, max_upload="256MiB")) as home:
        before = _resident(home)
        done = command(home, "upload", str(large), "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0]["size"] == 192 * MiB
        assert _resident(home) - before < 64 * MiB


def _resident(home: House) -> int:
    figures = home.ask(request("GET", "/api/monitoring/metrics", home.key("viewer"))).json
    return int(figures["process"]["resident_bytes"])


async def test_the_command_line_sends_nothing_of_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(2 * MiB))
    with opened(house(tmp_path, max_upload="1MiB")) as home:
        done = command(home, "upload", str(tmp_path / "large.bin"))
        assert (done.returncode, done.stdout) == (2, "")
        assert (
            done.stderr
            == "balancer: the file may have 1 MiB at most (cdn.max_upload), and not 2.0 MiB; nothing is kept\n"
        )


def test_what_alerts_and_dashboard_ask_of_the_cdn_a_running_balancer_tells(tmp_path: Path) -> None:
    shipped = "".join(
        (ROOT / "deploy/prometheus" / name).read_text() for name in ("alerts.yml", "grafana-dashboard.json")
    )
    asked = set(re.findall(r"balancer_cdn_\w+", shipped))
    assert len(asked) >= 10
    (tmp_path / "cat.png").write_bytes(picture("PNG", (64, 64)))
    with opened(house(tmp_path)) as home:
        assert command(home, "status").returncode == 0  # and it has been checked
        assert command(home, "upload", str(tmp_path / "cat.png")).returncode == 0
        assert command(home, "image-url", "/cdn/nix.png", "--render").returncode != 0
        told = home.ask(request("GET", "/metrics", home.key("viewer"))).body.decode()
    elsewhere = {"balancer_cdn_breaker_open", "balancer_cdn_calls_total"}  # of a provider that has to be called
    found = set(re.findall(r"^(balancer_cdn_\w+)[{ ]", told, re.MULTILINE))
    assert asked - elsewhere <= found
    (room,) = re.findall(r"^balancer_cdn_room_bytes\S* (\S+)", told, re.MULTILINE)
    assert float(room) > 0
