"""The memory list keeps the suppressions' contract."""

import pytest

from postman.adapters.memory import MemorySuppressions, open_suppressions
from postman.errors import ConfigError
from postman.ports.opening import Cluster
from postman.testing.clock import FakeClock
from postman.testing.suppression_suite import SuppressionSuite


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def suppressions(clock: FakeClock) -> MemorySuppressions:
    return MemorySuppressions(clock, page=5)


class TestMemorySuppressions(SuppressionSuite):
    """The contract."""


def test_memory_has_no_place() -> None:
    """A path after `memory:` is a misunderstanding, and is told so."""
    assert isinstance(open_suppressions("", Cluster(FakeClock())), MemorySuppressions)
    with pytest.raises(ConfigError, match="memory:"):
        open_suppressions("file.db", Cluster(FakeClock()))
