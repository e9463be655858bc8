import io
import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from api.answers import Provisional, SharedLimitsStatus
from balancer.commands.client import Client
from balancer.commands.console import Console
from balancer.commands.outcome import OK, REFUSED, UNREACHABLE, Failure
from balancer.commands.places import Admin
from balancer.commands.status import watch
from tests.commands.answers import NOW, metrics, pool, server, status
from tests.commands.stand_in import Reply, StandIn, Terminal, balancer, problem, stand_in

STATUS = "GET /api/infrastructure/load-balancer/status"
METRICS = "GET /api/monitoring/metrics"


def replies(**servers: float) -> dict[str, Reply | Callable[[], Reply]]:
    return {
        STATUS: Reply(status(pool(*[server(name) for name in servers]))),
        METRICS: Reply(metrics(**servers)),
    }


class Seconds:
    """A pause that takes no time, and after so many of them Ctrl-C. `between` happens in each."""

    def __init__(self, count: int, between: Callable[[int], None] = lambda second: None) -> None:
        self.waited: list[float] = []
        self._count = count
        self._between = between

    def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        self._between(len(self.waited))
        if len(self.waited) == self._count:
            raise KeyboardInterrupt


def watched(
    api: StandIn, seconds: Seconds, output: io.StringIO, as_json: bool = False, **environ: str
) -> tuple[int, str]:
    messages = io.StringIO()
    console = Console({"TERM": "xterm", **environ}, output, messages)
    code = watch(console, Client(Admin(api.url, "--admin"), None), as_json, seconds)
    return code, messages.getvalue()


def test_the_page_goes_to_stdout_and_nothing_to_stderr() -> None:
    with stand_in(replies(a=1.5)) as api:
        code, out, messages = balancer("status", "--admin", api.url)
    assert (code, messages) == (OK, "")
    assert out.splitlines()[0] == f"balancer {api.url}   generation 3   1 of 1 servers up"
    assert out.splitlines()[5].split()[:6] == ["a", "up", "3h", "1", "4", "1.5"]


def test_limits_that_are_not_shared_any_more_are_a_line_of_their_own() -> None:
    away = SharedLimitsStatus(
        state="fallback",
        reason="no answer",
        since=NOW - timedelta(seconds=90),
        instances=3,
        alone={"per-client": "local", "payments": "deny", "search": "allow"},
    )
    api_says = replies(a=1.5)
    api_says[STATUS] = Reply(status(pool(server("a")), shared_limits=away))
    said = "limits are not shared for 1m (no answer): per-client 1/3 of it, payments REFUSES ALL, search lets all pass"
    with stand_in(api_says) as api:
        assert balancer("status", "--admin", api.url).out.splitlines()[2] == said
    api_says[STATUS] = Reply(
        status(pool(server("a")), shared_limits=away.model_copy(update={"state": "shared", "reason": None}))
    )
    with stand_in(api_says) as api:
        assert "limits" not in balancer("status", "--admin", api.url).out


def test_a_redis_that_is_used_in_part_or_not_is_a_line_of_its_own() -> None:
    api_says = replies(a=1.5)
    nodes = [{"name": "h:1", "state": "up", "reason": None}, {"name": "h:2", "state": "open", "reason": "no answer"}]
    for state, said in (("partial", "used in part"), ("open", "not used")):
        use = {"state": state, "reason": "no answer", "nodes": nodes}
        api_says[METRICS] = Reply(metrics(a=1.5) | {"databases": {"redis": {"use": use}}})
        with stand_in(api_says) as api:
            assert balancer("status", "--admin", api.url).out.splitlines()[2] == f"redis is {said}: h:2: no answer"
    for well in ({"state": "up", "reason": None, "nodes": nodes[:1]}, None):
        api_says[METRICS] = Reply(metrics(a=1.5) | {"databases": {"redis": {"use": well}}})
        with stand_in(api_says) as api:
            assert "redis" not in balancer("status", "--admin", api.url).out


def test_a_change_on_trial_is_a_line_of_its_own() -> None:
    trial = Provisional(revision=7, author="alice", since=NOW, until=NOW + timedelta(seconds=30), seconds_left=29.8)
    api_says = replies(a=1.5)
    api_says[STATUS] = Reply(status(pool(server("a")), provisional=trial))
    said = "revision 7 of alice is on trial for another 30 s: `balancer config confirm` keeps it"
    with stand_in(api_says) as api:
        assert balancer("status", "--admin", api.url).out.splitlines()[2] == said


