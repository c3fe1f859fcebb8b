"""Another thread may note the end of a call at any moment, also while the breaker counts."""

import pytest

from postman.breaker import CircuitBreaker
from tests.unit.breaker.kit import Kit, Time, take


class _Late(list[float]):
    """A list to which another thread adds *number* at the very moment of the *looks*-th look at its length."""

    def __init__(self, number: float, looks: int) -> None:
        super().__init__()
        self._number = number
        self._looks = looks

    def __len__(self) -> int:
        self._looks -= 1
        if self._looks == 0:
            self.append(self._number)
        return super().__len__()


@pytest.mark.parametrize("looks", range(1, 12))
def test_a_success_that_is_noted_while_the_breaker_counts_is_counted(kit: Kit, time: Time, looks: int) -> None:
    breaker = kit.make(time, kit.trip(window=100.0))
    take(breaker, successes=1)
    permit = breaker.acquire()
    _end_late(breaker, permit.began, looks)
    time.now += 1.0
    take(breaker, successes=1)
    time.now += 1.0
    take(breaker, successes=1)

    for _ in range(looks):
        breaker.view()
    assert (breaker.view().successes, breaker.view().running) == (4, 0)


def _end_late(breaker: CircuitBreaker, began: float, looks: int) -> None:
    """Let a call of the present tick end without the lock, as late as that can be."""
    tick = breaker._machine.running.tick
    late = _Late(began, looks + 1)
    late.extend(tick.finished)
    tick.finished = late
