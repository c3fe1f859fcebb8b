"""A layout: what may become of it, and what is refused with a reason."""

from collections.abc import Callable, Sequence

import pytest

from postman.core.layout import MOST_SHARDS, Layout, ShardState
from postman.core.shards import place
from postman.errors import LayoutError

NOW = 1_700_000_000.0


def test_without_a_change_the_settings_hold() -> None:
    layout = Layout.of(8, hand=2)

    assert (layout.publish, layout.consume, layout.top, layout.hand, layout.epoch) == (8, 8, 8, 2, 0)
    assert list(layout.read) == list(range(8))
    assert list(layout.retired) == []
    assert layout.is_settled


def test_every_change_is_the_next_epoch_and_says_when() -> None:
    layout = Layout.of(8)
    changes: Sequence[Callable[[Layout, float], Layout]] = (
        lambda old, now: old.pause(1, now=now),
        lambda old, now: old.resume(1, now=now),
        lambda old, now: old.close(2, now=now),
        lambda old, now: old.aim(12, now=now),
        lambda old, now: old.consuming(12, now=now),
        lambda old, now: old.publishing(12, now=now),
        lambda old, now: old.arrive(now=now),
    )
    for number, change in enumerate(changes, start=1):
        layout = change(layout, NOW + number)
        assert (layout.epoch, layout.changed_at) == (number, NOW + number)
    assert layout.published_at == NOW + 6


def test_workers_leave_paused_shards_alone_and_producers_do_not() -> None:
    layout = Layout.of(4).pause(1, 3, now=NOW)

    assert list(layout.read) == [0, 2]
    assert all(layout.takes(shard) for shard in range(4))


def test_producers_leave_closed_shards_alone_and_workers_do_not() -> None:
    layout = Layout.of(4).close(1, 3, now=NOW)

    assert list(layout.read) == [0, 1, 2, 3]
    ids = [f"mail-{number}" for number in range(200)]
    assert {layout.shard_of(mail_id) for mail_id in ids} == {0, 2}
    assert [layout.shard_of(mail_id) for mail_id in ids] == [place(mail_id, 4, closed={1, 3}) for mail_id in ids]


def test_a_resumed_shard_is_read_and_filled_again() -> None:
    layout = Layout.of(4).close(1, now=NOW).pause(1, 2, now=NOW).resume(1, 2, now=NOW)

    assert (layout.paused, layout.closed) == (frozenset(), frozenset())


@pytest.mark.parametrize("shard", [4, -1])
def test_what_is_no_shard_can_be_neither_paused_nor_closed_nor_resumed(shard: int) -> None:
    layout = Layout.of(4)
    for change in (layout.pause, layout.close, layout.resume):
        with pytest.raises(LayoutError, match=f"there is no shard {shard}: they are numbered from 0 to 3"):
            change(0, shard, now=NOW)


def test_the_last_shards_that_take_mails_cannot_be_closed() -> None:
    with pytest.raises(LayoutError, match="no shard that takes mails would be left without 0, 2"):
        Layout.of(3).close(1, now=NOW).close(2, 0, now=NOW)


def test_a_paused_shard_cannot_be_drained() -> None:
    with pytest.raises(LayoutError, match="shard 1 is paused, so nobody would empty it: resume it first"):
        Layout.of(3).pause(1, now=NOW).close(0, 1, now=NOW)


def test_workers_must_read_what_producers_fill() -> None:
    with pytest.raises(LayoutError, match="would not read every shard"):
        Layout.of(8).consuming(7, now=NOW)
    with pytest.raises(LayoutError, match="would not read every shard"):
        Layout.of(8).publishing(9, now=NOW)


@pytest.mark.parametrize("count", [0, -1, MOST_SHARDS + 1])
def test_there_are_1_to_1024_shards(count: int) -> None:
    with pytest.raises(LayoutError, match="there are 1 to 1024 shards"):
        Layout.of(count)


def test_nobody_can_make_workers_look_into_shards_that_cannot_be() -> None:
    with pytest.raises(LayoutError, match="there are 1 to 1024 shards, not 1025"):
        Layout(publish=1, consume=1, top=MOST_SHARDS + 1)


def test_shards_that_were_given_up_are_looked_into_for_good() -> None:
    layout = Layout.of(8).publishing(3, now=NOW).consuming(3, now=NOW)
    assert list(layout.retired) == [3, 4, 5, 6, 7]

    grown = layout.consuming(5, now=NOW)
    assert (list(grown.retired), grown.top) == ([5, 6, 7], 8)
    assert Layout(publish=2, consume=6, top=4).top == 6


def test_what_was_paused_or_closed_beyond_the_shards_that_are_read_is_forgotten() -> None:
    layout = Layout.of(8).close(1, 7, now=NOW).pause(0, 6, now=NOW).publishing(4, now=NOW).consuming(4, now=NOW)

    assert (layout.paused, layout.closed) == (frozenset({0}), frozenset({1}))


def test_a_change_may_bring_another_hand() -> None:
    layout = Layout.of(8, hand=2)

    assert layout.aim(8, now=NOW).hand == 2
    assert layout.aim(8, hand=3, now=NOW).hand == 3
    with pytest.raises(LayoutError, match="a hand is of 0 to 1024 shards, not 2000"):
        layout.aim(8, hand=2_000, now=NOW)


def test_every_shard_has_a_state() -> None:
    layout = Layout.of(8).close(1, now=NOW).pause(2, now=NOW)
    states = [layout.state_of(shard) for shard in range(3)]
    assert states == [ShardState.OPEN, ShardState.DRAINING, ShardState.PAUSED]

    growing = layout.aim(10, now=NOW).consuming(10, now=NOW)
    assert [growing.state_of(shard) for shard in (7, 8, 9)] == [ShardState.OPEN, ShardState.NEW, ShardState.NEW]
    shrinking = layout.aim(6, now=NOW).publishing(6, now=NOW)
    assert [shrinking.state_of(shard) for shard in (5, 6)] == [ShardState.OPEN, ShardState.GOING]
    assert shrinking.consuming(6, now=NOW).state_of(6) is ShardState.RETIRED
