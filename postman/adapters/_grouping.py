"""Gathers single calls that come together into groups.

A call that comes while nothing is under way starts at once, with all that come
in the same turn of the event loop; calls that come meanwhile wait and form the
next group. So a quiet system pays no delay, and a busy one few requests.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Grouper"]

_T = TypeVar("_T")
_R = TypeVar("_R")


class Grouper(Generic[_T, _R]):
    """Runs *run* over groups of items, at most *overlap* groups at a time.

    *run* returns one result, or one exception, for each item in order; what it raises itself is every item's.
    A group holds at most *limit* items, and at most *max_weight* in all by *weigh* (a heavier item goes alone).
    A caller that is cancelled leaves its item in the group.
    """

    def __init__(
        self,
        run: Callable[[Sequence[_T]], Awaitable[Sequence[_R | BaseException]]],
        *,
        limit: int = 100,
        overlap: int = 4,
        weigh: Callable[[_T], int] = lambda _: 1,
        max_weight: int | None = None,
    ) -> None:
        self._run = run
        self._limit = limit
        self._overlap = overlap
        self._weigh = weigh
        self._max_weight = limit if max_weight is None else max_weight
        self._waiting: deque[tuple[_T, asyncio.Future[_R]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def add(self, item: _T) -> _R:
        """Put *item* into a group; return its own result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_R] = loop.create_future()
        self._waiting.append((item, future))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start)
        return await future

    async def aclose(self) -> None:
        """Return when everything that was added has its result."""
        while self._waiting or self._tasks:
            self._start()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)

    def _start(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._tasks) < self._overlap:
            task = asyncio.ensure_future(self._settle(self._take()))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.get_loop().is_closed():
            self._start()

    def _take(self) -> list[tuple[_T, "asyncio.Future[_R]"]]:
        group = [self._waiting.popleft()]
        weight = self._weigh(group[0][0])
        while self._waiting and len(group) < self._limit:
            weight += self._weigh(self._waiting[0][0])
            if weight > self._max_weight:
                break
            group.append(self._waiting.popleft())
        return group

    async def _settle(self, group: list[tuple[_T, "asyncio.Future[_R]"]]) -> None:
        for (_, future), result in zip(group, await self._results(group), strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def _results(self, group: list[tuple[_T, "asyncio.Future[_R]"]]) -> Sequence[_R | BaseException]:
        try:
            results = await self._run([item for item, _ in group])
        except BaseException as error:  # noqa: BLE001 — handed to every caller, who must not wait for ever
            return [error] * len(group)
        if len(results) != len(group):
            return [RuntimeError(f"{len(results)} results for {len(group)} items")] * len(group)
        return results
