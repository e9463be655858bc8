"""Keys that are made and taken back while the balancer runs."""

import asyncio
import json
import stat
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from api.auth import BURST_OF_ALL, PACE_OF_ALL, Keyring, new_key
from api.key_store import KeyStore, LastUse
from api.problems import Problem
from config.addresses import network
from config.key_file import KeptKey, load_keys, save_keys
from config.schema import Admin, AdminKey, Config
from config.state import StateError
from tests.api.desk import BALANCER, Answer, Desk, known_key

STATUS = f"{BALANCER}/status"


async def made(desk: Desk, **settings: object) -> str:
    answer = await desk.ask("POST", "/api/keys", settings)
    assert answer.status == 201, answer.content
    return str(answer.json["key"])


async def with_key(desk: Desk, text: str, path: str = STATUS) -> Answer:
    return await desk.ask("GET", path, role=None, headers={"X-API-Key": text})


async def test_a_key_that_is_made_opens_at_once_and_its_text_is_kept_nowhere(desk: Desk) -> None:
    answer = await desk.ask("POST", "/api/keys", {"id": "deploy", "role": "operator", "expires": "2999-01-31"})
    assert answer.status == 201
    assert answer.headers["Location"] == "/api/keys/deploy"
    text = str(answer.json["key"])
    assert (await with_key(desk, text)).status == 200
    assert (await with_key(desk, text, "/api/keys")).status == 403
    listed = await desk.ask("GET", "/api/keys")
    secret, hashed = text.split("_", 2)[2], sha256(text.encode()).hexdigest()
    for told in (listed.content, (await desk.ask("GET", "/api/keys/deploy")).content):
        assert secret.encode() not in told
        assert hashed.encode() not in told
    file = desk.room.state.parent / "keys.json"
    assert secret not in file.read_text()
    assert hashed in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_key_survives_a_restart_and_a_revoked_one_stays_gone(desk: Desk) -> None:
    kept, gone = await made(desk, id="kept"), await made(desk, id="gone")
    assert (await desk.ask("DELETE", "/api/keys/gone")).status == 204
    assert (await with_key(desk, gone)).status == 401
    again = Keyring(
        desk.services.keyring._config, None, desk.clock, store=KeyStore(desk.room.state.parent / "keys.json")
    )
    assert again.opened(kept, "127.0.0.1").id == "kept"
    with pytest.raises(Problem, match="not known"):
        again.opened(gone, "127.0.0.1")


async def test_keys_are_listed_with_their_source_and_their_last_use(desk: Desk) -> None:
    text = await made(desk, id="seen", networks=["127.0.0.1", "10.0.0.0/8"])
    before = (await desk.ask("GET", "/api/keys/seen")).json
    assert before["last_used"] is None
    assert (before["source"], before["created_by"], before["expired"]) == ("api", "admin", False)
    assert before["networks"] == ["127.0.0.1", "10.0.0.0/8"]
    await with_key(desk, text)
    used = (await desk.ask("GET", "/api/keys/seen")).at("last_used")
    assert isinstance(used, dict)
    assert used["address"] == "127.0.0.1"
    ids = [(item["id"], item["source"]) for item in (await desk.ask("GET", "/api/keys")).json["items"]]  # type: ignore[index, union-attr, call-overload]
    assert ids == [("viewer", "file"), ("operator", "file"), ("admin", "file"), ("seen", "api")]


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"id": "two words"}, 422, "/id"),
        ({"id": ""}, 422, "/id"),
        ({"role": "root"}, 422, "/role"),
        ({"expires": "tomorrow"}, 422, "/expires"),
        ({"expires": "2027-02-30"}, 422, "/expires"),
        ({"networks": ["10.0.0.1/8"]}, 422, "/networks/0"),
        ({"networks": ["home"]}, 422, "/networks/0"),
        ({"hash": "sha256:" + "0" * 64}, 422, "/hash"),
        ({"id": "admin"}, 409, None),
    ],
)
async def test_a_key_that_can_not_be_is_refused_and_told_why(
    desk: Desk, body: dict[str, object], status: int, pointer: str | None
) -> None:
    answer = await desk.ask("POST", "/api/keys", body)
    assert answer.status == status, answer.content
    if pointer is not None:
        assert list(answer.faults) == [pointer]
    assert desk.services.keyring.store.keys == {}


