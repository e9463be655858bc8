"""One batch of events on its way into the store: the rows as they came, and everything that is summed up of them."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from balancer.analytics import event as known
from balancer.analytics.calendar import Calendar, month_of, week_of
from balancer.analytics.event import Event
from balancer.analytics.sqlite_store.schema import (
    COHORT_WEEKS,
    COMMENTED,
    CONTRIBUTED,
    DAY,
    HOUR,
    MONTH,
    POSTED,
    QUARTER,
    REGISTERED,
    SEEN,
    WEEK,
)

EXCLUDED: Final = "~"
"""What the names of those begin with that are left out, `size` of them: bots, those who opted out, duplicates."""
SOON: Final = 7 * 86_400_000
"""Milliseconds after a registration in which a first contribution counts as activation."""
COMMUNITIES: Final = 100_000
"""That are told apart: a value that anybody can make up must not fill the disk."""
UNKNOWN: Final = 1 << 53
"""A bucket in the place of one that nobody knows any more; see the schema."""
_AT_ONCE: Final = 500
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_USER: Final = (
    "key",
    "first_at",
    "last_at",
    "registered_at",
    "deleted_at",
    "activated",
    "cohort",
    *(f"{what}_{grain}" for what in "sk" for grain in ("day", "week", "month")),
    *(f"{what}_{grain}" for what in "pm" for grain in ("hour", "day", "week", "month")),
    *(f"{what}_day_before" for what in "sk"),
    *(f"{what}_{grain}_before" for what in "pm" for grain in ("hour", "day")),
)
_LETTERS: Final = {SEEN: "s", CONTRIBUTED: "k", POSTED: "p", COMMENTED: "m"}
_DAYS: Final = {what: (_USER.index(f"{x}_day"), _USER.index(f"{x}_day_before")) for what, x in _LETTERS.items()}
_HOURS: Final = {
    what: (_USER.index(f"{x}_hour"), _USER.index(f"{x}_hour_before"))
    for what, x in _LETTERS.items()
    if what in (POSTED, COMMENTED)
}
_FIRST_AT, _LAST_AT, _REGISTERED, _DELETED, _ACTIVATED, _COHORT = 1, 2, 3, 4, 5, 6
_GRAINS: Final[tuple[tuple[int, Callable[[int], int]], ...]] = ((DAY, int), (WEEK, week_of), (MONTH, month_of))
_WINDOWS: Final = ((0, 7), (1, 30))
"""The columns of `rolling`, and of how many days they are."""
_POST: Final = (
    "id",
    "key",
    "community",
    "author",
    "at",
    "responded_at",
    "comments",
    "reactions",
    "removed_at",
    "deleted_at",
)
_REMOVALS: Final = {"remove_post": 1, "restore_post": -1, "restore": -1}

User = list[int | None]
Place = tuple[int | None, int | None]
"""The buckets of a user before and after one; None: there is none."""
Post = list[object]


class Writer:
    """Writes batches. To be used by one thread, in transactions that whoever calls it begins and ends.

    What a transaction that was undone has put into memory is forgotten with `forget_ids`.
    """

    def __init__(self, connection: sqlite3.Connection, calendar: Calendar) -> None:
        self._db = connection
        self._calendar = calendar
        self._names: dict[str, int] = {}
        self._communities: dict[str, int] = {}

    def forget_ids(self) -> None:
        """Ask the database again for what has which number."""
        self._names.clear()
        self._communities.clear()

    def write(self, events: Sequence[Event]) -> int:
        """Store a batch; how many events that were, without those left out."""
        _Batch(self, self._db, self._calendar).write(events)
        return sum(not one.name.startswith(EXCLUDED) for one in events)

    def name(self, text: str) -> int:
        return self._id(self._names, "name", "text", text)

    def community(self, key: str) -> int:
        """0: none, and those for which there is no room."""
        if not key:
            return 0
        found = self._communities.get(key)
        if found is None and self._is_full():
            row = self._db.execute("SELECT id FROM community WHERE key = ?", (key,)).fetchone()
            return row[0] if row is not None else 0
        return found if found is not None else self._id(self._communities, "community", "key", key)

    def _is_full(self) -> bool:
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM community").fetchone()
        return int(last) >= COMMUNITIES

    def _id(self, known_ids: dict[str, int], table: str, column: str, text: str) -> int:
        found = known_ids.get(text)
        if found is None:
            self._db.execute(f"INSERT INTO {table} ({column}) VALUES (?) ON CONFLICT DO NOTHING", (text,))
            (found,) = self._db.execute(f"SELECT id FROM {table} WHERE {column} = ?", (text,)).fetchone()
            if len(known_ids) > 50_000:
                known_ids.clear()
            known_ids[text] = found
        return found


class _Batch:
    """What one batch changes, gathered before it is written."""

    def __init__(self, writer: Writer, connection: sqlite3.Connection, calendar: Calendar) -> None:
        self._writer = writer
        self._db = connection
        self._calendar = calendar
        self._total: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        self._place: defaultdict[tuple[int, int, int], int] = defaultdict(int)
        self._excluded: defaultdict[tuple[int, str], int] = defaultdict(int)
        self._uniques: defaultdict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        self._rolling: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
        self._retained: defaultdict[tuple[int, int, int], int] = defaultdict(int)
        self._did: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self._wrote: set[tuple[int, int, int]] = set()
        self._users: dict[int, User] = {}
        self._posts: dict[str, Post] = {}
        self._loaded_users: dict[int, tuple[int | None, ...]] = {}  # as they were
        self._loaded_posts: dict[str, tuple[object, ...]] = {}

    def write(self, events: Sequence[Event]) -> None:
        self._load_users({one.user for one in events if one.user is not None})
        self._load_posts({one.dims[known.POST] for one in events if known.POST in one.dims})
        rows = []
        for one in events:
            if one.name.startswith(EXCLUDED):
                self._excluded[self._calendar.day(one.at), one.name[1:]] += one.size
                continue
            name = self._writer.name(one.name)
            dims = _JSON(one.dims) if one.dims else None
            rows.append((one.at, name, one.user, one.visitor, one.status, one.duration, one.size, dims))
            self._count(one, name)
        self._db.executemany(
            "INSERT INTO event (at, name, user, visitor, status, duration, size, dims) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._store()

    # What each event means.

    def _count(self, one: Event, name: int) -> None:
        quarter = one.at // QUARTER
        total = self._total[name, quarter]
        total[0] += 1
        total[1] += one.duration
        total[2] += one.size
        community = self._writer.community(one.dims.get(known.COMMUNITY, ""))
        if not community and (post := self._posts.get(one.dims.get(known.POST, ""))) is not None:
            community = int(post[2])  # type: ignore[call-overload]
        if community and one.name != known.VIEWED:
            self._place[name, quarter, community] += 1
        day = self._calendar.day(one.at)
        user = self._user(one) if one.user is not None else None
        meaning = _MEANINGS.get(one.name)
        if meaning is not None:
            meaning(self, one, community, day)
        if user is not None:
            self._active(SEEN, user, day)
            if one.name in known.CONTRIBUTIONS:
                self._active(CONTRIBUTED, user, day)
                if one.name != known.REACTED:
                    self._activate(user, one.at)
                self._do(one, day)
            if one.name == known.POSTED:
                self._wrote_in(POSTED, user, one.at, day)
            elif one.name == known.COMMENTED:
                self._wrote_in(COMMENTED, user, one.at, day)
            if community and one.name in (known.POSTED, known.COMMENTED):
                self._wrote.add((day, community, one.user or 0))

    def _user(self, one: Event) -> User:
        assert one.user is not None
        user = self._users.get(one.user)
        if user is None:
            user = self._users[one.user] = [None] * len(_USER)
            user[0], user[1], user[_LAST_AT], user[_ACTIVATED] = one.user, one.at, one.at, 0
        user[_FIRST_AT] = min(user[_FIRST_AT] or one.at, one.at)
        user[_LAST_AT] = max(user[_LAST_AT] or 0, one.at)
        return user

    def _active(self, what: int, user: User, day: int) -> None:
        """A user is active on a day."""
        place = self._day(what, user, day)
        if place is None:
            return
        before, after = place
        # Who was counted up to so many days after the last day goes on being counted; see `rolling` in the schema.
        for column, length in _WINDOWS:
            self._rolling[what, day if before is None else max(day, before + length)][column] += 1
            self._rolling[what, day + length][column] -= 1
            if after is not None:  # followed `before` until now, and follows this one
                self._rolling[what, after if before is None else max(after, before + length)][column] -= 1
                self._rolling[what, max(after, day + length)][column] += 1

    def _day(self, what: int, user: User, day: int) -> Place | None:
        """Count a user's day, and the week and the month that it makes theirs. None: it was counted before."""
        last, previous = _DAYS[what]
        place = _place_of(day, user[last], user[previous])
        if place is None:
            return None
        before, after = place
        for offset, (grain, of) in enumerate(_GRAINS):
            bucket = of(day)
            left = of(before) if before is not None else None
            right = of(after) if after is not None else None
            if bucket not in (left, right):
                self._unique(what, grain, bucket, (left, right))
                if grain == WEEK and what in (SEEN, CONTRIBUTED):
                    self._retain(what, user, bucket)
            if after is None:
                user[last + offset] = bucket
        user[previous] = before if after is None else day
        return place

    def _unique(self, what: int, grain: int, bucket: int, place: Place) -> None:
        """A user's bucket that has not been counted, between those that have."""
        before, after = place
        count = self._uniques[what, grain, bucket]
        count[0] += 1
        count[1] += before is None
        count[2] += before == bucket - 1
        if after is not None:
            count = self._uniques[what, grain, after]
            count[1] -= before is None
            count[2] += bucket == after - 1

    def _wrote_in(self, what: int, user: User, at: int, day: int) -> None:
        last, previous = _HOURS[what]
        hour = self._calendar.hour(at)
        place = _place_of(hour, user[last], user[previous])
        if place is not None:
            self._unique(what, HOUR, hour, place)
            if place[1] is None:
                user[last], user[previous] = hour, place[0]
            else:
                user[previous] = hour
        self._day(what, user, day)

    def _retain(self, what: int, user: User, week: int) -> None:
        cohort = user[_COHORT]
        if cohort is not None and 0 <= week - cohort < COHORT_WEEKS:
            self._retained[what, cohort, week - cohort] += 1

    def _activate(self, user: User, at: int) -> None:
        registered = user[_REGISTERED]
        if registered is not None and not user[_ACTIVATED] and 0 <= at - registered < SOON:
            user[_ACTIVATED] = 1

    def _do(self, one: Event, day: int) -> None:
        assert one.user is not None
        column = {known.POSTED: 0, known.COMMENTED: 1}.get(one.name, 2)
        self._did[day, one.user][column] += 1

    def _registered(self, one: Event, community: int, day: int) -> None:
        user = self._users.get(one.user) if one.user is not None else None
        if user is not None and user[_REGISTERED] is None:
            user[_REGISTERED] = one.at
            user[_COHORT] = week_of(day)
            self._retained[REGISTERED, week_of(day), 0] += 1
            # What was seen earlier in this week, such as the page with the form, is of its first week, too.
            for what in (SEEN, CONTRIBUTED):
                for week in {
                    week_of(there) for at in _DAYS[what] if (there := user[at]) is not None and there < UNKNOWN
                }:
                    self._retain(what, user, week)

    def _user_deleted(self, one: Event, community: int, day: int) -> None:
        user = self._users.get(one.user) if one.user is not None else None
        if user is not None:
            user[_DELETED] = one.at

    def _posted(self, one: Event, community: int, day: int) -> None:
        key = one.dims.get(known.POST)
        if key is not None and key not in self._posts:
            self._posts[key] = [None, key, community, one.user, one.at, None, 0, 0, None, None]

    def _commented(self, one: Event, community: int, day: int) -> None:
        post = self._posts.get(one.dims.get(known.POST, ""))
        if post is not None:
            post[6] = int(post[6]) + 1  # type: ignore[call-overload]
            if one.user is not None and one.user != post[3] and (post[5] is None or one.at < int(post[5])):  # type: ignore[call-overload]
                post[5] = one.at

    def _reacted(self, one: Event, community: int, day: int) -> None:
        post = self._posts.get(one.dims.get(known.POST, ""))
        if post is not None:
            post[7] = int(post[7]) + 1  # type: ignore[call-overload]
            if isinstance(post[3], int):
                self._did[day, post[3]][3] += 1

    def _post_deleted(self, one: Event, community: int, day: int) -> None:
        post = self._posts.get(one.dims.get(known.POST, ""))
        if post is not None and post[9] is None:
            post[9] = one.at

    def _founded(self, one: Event, community: int, day: int) -> None:
        self._db.execute(
            "UPDATE community SET created_at = ? WHERE id = ? AND created_at IS NULL AND id > 0", (one.at, community)
        )

    def _closed(self, one: Event, community: int, day: int) -> None:
        self._db.execute("UPDATE community SET closed_at = ? WHERE id = ?", (one.at, community))

    def _reported(self, one: Event, community: int, day: int) -> None:
        dims = one.dims
        target = dims.get(known.TARGET_USER)
        self._db.execute(
            """INSERT INTO report (key, at, community, reporter, target_type, target_user, reason)
               VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
            (
                dims.get(known.REPORT),
                one.at,
                community,
                one.user,
                dims.get(known.TARGET_TYPE),
                key_of(target) if target is not None else None,
                dims.get(known.REASON),
            ),
        )

    def _resolved(self, one: Event, community: int, day: int) -> None:
        self._db.execute(
            """UPDATE report SET resolved_at = ?, outcome = ?, resolver = ?
               WHERE key = ? AND resolved_at IS NULL""",
            (one.at, one.dims.get(known.OUTCOME), one.user, one.dims.get(known.REPORT)),
        )

    def _moderated(self, one: Event, community: int, day: int) -> None:
        kind = one.dims.get(known.ACTION, "action")
        post = one.dims.get(known.POST)
        report = one.dims.get(known.REPORT)
        self._db.execute(
            "INSERT INTO action (at, moderator, community, kind, post, report, automated) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (one.at, one.user, community, kind, post, report, int(one.dims.get(known.AUTOMATED) == "1")),
        )
        found = self._posts.get(post or "")
        if found is not None and kind in _REMOVALS:
            found[8] = one.at if _REMOVALS[kind] > 0 else None

    # What there is already.

    def _load_users(self, keys: set[int]) -> None:
        columns = ", ".join(_USER)
        for some in _pieces(sorted(keys)):
            marks = ",".join("?" * len(some))
            for row in self._db.execute(f"SELECT {columns} FROM user WHERE key IN ({marks})", some):
                self._users[row[0]] = list(row)
                self._loaded_users[row[0]] = row

    def _load_posts(self, keys: set[str]) -> None:
        columns = ", ".join(_POST)
        for some in _pieces(sorted(keys)):
            marks = ",".join("?" * len(some))
            for row in self._db.execute(f"SELECT {columns} FROM post WHERE key IN ({marks})", some):
                self._posts[row[1]] = list(row)
                self._loaded_posts[row[1]] = row

    def _store(self) -> None:
        many = self._db.executemany
        many(
            """INSERT INTO total VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
               SET n = n + excluded.n, duration = duration + excluded.duration, size = size + excluded.size""",
            [(*key, *sums) for key, sums in self._total.items()],
        )
        many(
            "INSERT INTO place VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
            [(*key, n) for key, n in self._place.items()],
        )
        many(
            "INSERT INTO excluded VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
            [(*key, n) for key, n in self._excluded.items()],
        )
        many(
            """INSERT INTO uniques VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
               SET n = n + excluded.n, new = new + excluded.new, again = again + excluded.again""",
            [(*key, *counts) for key, counts in self._uniques.items()],
        )
        many(
            """INSERT INTO rolling VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
               SET week = week + excluded.week, month = month + excluded.month""",
            [(*key, *changes) for key, changes in self._rolling.items()],
        )
        many(
            "INSERT INTO retained VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
            [(*key, n) for key, n in self._retained.items()],
        )
        for table in ("did_day", "did_month"):
            many(
                f"""INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
                    SET posts = posts + excluded.posts, comments = comments + excluded.comments,
                        reactions = reactions + excluded.reactions, received = received + excluded.received""",
                self._did_rows(monthly=table == "did_month"),
            )
        many("INSERT INTO wrote_day VALUES (?, ?, ?) ON CONFLICT DO NOTHING", self._wrote)
        many(
            "INSERT INTO wrote_month VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            {(month_of(day), community, user) for day, community, user in self._wrote},
        )
        self._store_users()
        posts = [post for key, post in self._posts.items() if tuple(post) != self._loaded_posts.get(key)]
        many(_upsert("post", _POST, "id"), posts)

    def _store_users(self) -> None:
        """Of most, nothing but the last moment has changed."""
        changed, seen = [], []
        for key, user in self._users.items():
            was = self._loaded_users.get(key)
            if was is None or tuple(user[_REGISTERED:]) != was[_REGISTERED:] or user[_FIRST_AT] != was[_FIRST_AT]:
                changed.append(user)
            elif user[_LAST_AT] != was[_LAST_AT]:
                seen.append((user[_LAST_AT], key))
        self._db.executemany(_upsert("user", _USER, "key"), changed)
        self._db.executemany("UPDATE user SET last_at = ? WHERE key = ?", seen)

    def _did_rows(self, *, monthly: bool) -> Iterator[tuple[int, ...]]:
        for (day, user), counts in self._did.items():
            yield (month_of(day) if monthly else day, user, *counts)


_MEANINGS = {
    known.REGISTERED: _Batch._registered,
    known.USER_DELETED: _Batch._user_deleted,
    known.POSTED: _Batch._posted,
    known.POST_DELETED: _Batch._post_deleted,
    known.COMMENTED: _Batch._commented,
    known.REACTED: _Batch._reacted,
    known.FOUNDED: _Batch._founded,
    known.CLOSED: _Batch._closed,
    known.REPORTED: _Batch._reported,
    known.RESOLVED: _Batch._resolved,
    known.MODERATED: _Batch._moderated,
}


def key_of(text: str) -> int | None:
    """The number of a user that a dimension names, as `~` and hexadecimal digits."""
    try:
        number = int(text.removeprefix("~"), 16)
    except ValueError:
        return None
    return number - (1 << 64) if number >= 1 << 63 else number


def _upsert(table: str, columns: Sequence[str], key: str) -> str:
    marks = ", ".join("?" * len(columns))
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name != key)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {changes}"


def _place_of(bucket: int, last: int | None, previous: int | None) -> Place | None:
    """Where among a user's buckets one belongs that has not been counted; None: it has been, or nobody can tell.

    `last` is the latest one and `previous` the one before it: what comes late by less than these are apart is exact,
    and so is everything again after a clock that was far ahead.
    """
    if last is None or bucket > last:
        return last, None
    if bucket == last or (previous is not None and bucket <= previous):
        return None
    return previous, last


def _pieces(keys: Sequence[object]) -> Iterable[Sequence[object]]:
    """SQLite takes no more than so many values at a time."""
    return (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))
