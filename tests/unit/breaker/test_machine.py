"""Whatever its users do, in whatever order, the breaker does what its model does."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.breaker.kit import TRUE, Kit
from tests.unit.breaker.machine import machine_for
from tests.unit.breaker.walk import walk


def test_the_breaker_agrees_with_its_model_at_every_step() -> None:
    run_state_machine_as_test(
        machine_for(TRUE),
        settings=settings(max_examples=150, stateful_step_count=40, deadline=None, print_blob=True),
    )


@pytest.mark.parametrize("first", range(100, 200, 10))
def test_the_breaker_agrees_with_its_model_on_long_walks(kit: Kit, first: int) -> None:
    for seed in range(first, first + 10):
        walk(kit, seed, steps=300)
