"""/api/keys: who may use the API, and since when; keys made here are in force at once."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from api.auth import Held, Role, new_key
from api.key_store import MOST
from api.operation import Call, Model, Operation, Reply
from api.problems import Problem
from api.services import Services
from api.translation import as_problems
from balancer.telemetry.redaction import without_keys
from config.addresses import network, network_text
from config.key_file import KeptKey
from config.problems import Unfit, nearest
from config.schema import AdminKey

KEYS = "/api/keys"


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date such as 2027-01-31") from None
    return text


def _network(text: str) -> str:
    try:
        return network_text(network(text))
    except Unfit as error:
        raise ValueError(str(error)) from None


From = Annotated[
    str,
    AfterValidator(_network),
    Field(
        max_length=50,
        examples=["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"],
        json_schema_extra={"pattern": "^[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?$"},
    ),
]
Day = Annotated[
    str,
    AfterValidator(_day),
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2027-01-31"], json_schema_extra={"format": "date"}),
]


def _name(text: str) -> str:
    if without_keys(text) != text:
        raise ValueError("must be a name for the key, and not a key")
    return text


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["alice", "deploy-1"]), AfterValidator(_name)]


class NewKey(Model):
    """A key to be made."""

    id: Id | None = None
    """Its name in lists, logs and the audit trail; by default a random one."""
    role: Role = "viewer"
    """What it allows; not more than one's own."""
    expires: Day | None = None
    """The last day on which it works, by UTC; null: it works until it is taken back."""
    networks: Annotated[tuple[From, ...], Field(max_length=100)] = ()
    """Where it may be used from; none: from everywhere."""


class KeyUse(Model):
    """When and from where a key was used last."""

    at: datetime
    address: str
    """"unix" for a Unix socket."""


class AdminKeyAnswer(Model):
    """What is known of a key; its text is nowhere."""

    id: str
    role: Role
    source: Literal["file", "environment", "api", "process"]
    """file: `admin.keys`; environment: ADMIN_API_KEY; api: made here; process: printed at the start."""
    expires: str | None
    expired: bool
    networks: list[str]
    created: datetime | None
    """null: not made here."""
    created_by: str | None
    last_used: KeyUse | None
    """null: never, as far as is known; what is kept on disk may be a minute old after a crash."""


class KeyList(Model):
    """Every key that opens the API."""

    items: list[AdminKeyAnswer]
    next: None = None
    """There are never more."""


class NewKeyAnswer(Model):
    """A key that was made."""

    key: str
    """Its text, which is shown only now."""
    entry: AdminKeyAnswer


class RevokeQuery(Model):
    """How sure one is."""

    last: bool = False
    """Also the last key of role admin."""


