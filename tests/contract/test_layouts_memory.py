"""The memory store keeps the layout's contract."""

import pytest

from postman.adapters.memory import MemoryLayouts, open_layouts
from postman.errors import ConfigError
from postman.ports.opening import Cluster
from postman.testing.clock import FakeClock
from postman.testing.layouts_suite import LayoutsSuite, OpenAgain, first_layout


@pytest.fixture
def layouts() -> MemoryLayouts:
    return MemoryLayouts()


@pytest.fixture
def open_again(layouts: MemoryLayouts) -> OpenAgain:
    """Another process shares the layout by sharing the object."""
    return lambda: layouts


class TestMemoryLayouts(LayoutsSuite):
    """The contract."""


async def test_each_opening_is_a_store_of_its_own(layouts: MemoryLayouts) -> None:
    await layouts.change(first_layout())
    assert await open_layouts("", Cluster(FakeClock())).read() is None


def test_memory_has_no_place() -> None:
    """A path after `memory:` is a misunderstanding, and is told so."""
    with pytest.raises(ConfigError, match="memory:"):
        open_layouts("file.db", Cluster(FakeClock()))
