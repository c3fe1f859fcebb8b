"""The records of a memory ledger keep their contract."""

import pytest

from postman.adapters.memory import MemoryLedger, MemoryRecords
from postman.ports.ledger import Ledger
from postman.testing.clock import FakeClock
from postman.testing.records_suite import RecordsSuite


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> MemoryLedger:
    return MemoryLedger(clock)


@pytest.fixture
def records(ledger: MemoryLedger) -> MemoryRecords:
    return MemoryRecords(ledger)


class TestMemoryRecords(RecordsSuite):
    """The contract."""

    @pytest.fixture(autouse=True)
    def _clock(self, clock: FakeClock) -> None:
        self.clock = clock

    async def pass_time(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    async def _take_over(self, ledger: Ledger) -> object:
        await self.clock.sleep(0.1)
        return await super()._take_over(ledger)
