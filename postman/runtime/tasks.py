"""Waiting for several things at once."""

import asyncio
from collections.abc import Coroutine

__all__ = ["first_of"]


async def first_of(*things: "Coroutine[object, object, object] | asyncio.Task[None]") -> None:
    """Return when one of *things* ended, with what it raised; coroutines that did not end are cancelled."""
    tasks = [thing if isinstance(thing, asyncio.Task) else asyncio.ensure_future(thing) for thing in things]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, thing in zip(tasks, things, strict=True):
            if thing is not task:
                task.cancel()
    for task in done:
        if not task.cancelled() and (error := task.exception()):
            raise error
