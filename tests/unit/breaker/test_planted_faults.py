"""The suite can fail: each of these mistakes, planted in the breaker's source, is seen by its checks."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.breaker.faults import FAULTS, Fault
from tests.unit.breaker.kit import Kit, Time
from tests.unit.breaker.machine import machine_for
from tests.unit.breaker.planted import planted
from tests.unit.breaker.walk import walk

_FAILURES = (AssertionError, pytest.fail.Exception, LookupError, RuntimeError, ValueError)
_WALKS = 30
"""Of 200 steps each; most faults show in the first."""
_COMMONEST = 8
"""Of the faults, those that other breakers have in fact; few examples of the state machine are enough for them."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_example_of_a_fault_fails(fault: Fault, tmp_path: Path) -> None:
    with planted(fault, tmp_path) as kit, pytest.raises((*_FAILURES, kit.rejected)):
        fault.check(kit, Time())


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.is_seen_by_model], ids=lambda fault: fault.name)
def test_walks_beside_the_model_fail(fault: Fault, tmp_path: Path) -> None:
    with planted(fault, tmp_path) as kit, pytest.raises((*_FAILURES, kit.rejected)):
        _walk(kit)


@pytest.mark.parametrize("fault", FAULTS[:_COMMONEST], ids=lambda fault: fault.name)
def test_the_state_machine_fails(fault: Fault, tmp_path: Path) -> None:
    with planted(fault, tmp_path) as kit, pytest.raises((*_FAILURES, kit.rejected)):
        _drive(kit)


def test_without_a_fault_nothing_fails(tmp_path: Path) -> None:
    """So it is the fault that is seen, not the planting."""
    with planted(None, tmp_path) as kit:
        for check in {fault.check for fault in FAULTS}:
            check(kit, Time())
        _walk(kit)
        _drive(kit)


def _walk(kit: Kit) -> None:
    for seed in range(_WALKS):
        walk(kit, seed, steps=200)


def _drive(kit: Kit) -> None:
    """Look for a failure always in the same order, and stop at the first: a fault is seen each time or never."""
    run_state_machine_as_test(
        machine_for(kit),
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        ),
    )
