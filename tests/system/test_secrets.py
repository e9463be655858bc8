"""Secrets are planted wherever they can be, and everything that the running process can emit is searched for them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import yaml

from balancer.guards.passwords import hashed
from tests.system.house import OWNER, House, Line, opened, request
from tests.tree import ROOT

pytestmark = pytest.mark.slow

PLUGIN: Final = '''
import os


class Crash:
    """A strategy whose fault has an address with a password in it, and more than that at hand."""

    def __init__(self, servers, rng):
        self.token = os.environ["PROBE_TOKEN"]

    def pick(self, key, now, tried=()):
        token = self.token
        raise RuntimeError(f"cannot ask https://someone:{token}@policy.example/ about {len(token)} characters")
'''


class Planted:
    """Every secret by its name; each is found by its own text, whichever way it is written."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        """The last one of each name."""
        self._all: list[tuple[str, str]] = []

    def plant(self, name: str, text: str | None = None) -> str:
        self.texts[name] = text or f"pl4nted{secrets.token_hex(16)}"
        self._all.append((name, self.texts[name]))
        return self.texts[name]

    def found(self, said: str) -> set[str]:
        """The names of those that are there, in the clear or in a usual disguise."""
        return {name for name, text in self._all if any(form in said for form in _forms(text))}


def _forms(text: str) -> set[str]:
    """A secret as it is, in a URL, and in base64 at each of the three places it can have there."""
    forms = {text, quote(text, safe=""), json.dumps(text)[1:-1]}
    for shift in range(3):
        # What stands before and after a text changes its first and last characters in base64.
        forms.add(base64.b64encode(b"x" * shift + text.encode()).decode()[4 if shift else 0 : -4])
    return forms


def test_a_secret_is_found_in_every_disguise() -> None:
    planted = Planted()
    secret = planted.plant("it")
    for before in ("", "a", "ab", "abc:"):
        assert planted.found(base64.b64encode(f"{before}{secret}:x".encode()).decode()) == {"it"}
    assert planted.found(f"x{quote(secret)}y") == {"it"}
    assert planted.found(secret[:-1]) == set()


class Full(House):
    """A house whose pool `web` has more to say than its servers."""

    def write(self, servers: Mapping[str, str]) -> None:
        self.settings["pools"]["web"]["servers"] = dict(servers)
        super().write(servers)


def settings(planted: Planted, folder: Path) -> dict[str, Any]:
    """A configuration with a secret in every place that may hold one."""
    plant = planted.plant
    (folder / "probe.txt").write_text(plant("a file that a value names") + "\n")
    (folder / "plug.py").write_text(PLUGIN)
    jwt = "${JWT_SECRET}"
    password = str(hashed(plant("a user's password").encode(), os.urandom(16)))
    plant("the hash of a password", password.rpartition(":")[2])
    app_key = plant("a key of an app")
    plant("the hash of an app's key", hashlib.sha256(app_key.encode()).hexdigest())
    nobody = {"servers": ["http://127.0.0.1:1"], "health": {"active": False}}
    return {
        "defaults": {
            "health": {
                "active": {
                    "interval": "200ms",
                    "path": f"/probe?token={plant('a query of health checks')}",
                    "headers": {
                        "Authorization": "Bearer ${PROBE_TOKEN}",
                        "X-Probe": "${file:probe.txt}",
                        "Cookie": f"probe={plant('a cookie of health checks')}",
                    },
                }
            }
        },
        "pools": {
            "web": {"servers": {}},
            "crash": {**nobody, "strategy": "plug:Crash"},
            "nobody": nobody,
        },
        "auth": {
            "staff": {"basic": {"users": {"alice": password}}},
            "apps": {
                "api_keys": {"keys": {"shop": {"hash": "sha256:" + hashlib.sha256(app_key.encode()).hexdigest()}}}
            },
            "users": {"jwt": {"secret": jwt}},
        },
        "rate_limits": {"each": {"rate": "1/h", "burst": 2, "key": ["header:X-Tenant-Token", "cookie:tenant"]}},
        "routes": {
            "all": {
                "pool": "web",
                "headers": {
                    "request": {
                        "set": {
                            "Authorization": f"Basic {plant('a field for servers')}",
                            "X-Upstream-Key": "${UPSTREAM_KEY}",
                        }
                    },
                    "response": {"set": {"Set-Cookie": f"own={plant('a cookie for clients')}"}},
                },
            },
            "crash": {"match": "/crash", "pool": "crash"},
            "nobody": {"match": "/nobody", "pool": "nobody"},
            "limited": {"match": "/limited", "pool": "web", "rate_limit": "each"},
            "staff": {"match": "/staff", "pool": "web", "auth": "staff"},
            "apps": {"match": "/apps", "pool": "web", "auth": "apps"},
            "users": {"match": "/users", "pool": "web", "auth": "users"},
            "gated": {
                "match": {"path": "/gated", "headers": {"X-Gate-Token": plant("a field that a route asks for")}},
                "respond": 200,
            },
        },
        "cache": {"enabled": True},
        "trusted_proxies": ["192.0.2.0/24"],
        "require_cdn": {"mode": "log", "secret": "${ORIGIN_SECRET}"},
        "cdn": {
            # The rest of it is in the environment.
            "url": "https://cdn.example.com",
            "attempts": 2,
            "give_up": "2s",
            "bunny": {"pull_zone_id": 1, "storage_zone": "files"},
            "cloudflare": {
                "access_key_id": plant("the key id of R2"),
                "secret_access_key": plant("the key of R2"),
            },
            "images": {"secrets": [plant("what pictures are signed with"), "${IMAGE_SECRET}"]},
        },
        "redis": {"url": "${REDIS}", "timeout": "50ms"},
        "analytics": {
            "salt": plant("what users are hashed with"),
            "events": {"seen": {"match": {"path": "/**"}, "take": {"kind": "query:token"}}},
            "database": {"url": f"postgresql://app:{plant('a password of the database')}@127.0.0.1:1/app"},
        },
        "databases": {
            "app": f"postgresql://app:{plant('another password of it')}@127.0.0.1:1/app",
            "sessions": f"redis://:{plant('a password of another Redis')}@127.0.0.1:1/0",
        },
        "alerts": {
            "webhooks": {
                "team": {
                    "url": f"http://127.0.0.1:1/{plant('the way to a webhook')}",
                    "secret": plant("what messages are signed with"),
                }
            }
        },
    }


QUERIES: Final = {
    "next-server": ("?pool=web", "?pool=web&header=Cookie:a=b"),
    "config": ("", "?source=file"),
    "explain": ("?url=/", "?url=/gated&headers=Authorization:x"),
    "/api/events": ("?topics=servers&of=pool:web",),
    "why": tuple(
        f"?path={path}"
        for path in (
            "redis.url",
            "cdn.api_key",
            "cdn.cloudflare.secret_access_key",
            "cdn.bunny.storage_password",
            "cdn.bunny.token_key",
            "cdn.images.secrets",
            "require_cdn.secret",
            "analytics.salt",
            "analytics.database.url",
            "databases.app.url",
            "databases.sessions.url",
            "alerts.webhooks.team.url",
            "alerts.webhooks.team.secret",
            "auth.users.jwt.secret",
            "auth.staff.basic.users.alice",
            "auth.apps.api_keys.keys.shop.hash",
            "admin.keys",
            "pools.web.health.active.headers",
            "pools.web.health.active.path",
            "routes.all.headers.request.set",
            "routes.gated.match.headers",
        )
    ),
}
"""Of operations that need one, by their path or its end; those that ask for the places of secrets."""


class Drive:
    """Everything that is done to the process, and everything that it says."""

    def __init__(self, house: House, planted: Planted, environ: dict[str, str]) -> None:
        self.house = house
        self.planted = planted
        self.environ = environ
        self.said: dict[str, str] = {}
        """By what it was."""

    def admin(self, method: str, path: str, fields: dict[str, str] | None = None, body: bytes = b"") -> Any:
        """Ask the admin API as an admin, unless the fields say otherwise; what it says is kept."""
        sent = self.house.key("admin") if fields is None else fields
        if body and "Content-Type" not in sent:
            sent = {**sent, "Content-Type": "application/json"}
        answer = self.house.ask(request(method, path, sent, body), OWNER)
        self.keep(f"{method} {path} {answer.status}", answer.head + answer.body)
        return answer

    def site(self, data: bytes, what: str) -> None:
        with Line(self.house.port) as line:
            line.say(data)
            answer = line.answer()
        if answer is not None:
            head = answer.head.replace(self.planted.texts["a cookie for clients"].encode(), b"(for clients)")
            self.keep(f"site {what} {answer.status}", head + answer.body)

    def command(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "balancer", *words],
            env={**self.environ, "PYTHONPATH": f"{ROOT}:{self.house.folder}", "PATH": os.environ["PATH"]},
            cwd=self.house.folder,
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.keep(f"balancer {' '.join(words)} {done.returncode}", done.stdout + done.stderr)

    def keep(self, what: str, said: bytes) -> None:
        self.said[f"{len(self.said)} {what}"] = said.decode("utf-8", "replace")

    # What is done.

    def traffic(self) -> None:
        plant = self.planted.plant
        secret = {
            "Authorization": f"Bearer {plant('a credential of a client')}",
            "Cookie": f"session={plant('a cookie of a client')}",
            "X-API-Key": plant("a wrong key of an app"),
            "X-Tenant-Token": plant("what a limit goes by"),
            "Proxy-Authorization": f"Basic {plant('a credential for proxies')}",
        }
        query = f"?token={plant('a query of a client')}&password={plant('a password in a query')}"
        for path in (
            "/",
            "/crash",
            "/nobody",
            "/limited",
            "/limited",
            "/limited",
            "/staff",
            "/apps",
            "/users",
            "/gated",
        ):
            self.site(request("GET", path + query, secret), path)
            self.site(request("POST", path + query, secret, b"body " + plant("a body").encode()), path)
        password = self.planted.texts["a user's password"]
        basic = base64.b64encode(f"alice:{password}".encode()).decode()
        self.site(request("GET", "/staff", {"Authorization": f"Basic {basic}"}), "staff")
        self.site(request("GET", "/staff", {"Authorization": f"Basic {basic[:-4]}AAAA"}), "staff, wrong")
        self.site(request("GET", "/apps", {"X-API-Key": self.planted.texts["a key of an app"]}), "apps")
        self.site(request("GET", "/users", {"Authorization": f"Bearer {self._token()}"}), "users")
        self.site(request("GET", "/users", {"Authorization": f"Bearer {self._token()}x"}), "users, wrong")
        self.site(f"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nCookie: {secret['Cookie']}\r\n\r\n".encode(), "two hosts")
        self.site(f"GET / HTTP/1.1\r\nAuthorization {secret['Authorization']}\r\n\r\n".encode(), "no colon")

    def _token(self) -> str:
        def part(data: bytes) -> str:
            return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

        head, claims = part(b'{"alg":"HS256","typ":"JWT"}'), part(b'{"sub":"bob","exp":%d}' % (time.time() + 600))
        signature = hmac.digest(
            self.planted.texts["the secret of tokens"].encode(), f"{head}.{claims}".encode(), "sha256"
        )
        return f"{head}.{claims}.{self.planted.plant('the signature of a token', part(signature))}"

    def keys_and_sessions(self) -> None:
        """The answers that show a secret to whoever it is for are not kept; all that comes after them is."""
        house, planted = self.house, self.planted
        json_ = {"Content-Type": "application/json"}
        made = house.ask(request("POST", "/api/keys", {**house.key("admin"), **json_}, b'{"id": "new"}'), OWNER)
        text = planted.plant("a key made over the API", made.json["key"])
        planted.plant("the hash of a key", hashlib.sha256(text.encode()).hexdigest())
        body = json.dumps({"key": house.keys["admin"]}).encode()
        login = house.ask(request("POST", "/api/session", json_, body), OWNER)
        cookie = (login.field("Set-Cookie") or "").partition(";")[0]
        planted.plant("the cookie of a session", cookie.partition("=")[2])
        token = planted.plant("the token of a session", login.json["csrf_token"])
        origin = {"Cookie": cookie, "Origin": "http://localhost"}
        drain = "/api/infrastructure/load-balancer/pools/web/servers/a/drain"
        for fields in (origin, {**origin, "X-CSRF-Token": token}, {**origin, "X-CSRF-Token": token + "x"}):
            self.admin("POST", drain, fields)
        self.admin("POST", drain.replace("drain", "ready"), {"X-API-Key": text})
        self.admin("DELETE", f"/api/keys/{text}")
        self.admin("GET", f"/api/keys/{quote(text)}?key={text}")
        self.admin("GET", f"/livez?key={text}")
        self.admin("GET", f"/api/audit?actor={text[:60]}")
        self.admin("POST", "/api/session", json_, json.dumps({"key": [text]}).encode())
        self.admin(
            "POST", "/api/session", json_, json.dumps({"key": planted.plant("a wrong key at the login")}).encode()
        )
        self.admin("POST", "/api/keys", None, json.dumps({"id": text}).encode())
        self.admin("GET", "/api/keys", {"X-API-Key": planted.plant("a wrong key")})
        self.admin("GET", "/api/keys", {"Authorization": f"Basic {planted.plant('a key in the wrong form')}"})
        self.admin("GET", "/api/keys", {"Authorization": f"Bearer {text}", "X-API-Key": text})
        self.admin("DELETE", "/api/keys/new")
        self.admin("DELETE", "/api/session", {**origin, "X-CSRF-Token": token})

    def cdn(self) -> None:
        """Everything that is asked of a provider, which refuses it all and repeats what it was sent."""
        files, json_ = (
            "/api/infrastructure/cdn/files",
            {**self.house.key("operator"), "Content-Type": "application/json"},
        )
        secret = self.planted.plant("a query of a purge")
        self.admin("GET", "/api/infrastructure/cdn/status")
        self.admin("POST", f"{files}?name=a.txt&overwrite=true", self.house.key("operator"), b"hello")
        self.admin("DELETE", f"{files}/document/a.txt", self.house.key("operator"))
        order = json.dumps({"patterns": [f"/a?token={secret}"], "wait": True, "timeout": 10}).encode()
        key = self.planted.plant("an idempotency key")
        self.admin("POST", "/api/infrastructure/cdn/purge", {**json_, "Idempotency-Key": key}, order)
        picture = json.dumps({"url": "image/cat.jpg", "width": 320}).encode()
        self.admin("POST", "/api/infrastructure/cdn/optimize-image", json_, picture)
        for words in (
            ("cdn", "status"),
            ("cdn", "ls"),
            ("cdn", "upload", "probe.bin"),
            ("cdn", "purge", "/b"),
            ("cdn", "purges"),
            ("cdn", "stats"),
        ):
            self.command(*words, "-c", str(self.house.file))
        self.site(request("GET", "/img/AAAA/w=1/local/image/cat.jpg", {}), "a picture with a wrong signature")
        self.site(request("GET", "/", {"X-Origin-Secret": self.planted.texts["what a CDN shows"]}), "as the CDN")
        self.site(request("GET", "/", {"X-Origin-Secret": self.planted.plant("a wrong secret of a CDN")}), "as no CDN")

    def configurations(self) -> None:
        """Right ones, wrong ones, and those with secrets in the very places that are wrong."""
        house, planted = self.house, self.planted
        good = house.file.read_text()
        whole = yaml.safe_load(good)
        self.admin("POST", "/api/config/reload")
        wrong = {
            "redis": {"url": f"redis:/user:{planted.plant('a password in a wrong URL')}@x", "timeout": "0s"},
            "auth": {
                "users": {"jwt": {"secret": planted.plant("a short secret")[:20], "algorithms": ["RS256"]}},
                "staff": {"basic": {"users": {"alice": planted.plant("a password in the place of its hash")}}},
                "apps": {"api_keys": {"keys": {"a": {"hash": planted.plant("a key in the place of its hash")}}}},
            },
            "cdn": {
                "provider": planted.plant("a credential in the place of a provider"),
                "url": f"https://{planted.plant('a credential in the URL of a CDN')}@cdn.example.com",
                "api_key": [planted.plant("a credential in a list")],
                "images": {"secrets": [planted.plant("a short secret of pictures")[:12]]},
                "bunny": {"storage_password": {"is": planted.plant("a password in a mapping")}},
            },
            "require_cdn": {"secret": [planted.plant("the secret of a CDN in a list")]},
            "admin": {
                **whole["admin"],
                "keys": [{"id": "x", "hash": planted.plant("an admin key in the place of its hash")}],
            },
            "pools": {
                "web": {
                    "servers": [f"http://user:{planted.plant('a password in the URL of a server')}@127.0.0.1:1"],
                    "health": {"active": {"headers": {"Authorization": f"Bearer\n{planted.plant('a broken field')}"}}},
                }
            },
        }
        as_yaml = {**house.key("admin"), "Content-Type": "application/yaml"}
        for name, part in wrong.items():
            text = yaml.safe_dump({**whole, name: part})
            house.file.write_text(text)
            self.admin("POST", "/api/config/reload")
            self.command("check", str(house.file))
            self.command("check", str(house.file), "--format", "json")
            self.command("config", "show", "-c", str(house.file))
            os.kill(self.process, signal.SIGHUP)
            self.admin(
                "POST", "/api/config/check", {**house.key("admin"), "Content-Type": "application/yaml"}, text.encode()
            )
            patch = json.dumps({name: part}).encode()
            for match in ({"If-Match": "*"}, {}):
                fields = {**house.key("admin"), **match}
                self.admin("PATCH", "/api/config", {**fields, "Content-Type": "application/merge-patch+json"}, patch)
                self.admin("PUT", "/api/config", {**as_yaml, **match}, text.encode())
        house.file.write_text(good)
        self.admin("POST", "/api/config/reload")
        for words in (
            ("check", str(house.file)),
            ("config", "show", "-c", str(house.file)),
            ("config", "show", "--json", "-c", str(house.file)),
            ("status", "--json", "-c", str(house.file)),
            ("key", "list", "--json", "-c", str(house.file)),
            ("limits", "-c", str(house.file)),
            ("version", "-v"),
        ):
            self.command(*words)

    def every_get(self) -> None:
        document = self.house.ask(request("GET", "/openapi.json"), OWNER).json
        filled = {"{pool}": "web", "{server}": "a", "{id}": "admin", "{policy}": "each"}
        for path, operations in document["paths"].items():
            if "get" in operations:
                for name, value in filled.items():
                    path = path.replace(name, value)
                if "{ticket}" in path:
                    path = path.replace("{ticket}", self.a_ticket())
                assert "{" not in path, path
                for query in QUERIES.get(path) or QUERIES.get(path.rpartition("/")[2], ("",)):
                    answer = self.admin("GET", path + query)
                    assert answer.status in (200, 404, 502, 503), (path, answer)

    def a_ticket(self) -> str:
        items = self.admin("GET", "/api/infrastructure/cdn/purges").json["items"]
        return str(items[0]["ticket"]) if items else "pg_0"

    @property
    def process(self) -> int:
        """Its number, as the process that listens at the port: the log does not tell it."""
        (number,) = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and str(self.house.file).encode() in _command_line(entry)
        ]
        return number


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def repeater() -> Iterator[str]:
    """A provider that takes nothing, and tells with what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = json.dumps({"Message": f"not with {dict(self.headers)} at {self.path}"}).encode()
            self.send_response(401, f"Not with {self.headers.get('AccessKey')}")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  # the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in http.server
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def endpoints(url: str) -> dict[str, str]:
    return {f"CDN_ENDPOINT_{name}": url for name in ("API", "STORAGE", "STATISTICS")}


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    folder = tmp_path_factory.mktemp("secrets")
    planted = Planted()
    plant = planted.plant
    redis = f"redis://{plant('the user of Redis')}:{plant('the password of Redis')}@127.0.0.1:1/0"
    environ = {
        "ADMIN_API_KEY": plant("ADMIN_API_KEY"),
        "BALANCER_SECRET": plant("BALANCER_SECRET"),
        "LOG_LEVEL": "debug",
        "REDIS": f"{redis}?password={plant('the password of Redis in its query')}",
        "PROBE_TOKEN": plant("a variable of health checks"),
        "UPSTREAM_KEY": plant("a variable for servers"),
        "JWT_SECRET": plant("the secret of tokens"),
        "ORIGIN_SECRET": plant("what a CDN shows"),
        "IMAGE_SECRET": plant("what pictures were signed with"),
        "CDN_PROVIDER": "bunny",
        "CDN_API_KEY": plant("CDN_API_KEY"),
        "CDN_BUNNY_STORAGE_PASSWORD_FILE": str(folder / "storage.txt"),
        "CDN_BUNNY_TOKEN_KEY": plant("CDN_BUNNY_TOKEN_KEY"),
    }
    (folder / "storage.txt").write_text(plant("a file that a variable names"))
    (folder / "probe.bin").write_bytes(b"hello")
    house = Full(folder, settings(planted, folder))
    for role, text in house.keys.items():
        plant(f"the key of the {role}", text)
        plant(f"the hash of the key of the {role}", hashlib.sha256(text.encode()).hexdigest())
    with repeater() as url, opened(house, **environ, **endpoints(url)) as running:
        drive = Drive(running, planted, {**environ, **endpoints(url)})
        drive.traffic()
        drive.keys_and_sessions()
        drive.cdn()
        drive.every_get()
        drive.configurations()
        drive.every_get()
        os.kill(drive.process, signal.SIGUSR1)
        drive.traffic()
    return drive


