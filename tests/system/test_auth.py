"""Auth in the real process, as somebody new would set it up: typed commands, real services, TLS, figures and logs."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from balancer.guards.passwords import matches
from balancer.guards.request_rules import ANYWHERE, SCANNED
from bench.program import free_port
from config.load import parse
from config.passwords import PasswordHash
from tests.guards.issuer import claims, jwk, private, token
from tests.system.house import OWNER, PATIENCE, Answer, House, Line, opened, request
from tests.tree import ROOT

pytestmark = pytest.mark.slow
GUIDE = (ROOT / "docs" / "auth.md").read_text()


def command(*words: str, given: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "balancer", *words], input=given, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.splitlines()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name for it
        pass

    def reply(self, status: int, body: bytes, **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Issuer(_Quiet):
    def do_GET(self) -> None:
        self.reply(200, json.dumps({"keys": [jwk(private("RS256"), kid="one")]}).encode())


class Service(_Quiet):
    def do_GET(self) -> None:
        if "session=alice" in self.headers.get("Cookie", ""):
            self.reply(200, b"", Remote_User="alice")
        else:
            self.reply(302, b"sign in", Location=f"/login?to={self.headers['X-Forwarded-Uri']}")


class App(_Quiet):
    """Tells what it was told."""

    def do_GET(self) -> None:
        told = {name.lower(): value for name, value in self.headers.items()}
        self.reply(200, json.dumps(told).encode())

    do_POST = do_GET  # noqa: N815  # a name that http.server asks for


def ask(port: int, path: str, fields: dict[str, str] | None = None, method: str = "GET") -> Answer:
    with Line(port) as line:
        line.say(request(method, path, fields))
        answer = line.answer()
    assert answer is not None
    return answer


def basic(word: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"alice:{word}".encode()).decode()}


def _logged(house: House, last: str) -> list[dict[str, Any]]:
    """The access log, once the request for `last` is in it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        whole, _, _ = house.access.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        if any(line["path"] == last for line in lines):
            return lines
        time.sleep(0.02)
    raise AssertionError(f"the access log has no request for {last} after {PATIENCE:g} s")