def test_json_is_the_answer_of_the_api_whole() -> None:
    with stand_in(replies(a=1.5)) as api:
        code, out, _ = balancer("status", "--json", "--admin", api.url)
    assert code == OK
    assert json.loads(out) == status(pool(server("a")))


def test_colours_are_for_terminals_whose_user_has_nothing_against_them() -> None:
    with stand_in(replies(a=1.5)) as api:
        words = ("status", "--admin", api.url)
        assert "\x1b[32m" in balancer(*words, terminal=True).out
        assert "\x1b" not in balancer(*words).out
        assert "\x1b" not in balancer(*words, terminal=True, environ={"NO_COLOR": "1"}).out
        assert "\x1b" not in balancer(*words, terminal=True, environ={"TERM": "dumb"}).out
        assert "\x1b[32m" in balancer(*words, terminal=True, environ={"NO_COLOR": ""}).out


def test_without_a_key_nothing_is_shown() -> None:
    with stand_in({STATUS: problem(401, "a key is needed")}) as api:
        code, out, messages = balancer("status", "--admin", api.url)
    assert (code, out) == (REFUSED, "")
    assert "needs a key: set ADMIN_API_KEY" in messages


def test_watching_a_terminal_draws_each_page_over_the_one_before() -> None:
    with stand_in(replies(a=1.5, b=2.0)) as api:

        def leave(second: int) -> None:
            api.replies |= replies(a=1.5)

        output = Terminal()
        code, messages = watched(api, Seconds(2, leave), output, NO_COLOR="1")
    assert (code, messages) == (OK, "")
    first, second = output.getvalue().split("\x1b[H")[1:]
    assert first.startswith("\x1b[Jbalancer")
    assert second.startswith("balancer")
    assert second.endswith("\x1b[K\n\x1b[J")
    # Nothing is scrolled, coloured or left over: only ends of lines and of the page are wiped.
    assert set(re.findall(r"\x1b\[\d*\w", output.getvalue())) == {"\x1b[H", "\x1b[J", "\x1b[K"}
    assert second.count("\n") == first.count("\n") - 1


def test_a_page_that_is_longer_than_the_window_says_how_much_is_missing() -> None:
    with stand_in(replies(**{f"server-{number}": 1.0 for number in range(40)})) as api:
        output = Terminal()
        watched(api, Seconds(1), output)
    lines = output.getvalue().splitlines()
    assert len(lines) == 24  # of which the last is where the cursor stays
    assert "(23 more lines: make the window higher" in lines[-2]


def test_watching_without_a_terminal_is_a_line_a_second() -> None:
    with stand_in(replies(a=1.5)) as api:
        output = io.StringIO()
        code, _ = watched(api, Seconds(3), output)
    assert code == OK
    assert len(output.getvalue().splitlines()) == 3
    for line in output.getvalue().splitlines():
        assert re.fullmatch(r"\d\d:\d\d:\d\d  1\.5 req/s .* app 1/1 up", line)


def test_watching_with_json_is_a_document_a_second_even_on_a_terminal() -> None:
    with stand_in(replies(a=1.5)) as api:
        output = Terminal()
        watched(api, Seconds(2), output, as_json=True)
    assert [json.loads(line)["generation"] for line in output.getvalue().splitlines()] == [3, 3]


def test_the_time_that_a_look_takes_is_not_added_to_the_second_between_two() -> None:
    with stand_in(replies(a=1.5)) as api:
        seconds = Seconds(2)
        watched(api, seconds, io.StringIO())
    assert all(0 <= waited < 1 for waited in seconds.waited)


def test_watching_goes_on_while_the_balancer_is_restarted() -> None:
    with stand_in(replies(a=1.5)) as api:

        def restart(second: int) -> None:
            api.replies[STATUS] = {1: Reply(b"", 502, "text/html"), 2: replies(a=1.5)[STATUS]}[second]

        output = io.StringIO()
        code, messages = watched(api, Seconds(3, lambda second: restart(second) if second < 3 else None), output)
    assert code == OK
    assert len(output.getvalue().splitlines()) == 2
    assert "no balancer's admin API" in messages


def test_watching_does_not_begin_without_a_balancer_and_ends_when_it_is_refused() -> None:
    assert balancer("status", "--watch", "--admin", "unix:/nonexistent/b.sock").code == UNREACHABLE
    with stand_in(replies(a=1.5)) as api:

        def revoke(second: int) -> None:
            api.replies[STATUS] = problem(401, "the key is not known")

        with pytest.raises(Failure) as caught:
            watched(api, Seconds(3, revoke), io.StringIO())
    assert caught.value.code == REFUSED
