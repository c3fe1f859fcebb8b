"""A function with every call of it guarded, at next to no cost in calm times.

This is the one place where a call passes the breaker without its lock. A call
that begins and succeeds before its tick ends can be neither slow nor the first
success after a failure: noting it is all there is to do, and the breaker counts
it later. Whatever else happens goes through the lock.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from postman.breaker.permit import Keeper, Permit

__all__ = ["protect", "protect_async"]

P = ParamSpec("P")
R = TypeVar("R")


def protect(keeper: Keeper, fn: Callable[P, R]) -> Callable[P, R]:
    """Guard each call of *fn*."""
    clock, running = keeper.clock, keeper.running
    quick = cast("Callable[..., R]", fn)

    def with_lock(*args: P.args, **kwargs: P.kwargs) -> R:
        with keeper.acquire() as permit:
            result = fn(*args, **kwargs)
            if keeper.judges_results:
                keeper.returned(permit, result)
            return result

    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        tick = running.tick
        began = clock()
        if began >= tick.ends:
            return with_lock(*args, **kwargs)
        tick.started.append(began)
        try:
            result = quick(*args, **kwargs) if kwargs else quick(*args)
        except BaseException as error:
            keeper.raised(Permit(tick, began, keeper), error)
            raise
        if clock() < tick.ends:
            tick.finished.append(began)
        else:
            keeper.returned(Permit(tick, began, keeper), result)
        return result

    return wraps(fn)(with_lock if keeper.judges_results else guarded)


def protect_async(keeper: Keeper, fn: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Guard each call of *fn* until what it returns was awaited."""
    clock, running = keeper.clock, keeper.running
    quick = cast("Callable[..., Awaitable[R]]", fn)

    async def with_lock(*args: P.args, **kwargs: P.kwargs) -> R:
        with keeper.acquire() as permit:
            result = await fn(*args, **kwargs)
            if keeper.judges_results:
                keeper.returned(permit, result)
            return result

    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        tick = running.tick
        began = clock()
        if began >= tick.ends:
            return await with_lock(*args, **kwargs)
        tick.started.append(began)
        try:
            result = await (quick(*args, **kwargs) if kwargs else quick(*args))
        except BaseException as error:
            keeper.raised(Permit(tick, began, keeper), error)
            raise
        if clock() < tick.ends:
            tick.finished.append(began)
        else:
            keeper.returned(Permit(tick, began, keeper), result)
        return result

    return wraps(fn)(with_lock if keeper.judges_results else guarded)
