"""The people behind the traffic: what they do next, and what they learn from each answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from examples.community.seed import MODERATORS, PASSWORD
from examples.community.seed_text import BODIES, COMMENTS, COMMUNITIES

T = TypeVar("T")

MEMBERS = 100  # sessions kept in use; the oldest visitor goes home when another comes
POSTS = 200  # latest posts that people still read
FILES = 500  # avatars that are kept as a browser would
REASONS = ("spam", "abuse", "off_topic", "nsfw", "other")


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody with a session."""

    id: int
    cookie: str


@dataclass(frozen=True, slots=True)
class Act:
    """One request to be made, and by whom. `subject` is the post, report or user that it is about."""

    name: str
    method: str
    path: str
    member: Member | None = None
    body: dict[str, object] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    subject: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `document` is its JSON, or None; `cookie` a new session's token."""

    status: int
    document: object = None
    cookie: str | None = None
    etag: str | None = None


class Crowd:
    """Chooses acts in the mixture of a small community, most of it reading.

    Knows only what answers have told it, so it can begin with any database; whoever is told that their
    session or a post is gone forgets it. Nobody touches a network here.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._members: deque[Member] = deque(maxlen=MEMBERS)
        self._moderator: Member | None = None
        self._communities: list[tuple[int, str]] = []
        self._posts: deque[int] = deque(maxlen=POSTS)
        self._own: deque[tuple[int, Member]] = deque(maxlen=POSTS)
        self._reports: deque[int] = deque(maxlen=50)
        self._etags: dict[str, str] = {}  # by path, of at most FILES
        # fmt: off
        self._acts: tuple[tuple[Callable[[], Act | None], float], ...] = (
            (self._home, 18), (self._community, 14), (self._post, 20), (self._thread, 6), (self._top, 3),
            (self._avatar, 16), (self._style, 4), (self._register, 3), (self._join, 2), (self._write, 3),
            (self._comment, 6), (self._like, 4), (self._report, 1), (self._resolve, 1), (self._delete, 0.4),
            (self._found, 0.1),
        )
        # fmt: on

    def next(self) -> Act:
        """The next request; before anything is known, those that find something out."""
        if not self._communities:
            return Act("look around", "GET", "/api/communities")
        if not self._posts:
            return Act("look around", "GET", "/api/posts")
        choices, weights = zip(*self._acts, strict=True)
        return self._rng.choices(choices, weights)[0]() or self._register()

    def learn(self, act: Act, answer: Answer) -> None:
        if answer.status == 401 and act.member is not None:
            self._forget(act.member)
        elif answer.status == 404 and act.subject in self._posts:
            self._posts.remove(act.subject)
        elif act.name in ("avatar", "style"):
            if answer.etag and answer.status == 200 and len(self._etags) < FILES:
                self._etags[act.path] = answer.etag
        elif 200 <= answer.status < 300:
            self._note(act, answer)

    def _note(self, act: Act, answer: Answer) -> None:
        made = number(answer.document, "id")
        match act.name:
            case "look around" if act.path == "/api/communities":
                found = listed(answer.document)
                self._communities = [(number(one, "id"), text(one, "slug")) for one in found]
            case "look around":
                self._posts.extend(reversed([number(one, "id") for one in listed(answer.document)]))
            case "register" if answer.cookie:
                self._members.append(Member(made, answer.cookie))
            case "log in" if answer.cookie:
                self._moderator = Member(made, answer.cookie)
            case "write" if act.member:
                self._posts.append(made)
                self._own.append((made, act.member))
            case "report":
                self._reports.append(made)
            case "found" if len(self._communities) < 50:
                self._communities.append((made, text(answer.document, "slug")))
            case _:
                pass

    def _forget(self, member: Member) -> None:
        if member == self._moderator:
            self._moderator = None
        elif member in self._members:
            self._members.remove(member)

    def _reader(self) -> Member | None:
        return self._any(self._members) if self._rng.random() < 0.6 else None

    def _any(self, choices: deque[T]) -> T | None:
        return self._rng.choice(choices) if choices else None

    def _recent(self) -> int:
        """A post; new ones are read most."""
        back = min(int(self._rng.expovariate(1 / 12)), len(self._posts) - 1)
        return self._posts[-1 - back]

    def _home(self) -> Act:
        return Act("home", "GET", "/", self._reader())

    def _community(self) -> Act:
        slug = self._rng.choice(self._communities)[1]
        return Act("community", "GET", f"/communities/{slug}", self._reader())

    def _post(self) -> Act:
        post = self._recent()
        return Act("post", "GET", f"/posts/{post}", self._reader(), subject=post)

    def _thread(self) -> Act:
        post = self._recent()
        return Act("thread", "GET", f"/api/posts/{post}", self._reader(), subject=post)

    def _top(self) -> Act:
        return Act("top", "GET", "/api/communities/top", self._reader())

    def _avatar(self) -> Act:
        member = self._any(self._members)
        user = member.id if member and self._rng.random() < 0.3 else self._rng.randint(1, 20)
        return self._file("avatar", f"/avatars/{user}.png")

    def _style(self) -> Act:
        return self._file("style", "/static/style.css")

    def _file(self, name: str, path: str) -> Act:
        """As browsers do: half of them have it and only ask whether it has changed."""
        known = self._etags.get(path) if self._rng.random() < 0.5 else None
        return Act(name, "GET", path, headers={"If-None-Match": known} if known else {})

    def _register(self) -> Act:
        name = f"guest-{self._rng.getrandbits(48):012x}"
        return Act("register", "POST", "/api/users", body={"username": name, "password": PASSWORD})

    def _join(self) -> Act | None:
        place = self._rng.choice(self._communities)[0]
        return self._by(self._any(self._members), "join", f"/api/communities/{place}/members", {})

    def _write(self) -> Act | None:
        place = self._rng.choice(self._communities)[0]
        title = self._rng.choice(self._rng.choice(COMMUNITIES)[3])
        body: dict[str, object] = {"title": title, "body": " ".join(self._rng.sample(BODIES, 2))}
        return self._by(self._any(self._members), "write", f"/api/communities/{place}/posts", body)

    def _comment(self) -> Act | None:
        post = self._recent()
        body: dict[str, object] = {"body": self._rng.choice(COMMENTS)}
        return self._by(self._any(self._members), "comment", f"/api/posts/{post}/comments", body, post)

    def _like(self) -> Act | None:
        post = self._recent()
        return self._by(self._any(self._members), "like", f"/api/posts/{post}/reactions", {}, post)

    def _report(self) -> Act | None:
        post = self._recent()
        reason = self._rng.choice(REASONS)
        body: dict[str, object] = {"target_type": "post", "target_id": post, "reason": reason}
        return self._by(self._any(self._members), "report", "/api/reports", body, post)

    def _resolve(self) -> Act | None:
        if self._moderator is None:
            credentials: dict[str, object] = {"username": MODERATORS[0], "password": PASSWORD}
            return Act("log in", "POST", "/api/sessions", body=credentials)
        if not self._reports:
            return None
        status = self._rng.choice(("rejected", "ignored", "rejected", "upheld"))
        path = f"/api/reports/{self._reports.popleft()}/resolve"
        return self._by(self._moderator, "resolve", path, {"status": status})

    def _delete(self) -> Act | None:
        """Somebody regrets their oldest post; it is no longer read by then."""
        if not self._own:
            return None
        post, author = self._own.popleft()
        if post in self._posts:
            self._posts.remove(post)
        return Act("delete", "DELETE", f"/api/posts/{post}", author)

    def _found(self) -> Act | None:
        slug = f"club-{self._rng.getrandbits(40):010x}"
        body: dict[str, object] = {"slug": slug, "name": f"Club {slug[5:]}"}
        return self._by(self._any(self._members), "found", "/api/communities", body)

    @staticmethod
    def _by(member: Member | None, name: str, path: str, body: dict[str, object], subject: int = 0) -> Act | None:
        return Act(name, "POST", path, member, body, subject=subject) if member else None


def listed(document: object) -> list[object]:
    found = document.get("items") if isinstance(document, dict) else None
    return found if isinstance(found, list) else []


def number(document: object, key: str) -> int:
    found = document.get(key) if isinstance(document, dict) else None
    return found if isinstance(found, int) else 0


def text(document: object, key: str) -> str:
    found = document.get(key) if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""