def test_everything_at_once_as_it_is_set_up_by_hand(tmp_path: Path) -> None:
    (kept,) = command("hash-password", given="open sesame\n")
    key, entry = command("api-key", "acme")
    good = token(claims(email="a@example.com", groups=["staff"]), "RS256", headers={"kid": "one"})
    with serving(Issuer) as issuer, serving(Service) as service, serving(App) as app:
        settings = {
            "pools": {
                "app": {"servers": [f"http://127.0.0.1:{app}"], "health": {"active": False}},
                "sso": {"servers": [f"http://127.0.0.1:{service}"], "health": {"active": False}},
            },
            "auth": {
                "staff": {"basic": {"users": {"alice": kept}}},
                "partners": {"api_keys": {"keys": yaml.safe_load("{" + entry + "}")}},
                "apps": {
                    "jwt": {
                        "jwks": f"http://127.0.0.1:{issuer}/keys",
                        "issuer": "https://id.example/",
                        "audience": ["shop"],
                        "claims_to": {"email": "X-Auth-Email"},
                    }
                },
                "sso": {
                    "forward": {
                        "pool": "sso",
                        "path": "/verify",
                        "copy_headers": ["Remote-User"],
                        "subject": "Remote-User",
                    }
                },
            },
            "refuse_scanners": True,
            "security_headers": True,
            "routes": {
                name: {"match": f"/{name}/**", "pool": "app", "auth": name}
                for name in ("staff", "partners", "apps", "sso")
            }
            | {"open": {"pool": "app"}},
        }
        with opened(House(tmp_path, settings)) as house:
            shown = {
                "staff": basic("open sesame"),
                "partners": {"X-API-Key": key},
                "apps": {"Authorization": f"Bearer {good}"},
                "sso": {"Cookie": "session=alice"},
            }
            who = {"staff": "alice", "partners": "acme", "apps": "alice", "sso": "alice"}
            for way, fields in shown.items():
                spoofs = {"X-Auth-Subject": "root", "x_auth_subject": "root", "Remote-User": "root"}
                told = ask(house.port, f"/{way}/", {**spoofs, **fields}).json
                assert told["x-auth-subject"] == who[way], way
                assert "root" not in told.values()
                assert ask(house.port, f"/{way}/").status == (302 if way == "sso" else 401)
            assert ask(house.port, "/sso/a?b").field("location") == "/login?to=/sso/a?b"
            assert "x-auth-subject" not in ask(house.port, "/", {"X-Auth-Subject": "root"}).json
            assert ask(house.port, "/.env").status == 404
            assert ask(house.port, "/").field("x-frame-options") == "SAMEORIGIN"
            guesses = [ask(house.port, "/staff/", basic(f"guess {n}")).status for n in range(10)]
            assert guesses == [401] * 10
            # On a slow machine one more may have become free meanwhile.
            assert 429 in [ask(house.port, "/staff/", basic(f"guess {n}")).status for n in range(10, 20)]
            assert ask(house.port, "/staff/last", basic("open sesame")).status == 200

            metrics = house.ask(request("GET", "/metrics"), OWNER).body.decode()
            assert re.search(r'balancer_auth_requests_total{auth="staff",result="limited"} [1-9]', metrics)
            assert 'balancer_auth_requests_total{auth="apps",result="passed"} 1' in metrics
            assert 'balancer_auth_issuer_keys{auth="apps"} 1' in metrics
            assert 'balancer_route_guarded_total{route="open",reason="scanner"} 1' in metrics
            config = json.dumps(house.look())
            lines = _logged(house, "/staff/last")
            assert {(line["route"], line.get("user")) for line in lines if line["status"] == 200} >= {
                ("staff", "alice"),
                ("partners", "acme"),
                ("apps", "alice"),
                ("sso", "alice"),
            }
            assert all("user" not in line for line in lines if line["status"] in (401, 429))
            everything = house.said() + metrics + config
            for secret in (
                "open sesame",
                kept,
                kept.rpartition(":")[2],
                key,
                good,
                "guess 3",
                *shown["staff"].values(),
            ):
                assert secret not in everything


def test_hsts_is_said_over_tls_alone(tmp_path: Path) -> None:
    authority = trustme.CA()
    pair = authority.issue_cert("localhost")
    pair.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "site.pem"))
    port, plain = free_port(), free_port()
    certificate = {"cert": str(tmp_path / "site.pem"), "key": str(tmp_path / "site.pem")}
    settings = {
        "security_headers": True,
        "listeners": {
            "secure": {"address": f"127.0.0.1:{port}", "tls": {"certificates": [certificate]}},
            "plain": {"address": f"127.0.0.1:{plain}"},
        },
        "listen": None,
    }
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with opened(House(tmp_path, settings)) as house:
        del house
        with Line(port) as line:
            line.socket = context.wrap_socket(line.socket, server_hostname="localhost")
            line.say(request("GET", "/"))
            answer = line.answer()
        assert answer is not None
        assert answer.field("strict-transport-security") == "max-age=31536000"
        assert ask(plain, "/").field("strict-transport-security") is None


def test_what_the_guide_says_of_a_password_is_so() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    found = parse(blocks[0], "auth.md", {})
    assert found.warnings == ()
    basic_auth = found.config.auth["staff"].basic
    assert basic_auth is not None
    assert matches(PasswordHash.of(basic_auth.users["alice"]), b"open sesame")
    for block in blocks[1:]:
        text = block if "servers:" in block or "pools:" in block else "servers: [http://127.0.0.1:3001]\n" + block
        parse(text.replace('"sha256:5f0c1d..."', '"sha256:' + "0" * 64 + '"'), "auth.md", {})


def test_the_guide_has_every_path_that_is_refused() -> None:
    table = GUIDE.partition("they are:")[2].partition("`also` adds")[0]
    told = set(re.findall(r"`(/[^`]*)`", table))
    assert told == {path.removesuffix("/**") for path in (*SCANNED, *ANYWHERE)} | {"/.env.*"}
