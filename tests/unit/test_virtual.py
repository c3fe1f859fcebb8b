"""The event loop whose time jumps."""

import asyncio
import time

import pytest

from postman.testing.virtual import VirtualClock, run_virtually


def test_an_hour_passes_at_once() -> None:
    async def main() -> float:
        clock = VirtualClock()
        began = clock.now()
        await clock.sleep(3_600.0)
        return clock.now() - began

    began = time.monotonic()
    assert run_virtually(main()) == pytest.approx(3_600.0)
    assert time.monotonic() - began < 60.0


def test_whoever_waits_is_woken_when_he_is_due_and_in_order() -> None:
    async def main() -> list[tuple[str, float]]:
        began, woken = VirtualClock().now(), list[tuple[str, float]]()

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append((name, round(VirtualClock().now() - began, 6)))

        await asyncio.gather(wait("late", 50.0), wait("soon", 0.1), wait("between", 7.0))
        return woken

    assert run_virtually(main()) == [("soon", 0.1), ("between", 7.0), ("late", 50.0)]


def test_time_stands_still_while_somebody_works() -> None:
    async def main() -> float:
        began = VirtualClock().now()
        for _ in range(1_000):
            await asyncio.sleep(0)
        return VirtualClock().now() - began

    assert run_virtually(main()) == 0.0


def test_time_outs_follow_it() -> None:
    async def main() -> float:
        began = VirtualClock().now()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30.0):
                await asyncio.sleep(100.0)
        return VirtualClock().now() - began

    assert run_virtually(main()) == pytest.approx(30.0)


def test_the_wall_clock_moves_with_it() -> None:
    async def main() -> float:
        clock = VirtualClock(wall=500.0)
        began = clock.time()
        await clock.sleep(12.0)
        return clock.time() - began

    assert run_virtually(main()) == pytest.approx(12.0)


def test_a_sleep_of_less_than_nothing_is_none() -> None:
    async def main() -> float:
        clock = VirtualClock()
        began = clock.now()
        await clock.sleep(-5.0)
        return clock.now() - began

    assert run_virtually(main()) == 0.0


def test_waiting_for_what_never_happens_is_told() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        run_virtually(main())


def test_a_cancelled_wait_moves_no_time() -> None:
    async def main() -> float:
        began = VirtualClock().now()
        sleeping = asyncio.ensure_future(asyncio.sleep(1_000.0))
        await asyncio.sleep(1.0)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        await asyncio.sleep(1.0)
        return VirtualClock().now() - began

    assert run_virtually(main()) == pytest.approx(2.0)


def test_what_main_raises_is_raised() -> None:
    async def main() -> None:
        await asyncio.sleep(5.0)
        raise LookupError("x")

    with pytest.raises(LookupError):
        run_virtually(main())
