from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from api.answers import PoolStatus, Weight
from balancer.commands.document import Part
from balancer.commands.status_page import Sample, line, page
from balancer.commands.table import rendered
from tests.commands.answers import metrics, pool, server, status


def sample(*pools: PoolStatus, **per_second: float) -> Sample:
    return Sample(Part(status(*pools)), Part(metrics(**per_second)))


def shown(found: Sample, width: int | None = 80, colours: bool = False) -> list[str]:
    return [rendered(part, width, colours) for part in page(found, "http://127.0.0.1:9900", width)]


def test_a_page_has_the_totals_and_a_table_for_each_pool() -> None:
    down = server(
        "10.0.0.12:8000",
        "down",
        "connection refused",
        since=timedelta(seconds=42),
        in_flight=0,
        errors=17,
        p50=None,
        p99=None,
        checked=timedelta(seconds=3),
    )
    found = sample(
        pool(server("10.0.0.11:8000"), down),
        pool(server("files", pool="static", weight=Weight(set=2, effective=0.4)), name="static", queue=3),
        **{"10.0.0.11:8000": 120.44, "10.0.0.12:8000": 0.0},
    )
    assert shown(found) == [
        "balancer http://127.0.0.1:9900   generation 3   2 of 3 servers up",
        "120 req/s   p50 1.2ms   p99 15ms   in flight 8   connections 200   errors 17",
        "",
        "app   round-robin   1 of 2 up",
        "server          state     weight  flight  req/s  errors    p50   p99  check",
        "10.0.0.11:8000  up 3h          1       4    120       0  1.2ms  15ms  ok 2s",
        "10.0.0.12:8000  down 42s       1       0    0.0      17      -     -  bad 3s",
        "  connection refused",
        "",
        "static   round-robin   1 of 1 up   3 waiting",
        "server  state  weight  flight  req/s  errors    p50   p99  check",
        "files   up 3h   0.4/2       4      -       0  1.2ms  15ms  ok 2s",
    ]


def test_the_longest_state_and_address_still_fit_80_columns() -> None:
    long = server("203.0.113.200:65000", "maintenance", "the operator has taken it out", since=timedelta(minutes=59))
    lines = shown(sample(pool(long), **{"203.0.113.200:65000": 99999.0}))
    assert max(map(len, lines)) <= 80
    assert lines[5].startswith("203.0.113.200:65000 maintenance 59m ")
    assert lines[4].endswith("check")


def test_a_pool_that_fails_open_says_so() -> None:
    lines = shown(sample(pool(server("a"), panic=True)))
    assert "  too few servers are well: traffic goes to all that were ever checked" in lines


def test_what_is_out_of_the_ordinary_about_a_server_has_lines_of_its_own() -> None:
    found = sample(pool(server("a", backup=True, tunnels=2), server("b", tunnels=1), server("c")))
    assert shown(found)[5:] == [
        "a       up 3h       1       4      -       0  1.2ms  15ms  ok 2s",
        "  backup: it has traffic only when no other server may; 2 of its connections are",
        "  tunnels",
        "b       up 3h       1       4      -       0  1.2ms  15ms  ok 2s",
        "  one of its connections is a tunnel",
        "c       up 3h       1       4      -       0  1.2ms  15ms  ok 2s",
    ]
    assert shown(found, width=None)[6].endswith("2 of its connections are tunnels")


def test_states_are_told_by_colour_too_and_by_nothing_else() -> None:
    found = sample(pool(server("a"), server("b", "ejected", "failed")))
    coloured = "\n".join(shown(found, colours=True))
    assert "\x1b[32mup 3h" in coloured
    assert "\x1b[31mejected 3h" in coloured
    assert "\x1b" not in "\n".join(shown(found))


def test_a_balancer_that_answers_with_less_is_shown_with_dashes() -> None:
    bare = Part({"pools": {"app": {"servers": {"a": {}}}}})
    lines = shown(Sample(bare, Part({})))
    assert lines[1] == "- req/s   p50 -   p99 -   in flight -   connections -   errors -"
    assert lines[5].split() == ["a", "?", "-", "-", "-", "0", "-", "-", "-"]


def test_a_reason_cannot_move_the_cursor() -> None:
    lines = shown(sample(pool(server("a", "down", "\x1b[2J200\r\n"))))
    assert lines[6] == "  ?[2J200??"


@given(
    names=st.lists(st.text("abc.:1", min_size=1, max_size=60), unique=True, max_size=5),
    width=st.integers(20, 200),
)
def test_no_line_of_a_page_is_wider_than_the_terminal(names: list[str], width: int) -> None:
    found = sample(pool(*[server(name, "down", "x" * 100) for name in names], panic=True, queue=5))
    assert max(map(len, shown(found, width))) <= width


def test_a_line_tells_the_totals_and_which_servers_are_not_up() -> None:
    found = sample(
        pool(server("a"), server("b", "down", "connection refused"), panic=True),
        pool(server("c", pool="static"), name="static"),
        a=1.0,
        b=0.0,
    )
    assert line(found) == (
        "1.0 req/s  p50 1.2ms  p99 15ms  in flight 12  connections 200  errors 0"
        "  |  app 1/2 up, PANIC, b down (connection refused)  |  static 1/1 up"
    )


def test_a_cdn_that_everything_has_to_come_through_and_nobody_knows_is_told() -> None:
    found = Sample(Part(status(pool(server("a")), unknown_cdns=["bunny"])), Part(metrics()))
    told = "the networks of bunny are not known, and require_cdn refuses what comes from them"
    assert told in " ".join(shown(found))
    assert told in line(found)
