"""What we accept of clients means the same to two other parsers, and so does what we send on to servers."""

from __future__ import annotations

from random import Random

import pytest

from tests.differential import CASES, SEED
from tests.differential.corpus import REQUESTS, TE, get, post
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
@pytest.mark.parametrize("step", [1000, 20_000, 10**6])
def test_requests_behind_a_body_of_very_many_chunks_keep_their_order(step: int) -> None:
    """Such a body is worked on in slices, between which what comes after it has to wait."""
    after = [b"/%d" % number for number in range(12)]
    data = post(TE, body=b"1\r\na\r\n" * 9000 + b"0\r\n\r\n")
    data += b"".join(get(b"X: " + b"x" * 1000, target=target) for target in after)
    outcome = check_requests(Rig(), [data[at : at + step] for at in range(0, len(data), step)])
    assert [target for _, target, _, _ in outcome.heads] == [b"/p", *after]
    assert [len(body) for _, _, body, _ in outcome.forwarded] == [9000] + [0] * len(after)


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
