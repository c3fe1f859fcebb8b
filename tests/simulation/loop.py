"""The event loop of a simulation: virtual time, one queue of work per process, and chance in charge.

A *lane* is a process as the loop sees it. What a process has to do next lies in its own lane, so that a process can be
frozen or ended between any two steps, and the lanes take turns by lot. Which lane something belongs to is read from
its context, which tasks, timers and callbacks inherit. Sets of tasks are walked in an order that does not depend on
addresses in memory, since the tasks and futures of this loop are numbered. So a seed gives the same course each time.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, Final, TypeVar

__all__ = ["DeadlockError", "Lane", "SimLoop", "lane_context"]

_T = TypeVar("_T")
_MOST_STEPS: Final = 2_000_000


class DeadlockError(Exception):
    """Everything waits, and nothing will ever happen; or something turns in a circle without time going on."""


class Lane:
    """The work of one process. Closed, it gathers work, but does none."""

    __slots__ = ("is_listed", "is_open", "name", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_open = True
        self.is_listed = False
        self.ready: list[_Handle] = []


_LANE: ContextVar[Lane] = ContextVar("lane")


def lane_context(lane: Lane) -> Context:
    """Return a context whose work is done in *lane*."""
    context = copy_context()
    context.run(_LANE.set, lane)
    return context


class _Handle:
    __slots__ = ("args", "callback", "context", "due", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, due: float) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.due = due
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.due


class _Task(asyncio.Task[_T]):
    def __init__(self, number: int, coro: Any, loop: "SimLoop", context: Context | None) -> None:
        self._number = number
        super().__init__(coro, loop=loop, name="task", context=context)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[_T]):
    def __init__(self, number: int, loop: "SimLoop") -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class SimLoop(asyncio.AbstractEventLoop):
    """See the module; *shuffles* lets chance also choose among the steps of one process that are ready together."""

    def __init__(self, random: Random, *, shuffles: bool) -> None:
        self._chance = random.random
        self._shuffles = shuffles
        self._now = 0.0
        self._count = 0
        self._numbers = 0
        self._timers: list[tuple[float, int, _Handle]] = []
        self._active: list[Lane] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_over = False
        self.complaints: list[str] = []
        """What tasks and callbacks raised that nobody caught."""

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._is_over

    def is_closed(self) -> bool:
        return self._is_over

    def create_future(self) -> "asyncio.Future[Any]":
        self._numbers += 1
        return _Future(self._numbers, self)

    def create_task(
        self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], *, name: object = None, context: Any = None
    ) -> "asyncio.Task[_T]":
        del name
        self._numbers += 1
        task: asyncio.Task[_T] = _Task(self._numbers, coro, self, context)
        self._tasks.append(task)
        return task

    def call_soon(  # type: ignore[override]  # more loosely typed
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        handle = _Handle(callback, args, context or copy_context(), 0.0)
        self._enlist(handle)
        return handle

    def call_at(  # type: ignore[override]  # more loosely typed
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        handle = _Handle(callback, args, context or copy_context(), when)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        return self.call_at(self._now + max(0.0, delay), callback, *args, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._is_over:
            self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def open(self, lane: Lane) -> None:
        """Let *lane* go on."""
        lane.is_open = True
        self._list(lane)

    def run(self, main: Coroutine[Any, Any, _T], lane: Lane) -> _T:
        """Run *main* in *lane* to its end, then end everything else."""
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main, context=lane_context(lane))
            self._turn_until(task)
            return task.result()
        finally:
            self._is_over = True
            lane_context(Lane("beyond")).run(self._dispose)
            asyncio._set_running_loop(None)

    def _turn_until(self, task: "asyncio.Task[Any]") -> None:
        steps, until = 0, self._now
        while not task.done():
            if self._active:
                self._step()
                steps += 1
                if steps > _MOST_STEPS:
                    raise DeadlockError(f"{_MOST_STEPS} steps, now at {self._now:.3f} s")
            elif not self._next_moment():
                raise DeadlockError(f"everything waits since {until:.3f} s")
            else:
                until = self._now

    def _step(self) -> None:
        active = self._active
        index = int(self._chance() * len(active)) if len(active) > 1 else 0
        lane = active[index]
        ready = lane.ready
        if lane.is_open and ready:
            which = int(self._chance() * len(ready)) if self._shuffles and len(ready) > 1 else 0
            handle = ready.pop(which)
            if not handle.is_cancelled:
                self._do(handle)
        if not (lane.ready and lane.is_open):
            lane.is_listed = False
            active[index] = active[-1]
            active.pop()

    def _do(self, handle: _Handle) -> None:
        try:
            handle.context.run(handle.callback, *handle.args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 — whatever a callback raises is told
            self.call_exception_handler({"message": "a callback failed", "exception": error})

    def _next_moment(self) -> bool:
        while self._timers:
            when, _, handle = heapq.heappop(self._timers)
            if not handle.is_cancelled:
                self._now = max(self._now, when)
                self._enlist(handle)
                return True
        return False

    def _enlist(self, handle: _Handle) -> None:
        lane = handle.context[_LANE]
        lane.ready.append(handle)
        if not lane.is_listed and lane.is_open:
            self._list(lane)

    def _list(self, lane: Lane) -> None:
        if lane.ready and not lane.is_listed:
            lane.is_listed = True
            self._active.append(lane)

    def _dispose(self) -> None:
        """End the coroutines of those who never will; what they do at their end is seen by nobody."""
        for _ in range(20):
            self._tasks = [task for task in self._tasks if not (task.done() or _is_closed(task))]
            if not self._tasks:
                break
        self._timers.clear()


def _is_closed(task: "asyncio.Task[Any]") -> bool:
    coro = task.get_coro()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    try:
        coro.close()
    except (RuntimeError, StopIteration):
        return False
    return True
