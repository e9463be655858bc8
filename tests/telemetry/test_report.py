import pickle
from dataclasses import fields, is_dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.ewma import PeakEwma
from balancer.pool import Pool
from balancer.server import Server
from balancer.tally import ListenerTally, ServerTally
from balancer.telemetry.report import STATES, add, of_pool
from config import schema
from tests.telemetry.reports import pool, report, reports, server
from tests.telemetry.test_sums import numbers


def a_pool(*names: str, **settings: object) -> Pool:
    """A pool as a plane has it, its servers checked and up."""
    made = Pool("app", Random(1), b"secret", lambda event, where, detail: None)
    servers = [Server(("app", name), f"http://{name}:80", name, 80, PeakEwma(10.0, 0.03)) for name in names]
    configured = {name: schema.Server(url=f"http://{name}:80") for name in names}
    made.configure(schema.Pool(servers=configured, **settings), servers, now=0.0)
    return made


def test_a_pool_is_reported_as_it_is():
    made = a_pool("a", "b")
    one, other = made.servers.values()
    made.take(one)
    one.latency.observe(0.25, 9.0)
    other.drained = True
    made.refresh(10.0)
    told = of_pool(made, now=9.0)
    assert (told.name, told.strategy, told.panic, told.queue) == ("app", "round-robin", False, 0)
    busy, drained = told.servers
    assert (busy.state, busy.in_rotation, busy.inflight, busy.latency) == ("up", True, 1, 0.25)
    assert (drained.state, drained.in_rotation, drained.effective_weight) == ("drained", False, 0.0)
    assert drained.latency is None
    assert drained.ejected_until is None


def test_a_report_shows_live_counts():
    made = a_pool("a")
    told = of_pool(made, now=0.0)
    made.servers["a"].tally.codes[200] += 1
    assert told.codes() == {200: 1}


def test_servers_that_have_left_still_count_for_their_pool():
    gone = ServerTally()
    gone.codes[200] = 7
    gone.retries["reset"] = 2
    gone.latency.observe(0.1)
    told = of_pool(a_pool("a"), now=0.0, retired=gone)
    told.servers[0].tally.codes[200] = 1
    told.tally.unserved[503] = 1
    assert told.codes() == {200: 8, 503: 1}
    assert told.retries() == {"reset": 2}
    assert sum(told.latency().counts) == 1


def test_every_state_a_server_can_be_in_is_known():
    lone = a_pool("a").servers["a"]
    reached = {lone.state}
    for reason in ("ejected", "down", "checking", "drained", "maintenance"):
        setattr(lone, reason, True)
        reached.add(lone.state)
    assert reached == set(STATES)


def test_in_flight_counts_requests_that_wait_too():
    assert report(pool("app", [server(inflight=3)], queue=2), pool("b", [server(inflight=1)])).inflight == 6


@pytest.mark.slow
@given(reports())
def test_a_report_survives_a_trip_to_another_process(told):
    back = pickle.loads(pickle.dumps(told))
    assert same(back, told)


@pytest.mark.slow
@given(st.lists(reports(), min_size=1, max_size=3))
def test_the_sum_of_planes_does_not_depend_on_their_order(told):
    assert same(add(told), add(told[::-1]))


@pytest.mark.slow
@given(reports())
def test_the_sum_of_one_plane_is_that_plane(told):
    assert add([told]) is told


def test_planes_add_counts_and_gauges_and_panic_together():
    planes = []
    for generation, panic in ((4, False), (3, True)):
        tally, listener = ServerTally(), ListenerTally()
        tally.requests, listener.open = 5, 7
        told = report(
            pool("app", [server(tally=tally, inflight=2, idle=3, tunnels=1)], panic=panic, queue=1),
            generation=generation,
        )
        told.listeners["main"] = listener
        planes.append(told)
    whole = add(planes)
    assert whole.generation == 3  # what is in force everywhere
    assert whole.connections == 14
    app = whole.pools["app"]
    assert (app.panic, app.queue) == (True, 2)
    (a,) = app.servers
    assert (a.tally.requests, a.inflight, a.idle, a.tunnels) == (10, 4, 6, 2)


def test_a_server_that_one_plane_has_ejected_is_not_up():
    whole = add([report(pool("app", [server(state=s, ejected_until=u)])) for s, u in (("up", None), ("ejected", 7.0))])
    assert whole.pools["app"].servers[0].state == "ejected"
    assert whole.pools["app"].servers[0].ejected_until == 7.0


def test_the_average_latency_of_planes_counts_by_their_requests():
    planes = []
    for requests, latency in ((30, 0.1), (10, 0.5), (99, None)):
        tally = ServerTally()
        tally.requests = requests
        planes.append(report(pool("app", [server(tally=tally, latency=latency)])))
    assert add(planes).pools["app"].servers[0].latency == pytest.approx(0.2)


def test_a_pool_that_only_one_plane_knows_is_part_of_the_sum():
    assert set(add([report(pool("old")), report(pool("new"))]).pools) == {"old", "new"}


SET_BY_OPERATOR = ("url", "strategy", "weight", "backup", "cap")  # and so the same in all planes


def same(one, other) -> bool:
    """Equality of reports, pools and servers by their numbers: tallies compare by identity."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return same({item.name: item for item in one}, {item.name: item for item in other})
    if is_dataclass(one):
        names = [field.name for field in fields(one) if field.name not in SET_BY_OPERATOR]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if hasattr(one, "__slots__"):
        return numbers(one) == numbers(other)
    return one == pytest.approx(other)
