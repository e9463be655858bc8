from __future__ import annotations

from random import Random

import pytest

from balancer.strategy.response_time import SMALL, TRIALS, ResponseTime
from tests.strategy.world import Answer, always, picks, server, servers, shares, simulate


@pytest.mark.parametrize("rate", [5, 50, 500])
def test_the_fast_server_gets_more_than_the_slow_ones_at_any_load(rate: float) -> None:
    slow, fast, slower = members = servers(1, 1, 1)
    answers = {slow: always(0.100), fast: always(0.020), slower: always(0.200)}
    sent = simulate(ResponseTime(members, Random(1)), answers, rate=rate, seconds=60)
    assert sent[fast] > sent[slow] > 0
    assert sent[slow] >= sent[slower] > 0
    # At 500 a second ten are under way, all of which the fast one can have before it is no longer the best
    # choice.
    assert shares(sent, members)[1] >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("rate", [2, 20, 200, 1000])
def test_a_server_that_fails_in_no_time_is_sent_less_than_those_that_work(rate: int) -> None:
    broken, *working = members = servers(1, 1, 1)
    answers = {broken: always(0.002, ok=False), **dict.fromkeys(working, always(0.050))}
    sent = simulate(ResponseTime(members, Random(1)), answers, rate=rate, seconds=120)
    assert sent[broken] < min(sent[member] for member in working)
    # Its first trials, then one each time its penalty has faded to the score of the others, which is 50 ms
    # times their requests in flight: every 46 s when idle, 20 s with a dozen (a burst at 200 a second), 10
    # s with some 35.
    assert sent[broken] <= TRIALS + 120 / {2: 40, 20: 30, 200: 15, 1000: 8}[rate]


@pytest.mark.parametrize("takes", [0.05, 2.0])
def test_before_the_others_first_answer_a_server_that_fails_in_no_time_does_not_get_everything(
    takes: float,
) -> None:
    broken, *working = members = servers(1, 1, 1)
    answers = {broken: always(0.002, ok=False), **dict.fromkeys(working, always(takes))}
    sent = simulate(ResponseTime(members, Random(1)), answers, rate=100, seconds=takes)
    # Its trials; and in two seconds with 100 in flight on each of the others, whose latency is guessed to
    # be 30 ms, a penalty of 5 s is outweighed once or twice.
    assert sent[broken] <= TRIALS + 2


def test_a_server_that_begins_to_fail_fast_loses_its_traffic_within_seconds() -> None:
    broken, *working = members = servers(1, 1, 1)

    def turns_bad(now: float) -> Answer:
        return (0.050, True) if now < 30 else (0.002, False)

    answers = {broken: turns_bad, **dict.fromkeys(working, always(0.050))}
    strategy = ResponseTime(members, Random(1))
    before = simulate(strategy, answers, rate=50, seconds=30)
    assert shares(before, members)[0] > 0.2
    during = simulate(strategy, answers, rate=50, seconds=5, start=30)
    # A third of 250 would be 83. It gets a few while errors still weigh little, as each counts by the time
    # since the last sample; idle servers are chosen by latency alone, and one error at this rate is 100 ms
    # more.
    assert during[broken] <= 10
    after = simulate(strategy, answers, rate=50, seconds=30, start=35)
    assert shares(after, members)[0] < 0.02


def test_a_server_that_fails_now_and_then_is_not_shunned() -> None:
    moody, *steady = members = servers(1, 1, 1)
    draws = Random(2)

    def now_and_then(now: float) -> Answer:
        return 0.050, draws.random() >= 0.01

    answers = {moody: now_and_then, **dict.fromkeys(steady, always(0.050))}
    sent = simulate(ResponseTime(members, Random(1)), answers, rate=200, seconds=120)
    # One error in a hundred counts as 50 ms more, so it is taken to be half as fast: 1 of 5 rather than 1
    # of 3. Of some 5000 requests about 50 fail, which is uncertain by a seventh; three times that, and the
    # share is 0.15 to 0.27.
    assert 0.15 <= shares(sent, members)[0] <= 0.27


