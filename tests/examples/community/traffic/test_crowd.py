"""What the crowd does with what it knows."""

from __future__ import annotations

from collections import Counter
from random import Random

from examples.community.traffic.crowd import Act, Answer, Crowd

COMMUNITIES = Answer(200, {"items": [{"id": 1, "slug": "gardening"}, {"id": 2, "slug": "cycling"}]})
LATEST = Answer(200, {"items": [{"id": post} for post in range(60, 10, -1)]})


def informed(seed: int = 1) -> Crowd:
    """A crowd that has looked around."""
    crowd = Crowd(Random(seed))
    crowd.learn(crowd.next(), COMMUNITIES)
    crowd.learn(crowd.next(), LATEST)
    return crowd


def live(crowd: Crowd, acts: int) -> list[Act]:
    """What it does against a site where everything works."""
    done = []
    for made in range(1000, 1000 + acts):
        act = crowd.next()
        done.append(act)
        match act.name:
            case "register" | "log in":
                crowd.learn(act, Answer(201, {"id": made}, cookie=f"cookie-{made}"))
            case "avatar" | "style":
                crowd.learn(act, Answer(200, etag='"tag"'))
            case _:
                crowd.learn(act, Answer(201, {"id": made, "slug": f"club-{made}"}))
    return done


def test_a_crowd_looks_around_first():
    crowd = Crowd(Random(1))
    assert crowd.next().path == "/api/communities"
    assert crowd.next().path == "/api/communities"
    crowd.learn(crowd.next(), COMMUNITIES)
    assert crowd.next().path == "/api/posts"


def test_every_kind_of_act_happens_and_most_are_reads():
    done = live(informed(), 5000)
    names = Counter(act.name for act in done)
    assert set(names) == {
        "home", "community", "post", "thread", "top", "avatar", "style", "register", "join", "write",
        "comment", "like", "report", "log in", "resolve", "delete", "found",
    }  # fmt: skip
    reads = sum(1 for act in done if act.method == "GET")
    assert 0.7 < reads / len(done) < 0.9


def test_only_members_write():
    for act in live(informed(), 3000):
        if act.method != "GET" and act.name not in ("register", "log in"):
            assert act.member is not None, act


def test_the_same_seed_makes_the_same_traffic():
    assert live(informed(7), 300) == live(informed(7), 300)


def test_a_member_whose_session_is_gone_is_forgotten():
    crowd = informed()
    live(crowd, 500)
    member = next(act.member for act in (crowd.next() for _ in range(500)) if act.member)
    crowd.learn(Act("home", "GET", "/", member), Answer(401))
    assert member not in [crowd.next().member for _ in range(2000)]


def test_a_post_that_is_gone_is_not_asked_for_again():
    crowd = informed()
    crowd.learn(Act("post", "GET", "/posts/60", subject=60), Answer(404))
    assert 60 not in [crowd.next().subject for _ in range(1000)]


def test_a_deleted_post_is_not_read_after_that():
    done = live(informed(), 20_000)
    deleted: set[str] = set()
    for act in done:
        if act.name == "delete":
            deleted.add(act.path.rpartition("/")[2])
        else:
            assert str(act.subject) not in deleted, act
    assert deleted


def test_answers_that_make_no_sense_teach_nothing():
    for document in (None, [], "text", {"items": 3}, {"items": []}):
        crowd = Crowd(Random(1))
        crowd.learn(crowd.next(), Answer(200, document))
        assert crowd.next().path == "/api/communities"


def test_half_of_the_files_are_only_asked_after():
    done = [act for act in live(informed(), 20_000) if act.name == "style"]
    asked = sum(1 for act in done if act.headers == {"If-None-Match": '"tag"'})
    assert 0.4 < asked / len(done) < 0.6
