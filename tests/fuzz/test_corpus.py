"""What the fuzz targets hold, they hold for every input that was ever of interest."""

from __future__ import annotations

from random import Random

import pytest

from tests.differential.mutator import mutate
from tests.fuzz.__main__ import NAMES
from tests.fuzz.seeds import CORPUS, kept, seeds
from tests.fuzz.targets import TARGETS

CHANGED = 2000


@pytest.mark.slow
@pytest.mark.parametrize("target", NAMES)
def test_no_input_that_was_kept_fails_its_target(target: str) -> None:
    for data in seeds(target):
        TARGETS[target](data)


@pytest.mark.slow
@pytest.mark.parametrize("target", NAMES)
def test_no_change_of_an_input_fails_its_target(target: str) -> None:
    corpus = seeds(target)
    rng = Random(1)
    for _ in range(CHANGED):
        data = mutate(rng.choice(corpus), corpus, rng)
        TARGETS[target](mutate(data, corpus, rng) if rng.random() < 0.3 else data)


def test_every_target_has_inputs_and_every_input_a_target() -> None:
    assert set(NAMES) == set(TARGETS)
    assert {path.name for path in CORPUS.iterdir()} == set(NAMES)
    for target in NAMES:
        assert kept(target)
