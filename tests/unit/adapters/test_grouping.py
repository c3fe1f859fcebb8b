"""Calls that come together travel together, each with its own result."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from postman.adapters._grouping import Grouper

Result = str | BaseException


class Wire:
    """Records the groups that travel; each is answered when it is told to."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.groups: list[list[str]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.answer: Callable[[Sequence[str]], Sequence[Result]] = lambda items: [item.upper() for item in items]
        self._gate = asyncio.Event()
        if is_open:
            self._gate.set()

    async def send(self, items: Sequence[str]) -> Sequence[Result]:
        self.groups.append(list(items))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self._gate.wait()
            return self.answer(items)
        finally:
            self.under_way -= 1

    def open(self) -> None:
        self._gate.set()


@pytest.fixture
async def closed() -> AsyncIterator[Wire]:
    """A wire that answers nothing until it is opened."""
    wire = Wire(is_open=False)
    yield wire
    wire.open()


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _start(grouper: Grouper[str, str], items: Sequence[str]) -> list["asyncio.Task[str]"]:
    return [asyncio.create_task(grouper.add(item)) for item in items]


async def test_what_comes_in_one_turn_travels_together() -> None:
    wire = Wire()
    grouper = Grouper(wire.send)

    assert await asyncio.gather(*_start(grouper, "abc")) == ["A", "B", "C"]
    assert wire.groups == [["a", "b", "c"]]


async def test_what_comes_meanwhile_forms_the_next_group(closed: Wire) -> None:
    grouper = Grouper(closed.send, overlap=1)
    tasks = _start(grouper, "a")
    await _turns()
    for item in "bcd":
        tasks += _start(grouper, item)
        await _turns()
    waiting = list(closed.groups)
    closed.open()
    await asyncio.gather(*tasks)

    assert waiting == [["a"]]
    assert closed.groups == [["a"], ["b", "c", "d"]]


async def test_a_quiet_system_does_not_wait_for_company(closed: Wire) -> None:
    """Each call that finds a free place starts by itself."""
    grouper = Grouper(closed.send, overlap=2)
    tasks = _start(grouper, "a")
    await _turns()
    tasks += _start(grouper, "b")
    await _turns()
    groups = list(closed.groups)
    closed.open()
    await asyncio.gather(*tasks)

    assert groups == [["a"], ["b"]]


async def test_no_more_groups_travel_at_once_than_allowed(closed: Wire) -> None:
    grouper = Grouper(closed.send, limit=1, overlap=3)
    tasks = _start(grouper, "abcdefgh")
    await _turns()
    closed.open()
    await asyncio.gather(*tasks)

    assert closed.most_under_way == 3
    assert len(closed.groups) == 8


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (8, [7])])
async def test_a_group_holds_no_more_items_than_its_limit(limit: int, sizes: list[int]) -> None:
    wire = Wire()
    grouper = Grouper(wire.send, limit=limit)
    await asyncio.gather(*_start(grouper, "abcdefg"))

    assert [len(group) for group in wire.groups] == sizes


@pytest.mark.parametrize(
    ("items", "groups"),
    [
        (["aa", "bb", "c"], [["aa", "bb"], ["c"]]),
        (["aa", "bbb", "c"], [["aa"], ["bbb", "c"]]),
        (["aaaa", "b"], [["aaaa"], ["b"]]),
        (["a", "bbbbbbbbb", "c"], [["a"], ["bbbbbbbbb"], ["c"]]),
        (["bbbbbbbbb", "a", "c"], [["bbbbbbbbb"], ["a", "c"]]),
    ],
    ids=["full", "one too heavy", "exactly full", "too heavy for any", "too heavy and first"],
)
async def test_a_group_is_no_heavier_than_allowed_but_for_one_heavy_item(
    items: list[str], groups: list[list[str]]
) -> None:
    """What is too heavy for any group goes alone, rather than never."""
    wire = Wire()
    grouper = Grouper(wire.send, weigh=len, max_weight=4)
    await asyncio.gather(*_start(grouper, items))

    assert wire.groups == groups


async def test_each_item_has_its_own_result_or_error() -> None:
    wire = Wire()
    wire.answer = lambda items: [LookupError(item) if item == "b" else item.upper() for item in items]
    grouper = Grouper(wire.send)
    results = await asyncio.gather(*_start(grouper, "abc"), return_exceptions=True)

    assert [str(result) for result in results] == ["A", "b", "C"]
    assert isinstance(results[1], LookupError)


async def test_an_error_of_the_whole_group_is_everyones_and_the_next_group_travels() -> None:
    wire = Wire()
    wire.answer = _fail
    grouper = Grouper(wire.send)
    results = await asyncio.gather(*_start(grouper, "abc"), return_exceptions=True)
    wire.answer = list

    assert [type(result) for result in results] == [ConnectionError] * 3
    assert await grouper.add("d") == "d"


@pytest.mark.parametrize("count", [0, 2, 4])
async def test_a_wrong_number_of_results_is_an_error_for_everyone_not_a_wait_for_ever(count: int) -> None:
    wire = Wire()
    wire.answer = lambda _: ["x"] * count
    grouper = Grouper(wire.send)
    async with asyncio.timeout(1.0):
        results = await asyncio.gather(*_start(grouper, "abc"), return_exceptions=True)

    assert [type(result) for result in results] == [RuntimeError] * 3


async def test_a_caller_that_is_cancelled_harms_no_other_and_its_item_travels(closed: Wire) -> None:
    grouper = Grouper(closed.send)
    first, second = _start(grouper, "ab")
    await _turns()
    first.cancel()
    await _turns()
    closed.open()

    assert await second == "B"
    assert first.cancelled()
    assert closed.groups == [["a", "b"]]


async def test_closing_waits_for_all_that_was_added(closed: Wire) -> None:
    grouper = Grouper(closed.send, limit=2, overlap=1)
    tasks = _start(grouper, "abcde")
    await _turns(1)
    closing = asyncio.create_task(grouper.aclose())
    await _turns(20)
    was_closed = closing.done()
    closed.open()
    await closing

    assert not was_closed
    assert [task.result() for task in tasks] == ["A", "B", "C", "D", "E"]


async def test_closing_waits_also_for_what_was_added_in_this_very_turn() -> None:
    wire = Wire()
    grouper = Grouper(wire.send)
    [task] = _start(grouper, "a")
    await asyncio.sleep(0)
    await grouper.aclose()
    await _turns()

    assert task.done()
    assert wire.groups == [["a"]]


async def test_closing_survives_groups_that_fail() -> None:
    wire = Wire()
    wire.answer = _fail
    grouper = Grouper(wire.send, limit=1, overlap=1)
    tasks = _start(grouper, "abc")
    await asyncio.sleep(0)
    await grouper.aclose()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(result) for result in results] == [ConnectionError] * 3


async def test_closing_twice_or_unused_is_fine() -> None:
    grouper = Grouper(Wire().send)
    await grouper.aclose()
    await grouper.aclose()

    assert await grouper.add("a") == "A"


def _fail(items: Sequence[str]) -> Sequence[Result]:
    raise ConnectionError("no answer")
