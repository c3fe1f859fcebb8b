"""Tasks of asyncio: cancelled anywhere, killed, or many at once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from postman.breaker import CircuitBreaker
from tests.unit.breaker.kit import Kit, Time, is_rejected, open_it
from tests.unit.breaker.test_threads import together

Way = Callable[[CircuitBreaker, Callable[[], Awaitable[None]]], Awaitable[None]]


async def _guarded(breaker: CircuitBreaker, work: Callable[[], Awaitable[None]]) -> None:
    with breaker.guard():
        await work()


async def _protected(breaker: CircuitBreaker, work: Callable[[], Awaitable[None]]) -> None:
    @breaker.protect
    async def protected() -> None:
        await work()

    await protected()


WAYS: list[Way] = [lambda breaker, work: breaker.acall(work), _guarded, _protected]
each_way = pytest.mark.parametrize("way", WAYS, ids=["acall", "guard", "protect"])


async def _steps() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def _half_open(kit: Kit, time: Time) -> CircuitBreaker:
    breaker = kit.make(time)
    open_it(breaker)
    time.now += 8.0
    return breaker


@each_way
@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("is_probe", [False, True])
async def test_a_task_may_be_cancelled_at_any_await(kit: Kit, time: Time, way: Way, steps: int, is_probe: bool) -> None:
    """It says nothing of the service, and leaves nothing behind: neither a call that runs nor a place taken."""
    breaker = _half_open(kit, time) if is_probe else kit.make(time)
    task = asyncio.ensure_future(way(breaker, _steps))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]

    view = breaker.view()
    assert (view.running, view.probes_out, view.failures) == (0, 0, 0)
    was_cancelled = isinstance(outcome, asyncio.CancelledError)
    assert was_cancelled or outcome is None
    if is_probe and steps > 0:
        assert view.state == ("half_open" if was_cancelled else "closed")
    assert not is_rejected(kit, breaker)


@each_way
def test_a_probe_whose_task_is_thrown_away_with_its_loop_gives_its_place_back(kit: Kit, time: Time, way: Way) -> None:
    breaker = _half_open(kit, time)

    async def main() -> None:
        keep.append(asyncio.ensure_future(way(breaker, asyncio.Event().wait)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert breaker.view().probes_out == 1
        assert is_rejected(kit, breaker)

    keep: list[object] = []
    asyncio.run(main())

    assert breaker.state == "half_open"
    assert breaker.acquire().is_probe


@each_way
async def test_of_fifty_tasks_at_once_one_is_the_probe(kit: Kit, time: Time, way: Way) -> None:
    breaker = _half_open(kit, time)
    inside: list[int] = []
    go = asyncio.Event()

    async def work() -> None:
        inside.append(1)
        await go.wait()

    tasks = [asyncio.ensure_future(way(breaker, work)) for _ in range(50)]
    await asyncio.sleep(0)
    go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert len(inside) == 1
    assert sum(isinstance(outcome, kit.rejected) for outcome in outcomes) == 49
    assert breaker.state == "closed"


@each_way
async def test_a_limit_of_time_counts_where_it_is_inside_the_call_and_not_where_it_is_the_callers(
    kit: Kit, time: Time, way: Way
) -> None:
    breaker = kit.make(time)
    never = asyncio.Event()

    async def hang() -> None:
        await never.wait()

    async def hang_for_a_while() -> None:
        async with asyncio.timeout(0):
            await hang()

    with suppress(TimeoutError):
        async with asyncio.timeout(0):
            await way(breaker, hang)
    assert breaker.view().failures == 0
    with pytest.raises(TimeoutError):
        await way(breaker, hang_for_a_while)

    assert (breaker.view().failures, breaker.view().running) == (1, 0)


@each_way
async def test_in_a_group_one_failure_counts_and_those_it_cancels_do_not(kit: Kit, time: Time, way: Way) -> None:
    breaker = kit.make(time)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("refused")

    async def group_them() -> None:
        async with asyncio.TaskGroup() as group:
            for work in (fail, asyncio.Event().wait, asyncio.Event().wait):
                group.create_task(_as_coroutine(way(breaker, work)))  # type: ignore[arg-type]

    with pytest.raises(ExceptionGroup):
        await group_them()

    view = breaker.view()
    assert (view.state, view.failures, view.successes, view.running) == ("closed", 1, 0, 0)


def test_loops_in_several_threads_share_one_breaker(kit: Kit) -> None:
    """Whatever is cancelled meanwhile: what ended well is counted, each once."""
    breaker = kit.breaker("a", kit.trip(window=80_000.0))
    landed: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def client() -> None:
        tasks = [asyncio.create_task(breaker.acall(work)) for _ in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::5]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        landed.append(sum(outcome is None for outcome in outcomes))

    together(lambda _: asyncio.run(client()), 4)

    assert landed == [80] * 4
    assert (breaker.view().successes, breaker.view().failures, breaker.view().running) == (320, 0, 0)


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work