def test_a_server_that_works_again_gets_its_share_back() -> None:
    repaired, *others = members = servers(1, 1, 1)

    def heals(now: float) -> Answer:
        return (0.002, False) if now < 20 else (0.050, True)

    answers = {repaired: heals, **dict.fromkeys(others, always(0.050))}
    strategy = ResponseTime(members, Random(1))
    simulate(strategy, answers, rate=50, seconds=20)
    # Its penalty takes up to 46 s to fade; the first good answer then counts nearly alone, as it comes so
    # late.
    simulate(strategy, answers, rate=50, seconds=60, start=20)
    sent = simulate(strategy, answers, rate=50, seconds=60, start=80)
    assert shares(sent, members)[0] > 0.2


@pytest.mark.parametrize("others", [0.005, 0.500])
def test_a_server_without_an_answer_is_tried_first_with_a_few_requests(others: float) -> None:
    new, *known = members = [server("new"), *(server(f"s{i}", latency=others) for i in range(3))]
    strategy = ResponseTime(members, Random(1))
    first = [strategy.pick(0, 0.0)]
    counts = picks(strategy, 1000, hold=True)
    assert first == [new]
    assert counts[new] == TRIALS
    assert all(counts[member] for member in known)


def test_when_nobody_has_answered_yet_requests_are_spread_evenly() -> None:
    members = servers(*[1] * 4)
    counts = picks(ResponseTime(members, Random(1)), 400, hold=True)
    assert [counts[member] for member in members] == [100] * 4


def test_of_those_without_an_answer_none_is_always_the_first() -> None:
    members = servers(*[1] * 4)
    firsts = picks(ResponseTime(members, Random(1)), 4000)
    # Five standard deviations: 5 x sqrt(4000 x 1/4 x 3/4) = 137.
    assert all(abs(firsts[member] - 1000) <= 137 for member in members)


def test_one_that_has_not_answered_its_trials_waits_even_if_the_others_are_busy() -> None:
    silent = server("silent", inflight=TRIALS)
    busy = server("busy", latency=30.0, inflight=1000)
    strategy = ResponseTime([silent, busy], Random(1))
    assert strategy.pick(0, 0.0) is busy
    assert strategy.pick(0, 0.0, [busy]) is silent


def test_a_server_long_unheard_of_is_tried_with_one_request_at_a_time() -> None:
    slow, fast = members = [server("slow", latency=5.0), server("fast", latency=0.05)]
    strategy = ResponseTime(members, Random(1))
    fast.latency.observe(0.05, 100.0)
    burst = [strategy.pick(0, 100.0 + turn / 1000) for turn in range(50)]
    assert burst[0] is slow
    assert burst[1:] == [fast] * 49


def test_slow_start_and_weights_count_like_speed() -> None:
    heavy, light = members = [server("heavy", 3.0, 0.1), server("light", 1.0, 0.1)]
    counts = picks(ResponseTime(members, Random(1)), 400, hold=True)
    assert (counts[heavy], counts[light]) == (300, 100)


def test_in_a_large_pool_the_best_server_is_not_everybodys_choice() -> None:
    count = 4 * SMALL
    members = [server("best", latency=0.001), *(server(f"s{i}", latency=0.1) for i in range(count - 1))]
    picked = picks(ResponseTime(members, Random(1)), 4000)[members[0]]
    # It is one of the two drawn in 2 of 32 cases: 250; five standard deviations are 5 x sqrt(4000 / 16 x
    # 15/16) = 77.
    assert abs(picked - 250) <= 77


def test_in_a_large_pool_the_worst_server_gets_nothing() -> None:
    members = [server("worst", latency=1.0), *(server(f"s{i}", latency=0.1) for i in range(4 * SMALL))]
    assert picks(ResponseTime(members, Random(1)), 1000)[members[0]] == 0
