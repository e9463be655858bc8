"""What we accept of clients means the same to two other parsers, and so does what we send on to servers."""

from __future__ import annotations

from random import Random

import pytest

from tests.differential import CASES, SEED
from tests.differential.corpus import REQUESTS
from tests.differential.mutator import mutations, pieces
from tests.differential.requests import check_requests
from tests.differential.rig import Rig

SHARES = 6  # so that several workers can take them


@pytest.mark.parametrize("data", REQUESTS)
def test_tricky_requests_mean_to_others_what_they_mean_to_us(data: bytes) -> None:
    rig = Rig()
    whole = check_requests(rig, [data])
    assert check_requests(rig, [data[at : at + 1] for at in range(len(data))]) == whole
    check_requests(rig, [data], early=True)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_changed_requests_mean_to_others_what_they_mean_to_us(share: int) -> None:
    rig = Rig()
    seed = SEED * SHARES + share
    rng = Random(seed)
    count = CASES * 6 // 10 // SHARES
    taken = 0
    for number, data in enumerate(mutations(REQUESTS, seed, count)):
        try:
            outcome = check_requests(rig, [data], early=number % 16 == 0)
            taken += bool(outcome.heads)
            if number % 8 == 1:
                assert check_requests(rig, pieces(data, rng)) == outcome, "cut up, it means something else"
        except Exception as wrong:
            raise AssertionError(f"seed {SEED}, share {share}, case {number}: {data[:2000]!r}") from wrong
    assert taken > count / 5, "the changes leave too few requests to say anything"
