"""What a function works with: opened once, and closed before the server hears that it shall end."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import FrameType

import pytest
from structlog.testing import capture_logs

from postman.entrypoints.functions.resident import Resident
from postman.entrypoints.serve.answers import Refusal
from postman.errors import ConfigError, LedgerUnavailableError, PostmanError
from postman.testing.waiting import wait_until

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class House:
    """Something to open, and what became of it in which order."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.problem: PostmanError | None = None
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.resident = Resident(self._opening, ending=lambda house: house.story.append("ending"), grace=2.0)

    @asynccontextmanager
    async def _opening(self) -> AsyncIterator["House"]:
        await self.may_open.wait()
        if self.problem is not None:
            raise self.problem
        self.story.append("opened")
        yield self
        self.story.append("closed")

    async def use(self) -> None:
        async with self.resident.using() as house:
            assert house is self


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that the server heard, which stands here for whoever listened before."""
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    before = {number: signal.signal(number, hear) for number in SIGNALS}
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_it_is_opened_once_for_all_requests() -> None:
    house = House()
    house.may_open.clear()
    asking = [asyncio.ensure_future(house.use()) for _ in range(20)]
    await asyncio.sleep(0)
    house.may_open.set()
    await asyncio.gather(*asking)
    await house.use()
    await house.resident.aclose()

    assert house.story == ["opened", "ending", "closed"]


async def test_who_gives_up_waiting_spoils_it_for_nobody() -> None:
    house = House()
    house.may_open.clear()
    one, other = asyncio.ensure_future(house.use()), asyncio.ensure_future(house.use())
    await asyncio.sleep(0)
    one.cancel()
    house.may_open.set()

    await other
    await house.resident.aclose()


@pytest.mark.parametrize("problem", [ConfigError("POSTMAN_X: is wrong"), LedgerUnavailableError("away")])
async def test_what_cannot_be_opened_is_told_and_tried_again(problem: PostmanError) -> None:
    house = House()
    house.problem = problem
    with capture_logs() as logs, pytest.raises(Refusal) as refused:
        await house.use()
    house.problem = None
    await house.use()
    await house.resident.aclose()

    assert refused.value.status == 503
    assert [(line["event"], line["reason"]) for line in logs] == [("not_opened", str(problem))]
    assert str(problem) not in refused.value.detail


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_server_hears_of_the_signal_when_all_is_finished_and_closed(heard: list[int], number: int) -> None:
    house = House()
    async with house.resident.using():
        signal.raise_signal(number)
        await wait_until(lambda: "ending" in house.story, within=2.0)
        with pytest.raises(Refusal) as refused:
            await house.use()
        assert refused.value.status == 503
        assert (house.story, heard) == (["opened", "ending"], [])
    await wait_until(lambda: heard, within=2.0)

    told = signal.SIGTERM if number == signal.SIGQUIT else number
    assert (house.story, heard) == (["opened", "ending", "closed"], [told])
    with pytest.raises(Refusal):
        await house.use()


async def test_a_second_signal_is_the_server_s_at_once(heard: list[int]) -> None:
    house = House()
    async with house.resident.using():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

        assert heard == [signal.SIGTERM]
        await wait_until(lambda: "ending" in house.story, within=2.0)
    await wait_until(lambda: len(heard) == 2, within=2.0)


async def test_a_request_that_does_not_end_is_waited_for_no_longer_than_the_grace(heard: list[int]) -> None:
    house = House()
    async with house.resident.using():
        signal.raise_signal(signal.SIGTERM)
        await wait_until(lambda: heard, within=3.0)

        assert house.story == ["opened", "ending", "closed"]


async def test_before_the_first_request_nothing_is_held(heard: list[int]) -> None:
    """A process that has nothing to finish ends as the server would have it."""
    House()
    signal.raise_signal(signal.SIGTERM)

    assert heard == [signal.SIGTERM]
