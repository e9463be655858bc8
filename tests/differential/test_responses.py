"""What we accept of servers means the same to two other parsers, and so does what we send on to clients."""

from __future__ import annotations

from random import Random

import pytest

from tests.differential import CASES, SEED
from tests.differential.corpus import RESPONSES
from tests.differential.mutator import mutations, pieces
from tests.differential.responses import ASKED, check_response
from tests.differential.rig import Rig

SHARES = 4
ENDS = ("", "eof", "eof", "reset")


@pytest.mark.parametrize("data", RESPONSES)
def test_tricky_responses_mean_to_others_what_they_mean_to_us(data: bytes) -> None:
    rig = Rig()
    for asked in ASKED:
        for end in ENDS:
            check_response(rig, asked, [data], end)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_changed_responses_mean_to_others_what_they_mean_to_us(share: int) -> None:
    rig = Rig()
    seed = SEED * SHARES + share
    rng = Random(seed)
    count = CASES * 4 // 10 // SHARES
    taken = 0
    for number, data in enumerate(mutations(RESPONSES, seed, count)):
        asked = ASKED[int(rng.random() * len(ASKED))]
        end = ENDS[int(rng.random() * len(ENDS))]
        if not data:
            continue
        try:
            outcome = check_response(rig, asked, [data], end)
            taken += outcome.outcome == "ok"
            if number % 8 == 1:
                again = check_response(rig, asked, pieces(data, rng), end)
                assert again == outcome, "cut up, it means something else"
        except Exception as wrong:
            where = f"seed {SEED}, share {share}, case {number}, {asked.method!r} 1.{asked.minor}, {end}"
            raise AssertionError(f"{where}: {data[:2000]!r}") from wrong
    assert taken > count / 10, "the changes leave too few answers to say anything"
