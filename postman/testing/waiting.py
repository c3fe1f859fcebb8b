"""Waiting for something to become true, with a limit, in real time."""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

__all__ = ["wait_until", "wait_until_blocking"]

T = TypeVar("T")


@overload
async def wait_until(
    predicate: Callable[[], Coroutine[Any, Any, T]], *, within: float, every: float = ..., what: str = ...
) -> T: ...
@overload
async def wait_until(predicate: Callable[[], T], *, within: float, every: float = ..., what: str = ...) -> T: ...
async def wait_until(
    predicate: Callable[[], object], *, within: float, every: float = 0.02, what: str = "the condition"
) -> object:
    """Return the first true answer of *predicate*, asked *every* so many seconds; `TimeoutError` after *within*."""
    limit = time.monotonic() + within
    while True:
        answer = predicate()
        result = await answer if inspect.isawaitable(answer) else answer
        if result:
            return result
        if time.monotonic() >= limit:
            raise TimeoutError(f"{what} did not come true within {within} seconds")
        await asyncio.sleep(every)


def wait_until_blocking(
    predicate: Callable[[], T], *, within: float, every: float = 0.02, what: str = "the condition"
) -> T:
    """Do as `wait_until`, in a thread that may block."""
    limit = time.monotonic() + within
    while not (result := predicate()):
        if time.monotonic() >= limit:
            raise TimeoutError(f"{what} did not come true within {within} seconds")
        time.sleep(every)
    return result
