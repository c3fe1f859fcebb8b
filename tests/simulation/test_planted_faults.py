"""The simulation can fail: each of these mistakes, planted in the product's source, is found by some seed."""

import sys
from dataclasses import replace

import pytest

from tests.simulation.campaign import run_campaign
from tests.simulation.faults import FAULTS, Fault
from tests.simulation.planting import PlantError, check

_SEEDS = 3_000


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_mistake_is_found(fault: Fault) -> None:
    campaign = run_campaign(range(_SEEDS), jobs=1, fault=fault.name, stops_at_failure=True)

    assert campaign.failures, f"{_SEEDS} seeds did not find it"
    sys.stdout.write(f"found at seed {campaign.failures[0].seed}: {campaign.failures[0].wrongs[0]}\n")


def test_a_place_that_was_rewritten_wants_the_mistake_planted_anew() -> None:
    for fault in FAULTS:
        check(fault)

    with pytest.raises(PlantError, match="plant it anew"):
        check(replace(FAULTS[0], old="what nobody wrote"))
    with pytest.raises(PlantError, match="plant it anew"):
        check(replace(FAULTS[0], module="postman.core.nowhere"))
