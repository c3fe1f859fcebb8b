"""The memory ledger keeps the ledger's contract."""

import pytest

from postman.adapters.memory.ledger import MemoryLedger
from postman.testing.clock import FakeClock
from postman.testing.ledger import LedgerSuite


class TestMemoryLedger(LedgerSuite):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def ledger(self, clock: FakeClock) -> MemoryLedger:
        return MemoryLedger(clock)
