"""The contract of the port `Layouts`, as tests.

Subclass `LayoutsSuite` and give it two fixtures: *layouts*, a store without a
layout, ready for use, and *open_again*, which opens the same store once more,
as another process would; what it opens the suite closes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import pytest

from postman.core.layout import MOST_SHARDS, Layout
from postman.errors import LayoutChangedError
from postman.ports.layouts import Layouts

__all__ = ["LayoutsSuite", "OpenAgain", "first_layout", "full_layout"]

OpenAgain = Callable[[], Layouts]

_RIVALS = 20


def first_layout(*, now: float = 1_700_000_000.0) -> Layout:
    """Return the first change that anybody makes to a cluster of eight shards."""
    return Layout.of(8).aim(12, now=now)


def full_layout() -> Layout:
    """Return a first change in which no field has its default, with times to the last digit."""
    return Layout(
        publish=8,
        consume=12,
        epoch=1,
        target=10,
        top=16,
        hand=3,
        paused=frozenset({2, 11}),
        closed=frozenset({0, 5, 7}),
        changed_at=1_700_000_000.1234567,
        published_at=1_699_999_999.987654,
    )


class LayoutsSuite:
    """See the module."""

    async def test_nobody_changed_anything_yet(self, layouts: Layouts) -> None:
        """That there is no layout is no error: the settings hold."""
        assert await layouts.read() is None

    async def test_a_layout_is_read_as_it_was_written(self, layouts: Layouts) -> None:
        """Every field arrives, to the last digit."""
        written = full_layout()
        await layouts.change(written)
        assert all(getattr(written, field.name) != field.default for field in fields(written))
        assert await layouts.read() == written

    async def test_the_largest_layout_fits(self, layouts: Layouts) -> None:
        """All shards there can be, all of them paused, all closed but one."""
        every = range(MOST_SHARDS)
        written = replace(Layout.of(MOST_SHARDS), epoch=1, paused=frozenset(every), closed=frozenset(every[1:]))
        await layouts.change(written)
        assert await layouts.read() == written

    async def test_each_change_replaces_the_one_before(self, layouts: Layouts) -> None:
        """No field of an older epoch shines through."""
        first = full_layout()
        second = Layout(publish=1, consume=1, epoch=2)
        for layout in (first, second, second.aim(4, now=5.0)):
            await layouts.change(layout)
            assert await layouts.read() == layout

    async def test_a_change_is_seen_by_all(self, layouts: Layouts, open_again: OpenAgain) -> None:
        """Whoever looks after the change was made sees it, however often he looked before."""
        other = open_again()
        assert await other.read() is None
        for layout in (first_layout(), replace(first_layout(), epoch=2, target=0)):
            await layouts.change(layout)
            assert await other.read() == layout
        await other.aclose()

    @pytest.mark.parametrize("epoch", [0, 1, 2, 4, 100])
    async def test_a_change_of_another_epoch_is_refused_and_changes_nothing(self, layouts: Layouts, epoch: int) -> None:
        """Whoever made his change from an older layout did not know what he changed."""
        stands = replace(first_layout(), epoch=2)
        await layouts.change(first_layout())
        await layouts.change(stands)
        with pytest.raises(LayoutChangedError):
            await layouts.change(replace(full_layout(), epoch=epoch))
        assert await layouts.read() == stands
        await layouts.change(replace(full_layout(), epoch=3))

    @pytest.mark.parametrize("epoch", [0, 2])
    async def test_the_first_change_is_made_from_epoch_0(self, layouts: Layouts, epoch: int) -> None:
        """Where there is no layout, nobody can have read a later one."""
        with pytest.raises(LayoutChangedError):
            await layouts.change(replace(first_layout(), epoch=epoch))
        assert await layouts.read() is None
        await layouts.change(first_layout())
        assert await layouts.read() == first_layout()

    async def test_a_change_that_is_made_again_is_refused(self, layouts: Layouts) -> None:
        """After an answer that was lost, a look tells whether it was made; making it again does not."""
        await layouts.change(first_layout())
        with pytest.raises(LayoutChangedError):
            await layouts.change(first_layout())
        assert await layouts.read() == first_layout()

    @pytest.mark.parametrize("epoch", [1, 2], ids=["the first", "a later one"])
    async def test_of_many_changes_at_once_one_is_made(
        self, layouts: Layouts, open_again: OpenAgain, epoch: int
    ) -> None:
        """The others learn that they were late, in whichever process they are."""
        if epoch > 1:
            await layouts.change(first_layout())
        others = [open_again() for _ in range(3)]
        changes = [replace(full_layout(), epoch=epoch, changed_at=float(rival)) for rival in range(_RIVALS)]
        outcomes = await _change_at_once([layouts, *others], changes)
        found = [await each.read() for each in (layouts, *others)]
        for other in others:
            await other.aclose()

        made = [layout for layout, outcome in zip(changes, outcomes, strict=True) if outcome is None]
        late = [outcome for outcome in outcomes if isinstance(outcome, LayoutChangedError)]
        assert (len(made), len(late)) == (1, _RIVALS - 1), outcomes
        assert found == made * 4

    async def test_making_is_idempotent(self, layouts: Layouts) -> None:
        """What is there already is left alone, and making makes no layout."""
        await layouts.ensure()
        assert await layouts.read() is None
        await layouts.change(first_layout())
        await layouts.ensure()
        assert await layouts.read() == first_layout()

    async def test_closing_twice_is_fine(self, layouts: Layouts, open_again: OpenAgain) -> None:
        """A store is closed once for all who share it; and what stands there stays."""
        other = open_again()
        await other.change(first_layout())
        await other.aclose()
        await other.aclose()
        assert await layouts.read() == first_layout()

    async def test_closing_before_any_use_is_fine(self, open_again: OpenAgain) -> None:
        await open_again().aclose()


async def _change_at_once(stores: Sequence[Layouts], changes: Sequence[Layout]) -> Sequence[BaseException | None]:
    """Return what became of each change, made by the stores in turn."""
    calls = [stores[number % len(stores)].change(layout) for number, layout in enumerate(changes)]
    return await asyncio.gather(*calls, return_exceptions=True)