def test_what_was_done_has_left_traces_to_be_searched(driven: Drive) -> None:
    """A search of nothing finds nothing: each kind of output is there, and says what it should."""
    house = driven.house
    log = house.log.read_text()
    for word in ("strategy_failed", "reload refused", "a wrong key", "admin_call"):
        assert word in log, word
    assert "/nobody?token=***&password=***" in house.access.read_text()
    assert '"denied"' in (house.folder / "audit-denied.jsonl").read_text()
    audit = (house.folder / "audit.jsonl").read_text()
    for word in ('"begin_session"', '"create_key"', '"reload_config"', '"SIGHUP"'):
        assert word in audit, word
    assert (house.folder / "keys.json").exists()
    said = driven.said
    assert {key.rsplit(" ", 1)[-1] for key in said if "/api/config/reload" in key} == {"200", "422"}
    for done in ("cdn/status 200", "cdn/files?name=a.txt&overwrite=true 502", "cdn/purge 502", "balancer cdn status"):
        assert any(done in key for key in said), (done, [key for key in said if "cdn" in key])
    assert any("401" in text for key, text in said.items() if "cdn/files?name" in key)
    for command in ("config show", "check", "key list", "status"):
        assert any(command in key and key.endswith(" 0") for key in said), command
    assert any("/metrics 200" in key for key in said)