async def test_what_is_left_out_may_be_null_as_well(desk: Desk) -> None:
    answer = await desk.ask("POST", "/api/keys", {"id": None, "role": "viewer", "expires": None})
    assert answer.status == 201
    assert answer.at("entry", "expires") is None


async def test_a_key_that_has_expired_already_is_not_made(desk: Desk) -> None:
    answer = await desk.ask("POST", "/api/keys", {"expires": "2020-01-01"})
    assert (answer.status, answer.json["detail"]) == (422, "the key would have expired already: 2020-01-01 is over")


async def test_two_who_make_a_key_of_one_id_do_not_both_get_it(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.ask("POST", "/api/keys", {"id": "one"}) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]


async def test_a_key_of_the_file_is_taken_back_in_the_file(desk: Desk) -> None:
    answer = await desk.ask("DELETE", "/api/keys/viewer")
    assert answer.status == 409
    assert "take it out of admin.keys there, and reload" in str(answer.json["detail"])
    assert (await desk.ask("GET", STATUS, role="viewer")).status == 200


async def test_the_last_admin_does_not_lock_everybody_out_unawares(desk: Desk) -> None:
    text = await made(desk, id="boss", role="admin")
    desk.room.write(desk.keys.lines.replace("id: admin", 'expires: "2020-01-01", id: admin'))
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    mine = {"X-API-Key": text}
    answer = await desk.ask("DELETE", "/api/keys/boss", role=None, headers=mine)
    assert answer.status == 409
    assert "boss is the last key of role admin" in str(answer.json["detail"])
    assert (await desk.ask("DELETE", "/api/keys/boss?last=true", role=None, headers=mine)).status == 204
    assert (await desk.ask("GET", STATUS, role=None, headers=mine)).status == 401


async def test_an_admin_among_others_may_take_back_his_own_key(desk: Desk) -> None:
    text = await made(desk, id="boss", role="admin")
    assert (await desk.ask("DELETE", "/api/keys/boss", role=None, headers={"X-API-Key": text})).status == 204


async def test_what_the_file_calls_by_an_id_goes_before_what_the_api_made(desk: Desk) -> None:
    text = await made(desk, id="deploy")
    theirs, entry = new_key("viewer", "deploy")
    desk.room.write(desk.keys.lines.replace("keys: [", f'keys: [{{id: deploy, hash: "{entry.hash}"}}, '))
    assert (await desk.ask("POST", "/api/config/reload")).status == 200
    assert (await with_key(desk, text)).status == 401
    assert (await with_key(desk, theirs)).status == 200


async def test_a_key_that_can_not_be_kept_is_not_made(desk: Desk) -> None:
    folder = desk.room.state.parent
    folder.mkdir(exist_ok=True)
    (folder / "keys.json").mkdir()
    answer = await desk.ask("POST", "/api/keys", {"id": "lost"})
    assert answer.status == 507
    assert desk.services.keyring.store.keys == {}


# Where and until when.


def ring(*keys: AdminKey, uses: LastUse | None = None) -> Keyring:
    config = Config(listeners={}, pools={}, routes={}, admin=Admin(keys=keys))
    return Keyring(lambda: config, None, lambda: 0.0, lambda: datetime(2027, 1, 31, tzinfo=UTC), uses=uses)


@pytest.mark.parametrize(
    ("networks", "address", "opens"),
    [
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], "11.1.2.3", False),
        (["2001:db8::/32"], "2001:db8::9%eth0", True),
        (["2001:db8::/32"], "10.1.2.3", False),
        (["127.0.0.0/8"], "", True),
        (["10.0.0.0/8"], "", False),
        (["10.0.0.0/8", "192.0.2.7"], "192.0.2.7", True),
        ([], "203.0.113.9", True),
    ],
)
def test_a_key_opens_from_its_networks_alone(networks: list[str], address: str, opens: bool) -> None:
    text, key = new_key("viewer", "deploy", networks=tuple(map(network, networks)))
    if opens:
        assert ring(key).opened(text, address).id == "deploy"
    else:
        with pytest.raises(Problem, match="the key deploy may not be used from") as caught:
            ring(key).opened(text, address)
        assert caught.value.status == 403