class Keys:
    """Keys of the file are the file's: they are shown here, and changed there."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._keyring = services.keyring

    def operations(self) -> tuple[Operation, ...]:
        unkept = {507: "The change could not be kept on disk, and so was not made."}
        one = KEYS + "/{id}"
        unknown = {404: "No such key."}
        return (
            Operation("GET", KEYS, "admin", self.list_keys, {200: "Every key."}),
            Operation(
                "POST",
                KEYS,
                "admin",
                self.create_key,
                {201: "Made, and in force."},
                {409: "There is a key of that id, or there are too many.", **unkept},
            ),
            Operation("GET", one, "admin", self.get_key, {200: "The key."}, unknown),
            Operation(
                "DELETE",
                one,
                "admin",
                self.revoke_key,
                {204: "It opens nothing any more, and its sessions are over."},
                {**unknown, 409: "It is not one that was made here, or it is the last of its role.", **unkept},
            ),
        )

    async def list_keys(self, call: Call) -> KeyList:
        """Every key that opens the API, with its last use; no key's text."""
        return KeyList(items=[self._answer(held) for held in self._keyring.held()])

    async def get_key(self, call: Call) -> AdminKeyAnswer:
        """One key."""
        return self._answer(self._held(call))

    async def create_key(self, call: Call, body: NewKey) -> Reply[NewKeyAnswer]:
        """Make a key, in force at once.

        Its text is in the answer and nowhere else: only its hash is kept, apart from the configuration's file.
        """
        assert call.caller is not None  # the operation has a role
        if not call.caller.may(body.role):
            raise Problem(403, f"a key of role {body.role} can be made only with one")
        text, made = new_key(body.role, body.id or "", body.expires, tuple(map(network, body.networks)))
        if self._keyring.expired(made):
            raise Problem(422, f"the key would have expired already: {body.expires} is over")
        key = KeptKey(
            **{name: getattr(made, name) for name in AdminKey.model_fields},
            created=self._services.wall().astimezone(UTC).isoformat(timespec="seconds"),
            created_by=call.caller.id,
        )

        def add(keys: dict[str, KeptKey]) -> dict[str, KeptKey]:
            if key.id in keys or any(held.key.id == key.id for held in self._keyring.held()):
                raise Problem(409, f"there is a key {key.id} already: revoke it first, or take another id")
            if len(keys) >= MOST:
                raise Problem(409, f"there are {MOST} keys already: revoke those that are not used")
            return {**keys, key.id: key}

        with as_problems():
            await self._keyring.store.change(add)
        call.note(f"admin.keys.{key.id}", None, _told(key))
        return Reply(
            NewKeyAnswer(key=text, entry=self._answer(Held(key, "api"))), 201, {"Location": f"{KEYS}/{key.id}"}
        )

    async def revoke_key(self, call: Call, query: RevokeQuery) -> None:
        """Take a key back at once, with the sessions that began with it.

        The last key of role admin goes only with `last=true`: nobody could make another one over the API.
        """
        id_ = call.path["id"]

        def remove(keys: dict[str, KeptKey]) -> dict[str, KeptKey]:
            held = self._held(call)
            if held.source != "api":
                raise Problem(409, _ELSEWHERE[held.source].format(id=id_))
            others = [other for other in self._keyring.held() if other.key.role == "admin" and other != held]
            alone = held.key.role == "admin" and all(self._keyring.expired(other.key) for other in others)
            if alone and not query.last:
                raise Problem(
                    409,
                    f"{id_} is the last key of role admin: without it nobody can make keys or change what is "
                    "configured until the file or ADMIN_API_KEY gives one; last=true revokes it all the same",
                )
            return {name: key for name, key in keys.items() if name != id_}

        before = self._held(call).key
        with as_problems():
            await self._keyring.store.change(remove)
        call.note(f"admin.keys.{id_}", _told(before), None)

    def _held(self, call: Call) -> Held:
        id_ = call.path["id"]
        for held in self._keyring.held():
            if held.key.id == id_:
                return held
        close = nearest(id_[:64], [held.key.id for held in self._keyring.held()])
        raise Problem(404, f"there is no key {id_[:64]!r}" + (f": did you mean {close!r}?" if close else ""))

    def _answer(self, held: Held) -> AdminKeyAnswer:
        key, use = held.key, self._keyring.uses.of(held.key)
        made = key if isinstance(key, KeptKey) else None
        return AdminKeyAnswer(
            id=key.id,
            role=key.role,
            source=held.source,
            expires=key.expires,
            expired=self._keyring.expired(key),
            networks=list(map(network_text, key.networks)),
            created=datetime.fromisoformat(made.created) if made is not None else None,
            created_by=made.created_by if made is not None else None,
            last_used=KeyUse(at=use.at, address=use.address) if use is not None else None,
        )


def _told(key: AdminKey) -> str:
    """A key in the audit trail."""
    until = f", until {key.expires}" if key.expires is not None else ""
    places = f", from {' '.join(map(network_text, key.networks))}" if key.networks else ""
    return f"{key.role}{until}{places}"


_ELSEWHERE = {
    "file": "the key {id} is in the configuration's file: take it out of admin.keys there, and reload",
    "environment": "the key {id} is the environment's: start the balancer without the variable ADMIN_API_KEY",
    "process": "the key {id} was made for this run of the balancer alone and ends with it; the next start makes none "
    "where there is another key of role admin",
}