def test_no_answer_of_any_listener_and_no_command_repeats_a_secret(driven: Drive) -> None:
    leaks = {what: found for what, said in driven.said.items() if (found := driven.planted.found(said))}
    assert leaks == {}


def test_no_log_has_a_secret(driven: Drive) -> None:
    for log in (driven.house.log, driven.house.access):
        assert {name: line for line in log.read_text().splitlines() for name in driven.planted.found(line)} == {}, log


def test_what_is_kept_of_the_file_is_what_stands_in_it_and_no_variable_s_value(driven: Drive) -> None:
    """Revisions are kept as they were written, so that one can go back: with `${...}`, for their owner alone."""
    history = (driven.house.folder / "overlay.history.json").read_text()
    written = driven.house.file.read_text()
    assert driven.planted.found(history) <= driven.planted.found(written)
    for name in ("a variable of health checks", "the secret of tokens", "the password of Redis", "ADMIN_API_KEY"):
        assert driven.planted.texts[name] not in history


KEPT_AS_WRITTEN: Final = "overlay.history.json"
NOT_OURS: Final = (
    "balancer.yaml",
    "probe.txt",
    "probe.bin",
    "storage.txt",
    "plug.py",
    "program.log",
    "access.log",
)


def test_what_is_kept_has_no_secret_and_is_for_its_owner_alone(driven: Drive) -> None:
    kept = [path for path in driven.house.folder.iterdir() if path.is_file() and path.name not in NOT_OURS]
    assert {"audit.jsonl", "audit-denied.jsonl", "keys.json"} <= {path.name for path in kept}
    for path in kept:
        assert path.stat().st_mode & 0o077 == 0, path
        found = driven.planted.found(path.read_text(errors="replace"))
        if path.name == KEPT_AS_WRITTEN:
            continue
        if path.name.startswith("cdn-purges.db"):  # an order goes on after a restart, so it is kept as it was given
            found -= {"a query of a purge", "an idempotency key"}
        if path.name == "keys.json":  # which is for hashes
            found = {name for name in found if not name.startswith("the hash of")}
        assert found == set(), path
