"""Pages that change while somebody looks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from postman.core.fleet.reports import ProviderStanding, WorkerReport
from postman.testing.waiting import wait_until
from tests.contract.console.conftest import WELL, Desk, console, report


class Counting:
    """A roster that counts who asks."""

    def __init__(self, now: float) -> None:
        self.asked = 0
        self.now = now

    async def reports(self, since: float) -> Sequence[WorkerReport]:
        self.asked += 1
        return [report(self.now)]


class Stream:
    """A browser's side of a live page."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def parts(self) -> dict[str, Any]:
        """Return the next parts."""
        while line := await self.answer.content.readline():
            if line.startswith(b"data: "):
                found: dict[str, Any] = orjson.loads(line.removeprefix(b"data: "))
                return found
        return {}

    async def rest(self) -> bytes:
        return await self.answer.content.read()


@asynccontextmanager
async def stream(desk: Desk, view: str = "overview") -> AsyncIterator[Stream]:
    async with desk.session.get(f"{desk.url}/stream/{view}") as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        yield Stream(answer)


async def emptied(desk: Desk) -> None:
    """Wait until those who left are found to have left, which is when they are told something."""

    async def is_empty() -> bool:
        await desk.later(2)
        return not desk.parts.streams.viewers

    await wait_until(is_empty, within=5.0)


async def test_what_changes_is_sent_and_nothing_else(desk: Desk) -> None:
    await desk.report()
    async with stream(desk, "providers") as live:
        first = await live.parts()
        assert "open" not in first["live_rows"]

        down = ProviderStanding("open", problem="it is down")
        await desk.report(providers={**WELL, "mailgun": down})
        await desk.later(2)
        second = await live.parts()

    assert {"live_rows", "live_changes", "live_stamp"} == set(first)
    assert set(second) == {"live_rows", "live_stamp"}
    assert "it is down" in second["live_rows"]


async def test_the_parts_are_those_of_the_page(desk: Desk) -> None:
    await desk.report()
    page = (await desk.get("/")).text
    async with stream(desk) as live:
        first = await live.parts()

    for name, html in first.items():
        assert f'id="{name}"' in page
        assert html in page


async def test_a_mail_that_no_worker_had_yet_appears(desk: Desk) -> None:
    async with stream(desk, "mail?id=m-1") as live:
        assert "does not know this mail" in (await live.parts())["live_mail"]
        await desk.send("m-1")
        await desk.later(2)

        assert "never sent again" in (await live.parts())["live_mail"]


async def test_all_viewers_share_one_look_and_without_them_nobody_asks(desk: Desk) -> None:
    roster = Counting(desk.clock.time())
    desk.parts.stores._roster = roster  # type: ignore[assignment]
    async with stream(desk, "workers") as one, stream(desk, "workers") as two:
        await one.parts()
        await two.parts()
        assert roster.asked == 1
        await desk.later(2)
        await one.parts()
        await two.parts()
        assert roster.asked == 2
    await emptied(desk)
    asked = roster.asked
    for _ in range(5):
        await desk.later(2)

    assert roster.asked == asked


async def test_who_may_act_sees_another_page_than_who_may_look(desk: Desk) -> None:
    async with stream(desk, "providers") as looking:
        await looking.parts()
        await desk.log_in()
        async with stream(desk, "providers") as acting:
            await acting.parts()
            assert len(desk.parts.streams._pages) == 2


async def test_what_is_not_live_is_not_found(desk: Desk) -> None:
    assert (await desk.get("/stream/nothing")).status == 404
    assert (await desk.get("/stream/search")).status == 404


async def test_the_end_of_the_server_ends_live_pages_at_once(tmp_path: Path) -> None:
    async with asyncio.timeout(3):
        async with console(tmp_path) as desk:
            live = await desk.session.get(f"{desk.url}/stream/overview")
            assert await Stream(live).parts()
            ending = asyncio.ensure_future(Stream(live).rest())
        await ending


async def test_no_more_look_than_there_are_places_for(desk: Desk) -> None:
    answers = [await desk.session.get(f"{desk.url}/stream/mail?id=m-{number}") for number in range(65)]
    try:
        assert [each.status for each in answers] == [200] * 64 + [503]
    finally:
        for each in answers:
            each.close()
    await emptied(desk)


async def test_a_fault_of_a_page_ends_its_stream_and_another_begins(desk: Desk) -> None:
    view = desk.parts.views["workers"]
    broken = True

    async def values(*ask: Any) -> Any:
        if broken:
            raise RuntimeError(f"hidden {ask}")
        return await view.values(*ask)

    desk.parts.views["workers"] = type(view)("workers", "workers.html", values)
    async with stream(desk, "workers") as live:
        assert b"data" not in await live.rest()
    broken = False
    async with stream(desk, "workers") as live:
        assert await live.parts()
