"""The memory ledger keeps the ledger's contract."""

import pytest

from postman.adapters.memory.ledger import MemoryLedger, open_ledger
from postman.errors import ConfigError
from postman.ports.opening import Cluster
from postman.testing.clock import FakeClock
from postman.testing.ledger import LedgerSuite


class TestMemoryLedger(LedgerSuite):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def ledger(self, clock: FakeClock) -> MemoryLedger:
        return MemoryLedger(clock)


def test_memory_has_no_place() -> None:
    """A path after `memory:` is a misunderstanding, and is told so."""
    assert isinstance(open_ledger("", Cluster(FakeClock())), MemoryLedger)
    with pytest.raises(ConfigError, match="memory:"):
        open_ledger("file.db", Cluster(FakeClock()))
