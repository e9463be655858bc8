"""Answers and requests of any make, held against the oracle."""

from __future__ import annotations

from random import Random

import pytest

from tests.caching.case import proves
from tests.caching.lab import Lab
from tests.caching.oracle import ASKED, EITHER, REFUSED, SERVED, Said, Wished, any_answer, any_request, verdict
from tests.caching.server import says

PAIRS = 60


def happens(lab: Lab, said: Said, first: Wished, then: Wished) -> str:
    """What the running cache does with the second of two requests."""
    place = lab.place("oracle")
    answer = says(*said.lines(), status=said.status)
    client = lab.client()
    place.plan(answer)
    client.ask(f"/{place.name}", *first.lines())
    place.plan(answer)
    seen = client.ask(f"/{place.name}", *then.lines())
    client.close()
    if seen.status == 504:
        return REFUSED
    if seen.body == place.body_of(1):
        return SERVED
    assert seen.body == place.body_of(2), seen
    return ASKED


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@proves(
    "Everything at once",
    "RFC 9111 sections 3, 4",
    "Any answer is used, or not, for any two requests, as worked out from the RFC a second time.",
)
def test_what_happens_is_what_the_rfc_allows(lab: Lab, seed: int) -> None:
    rng = Random(seed)
    for _ in range(PAIRS):
        said, first, then = any_answer(rng), any_request(rng, first=True), any_request(rng)
        allowed = verdict(said, first, then)
        unserved = REFUSED if "only-if-cached" in then.flags else ASKED
        did = happens(lab, said, first, then)
        assert did == allowed or (allowed == EITHER and did in (SERVED, unserved)), (
            f"{did}, and not {allowed}:\n{said.status} {said.lines()}\nfirst {first.lines()}\nthen {then.lines()}"
        )