def test_all_addresses_together_guess_no_faster_than_the_limit_for_all() -> None:
    now = 0.0
    config = Config(listeners={}, pools={}, routes={}, admin=Admin(keys=(known_key("right"),)))
    text, long = new_key()
    keyring = Keyring(
        lambda: config.model_copy(update={"admin": Admin(keys=(known_key("right"), long))}), None, lambda: now
    )

    def status(guess: str, address: str) -> int:
        try:
            keyring.opened(guess, address)
        except Problem as problem:
            return problem.status
        return 200

    tried = [status(f"wrong{n}", f"10.0.{n >> 8}.{n & 255}") for n in range(BURST_OF_ALL + 20)]
    assert tried == [401] * BURST_OF_ALL + [429] * 20
    assert status("right", "192.0.2.1") == 429  # somebody thought of it: it is not to be told from wrong ones
    assert status(text, "192.0.2.1") == 200  # nobody finds such a one
    now += PACE_OF_ALL
    assert status("right", "192.0.2.1") == 200


# What is kept.


async def test_the_last_use_is_kept_lazily_and_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "uses.json"
    at = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)
    text, key = new_key("viewer", "deploy")
    uses = LastUse(file, lambda: at)
    ring(key, uses=uses).opened(text, "::ffff:192.0.2.7")
    assert not file.exists()
    await uses.keep([key])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = LastUse(file).of(key)
    assert again is not None
    assert (again.at, again.address) == (at, "192.0.2.7")
    _, other = new_key("viewer", "deploy")
    assert LastUse(file).of(other) is None  # another key of that id has not been used


async def test_a_last_use_that_can_not_be_kept_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text, key = new_key()
    uses = LastUse(tmp_path / "file" / "uses.json")
    ring(key, uses=uses).opened(text, "127.0.0.1")
    await uses.keep([key])
    assert uses.of(key) is not None


async def test_uses_of_keys_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    uses = LastUse(None)
    _, key = new_key()
    uses.note(key, "127.0.0.1")
    await uses.keep([])
    assert uses.of(key) is None


def kept(id_: str = "a") -> KeptKey:
    _, key = new_key("operator", id_, "2027-01-31", (network("10.0.0.0/8"),))
    return KeptKey(**dict(key), created="2026-01-01T00:00:00+00:00", created_by="admin")


def test_a_file_of_keys_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    keys = {"a": kept("a"), "b": kept("b")}
    save_keys(tmp_path / "keys.json", keys)
    assert load_keys(tmp_path / "keys.json") == (keys, ())
    assert load_keys(tmp_path / "none.json") == ({}, ())


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys": [{}]}', b'{"keys": 1}', b"\xff", b'{"keys": [], "more": 1}'])
def test_a_file_of_keys_that_can_not_be_used_opens_nothing_and_is_set_aside(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(content)
    keys, problems = load_keys(file)
    assert keys == {}
    assert [problem.file for problem in problems] == [str(file)] * 2
    assert (tmp_path / "keys.json.bad").read_bytes() == content


def test_what_is_wrong_with_a_file_of_keys_repeats_none_of_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{"id": "a", "hash": "a-secret"}]}))
    _, problems = load_keys(file)
    assert "a-secret" not in " ".join(map(str, problems))


async def test_keys_of_a_disk_that_fails_stay_as_they_are(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    await store.change(lambda keys: {**keys, "a": kept()})
    (tmp_path / "keys.json").unlink()
    (tmp_path / "keys.json").mkdir()
    with pytest.raises(StateError):
        await store.change(lambda keys: {})
    assert list(store.keys) == ["a"]


@pytest.mark.parametrize(
    ("role", "expires", "made"), [("admin", None, False), ("viewer", None, True), ("admin", "2020-01-01", True)]
)
async def test_a_key_for_the_process_is_made_only_where_no_admin_has_one(
    role: str, expires: str | None, made: bool
) -> None:
    store = KeyStore(None)
    _, key = new_key("admin" if role == "admin" else "viewer", "a", expires)
    store.keys = {"a": KeptKey(**dict(key), created="2026-01-01T00:00:00+00:00", created_by="x")}
    config = Config(listeners={}, pools={}, routes={})
    keyring = Keyring(lambda: config, None, lambda: 0.0, store=store)
    text = keyring.make_one_if_needed()
    assert (text is not None) is made
    if text is not None:
        assert keyring.opened(text, "127.0.0.1").role == "admin"
