from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from balancer.tally import BOUNDS, ListenerTally, PoolTally, RouteTally, ServerTally
from balancer.telemetry.sums import absorb, add_up, merge
from tests.telemetry.reports import tallies


def numbers(tally) -> dict[str, object]:
    """A tally's fields, for comparing; zeros in maps are as good as nothing."""
    found = {}
    for name in tally.__slots__:
        value = getattr(tally, name)
        if hasattr(value, "counts"):
            value = (tuple(value.counts), value.total)
        elif isinstance(value, dict):
            value = +Counter(value)
        found[name] = value
    return found


@given(kind=st.sampled_from([ServerTally, RouteTally, PoolTally, ListenerTally]), data=st.data())
def test_a_sum_of_tallies_does_not_depend_on_their_order_and_leaves_them_alone(kind, data):
    parts = data.draw(st.lists(tallies(kind), min_size=1, max_size=3))
    before = [numbers(part) for part in parts]
    assert numbers(merge(parts)) == numbers(merge(parts[::-1]))
    assert [numbers(part) for part in parts] == before


def test_every_field_of_a_tally_is_added():
    one, other = ServerTally(), ServerTally()
    for tally in (one, other):
        tally.requests = 3
        tally.codes[200] += 2
        tally.failures["reset"] += 1
        tally.latency.observe(0.02)
    other.codes[502] += 1
    absorb(one, other)
    assert one.requests == 6
    assert one.codes == {200: 4, 502: 1}
    assert one.failures == {"reset": 2}
    assert sum(one.latency.counts) == 2
    assert one.latency.total == 0.04
    assert len(one.latency.counts) == len(BOUNDS) + 1


def test_counts_of_several_maps_are_added_by_key():
    assert add_up([{200: 1, 404: 2}, {}, {200: 5}]) == {200: 6, 404: 2}
