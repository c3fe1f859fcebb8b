"""An event loop whose time jumps: whoever waits is woken at once, in the order in which it is due.

A test that needs an hour of time-outs takes milliseconds, and takes the same
course each time. All of asyncio's own waiting follows it (`asyncio.sleep`,
`asyncio.timeout`). Only for code that neither uses sockets nor other threads.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from math import inf, nextafter
from typing import Any, TypeVar, TypeVarTuple, Unpack

__all__ = ["VirtualClock", "run_virtually"]

T = TypeVar("T")
_Args = TypeVarTuple("_Args")


class VirtualClock:
    """The `Clock` of a virtual loop: its readings are those of the running loop."""

    def __init__(self, *, wall: float = 1_700_000_000.0) -> None:
        self._wall = wall

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def time(self) -> float:
        return self._wall + self.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* to its end; `RuntimeError` where it waits for what will never happen."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(main)


class _Jumping(selectors.SelectSelector):
    """Instead of waiting, it says how long was waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        self.waited += max(0.0, timeout)
        return []


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.waited

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Never at this very moment: who waits for less than a clock can tell would else wait for ever."""
        return super().call_at(max(when, nextafter(self.time(), inf)), callback, *args, context=context)
