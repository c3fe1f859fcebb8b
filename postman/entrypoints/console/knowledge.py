"""What the stores last answered, for all pages together.

However many people look, a question is asked once at a time, and not again
before its answer is some seconds old; when nobody looks, nobody asks. A page
waits a short while for an answer, and then shows the last one, with its age.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final, Generic, TypeVar

import structlog

from postman.errors import PostmanError
from postman.ports.clock import Clock
from postman.runtime.surprise import reason_of

__all__ = ["EVERY", "Knowledge", "Known"]

_LOG = structlog.get_logger("postman.console")
_T = TypeVar("_T")

EVERY: Final = 2.0
"""Seconds between two questions of one kind."""
_PATIENCE: Final = 1.0
"""Seconds; a question that rests on another's answer may take twice that."""
_LONGEST: Final = 15.0
"""Seconds after which an answer is not waited for any more: longer than any port takes."""
_MOST: Final = 500
"""Questions whose answers are kept."""
_SLOW: Final = "it has not answered yet"


@dataclass(frozen=True, slots=True)
class Known(Generic[_T]):
    """The last answer, if there ever was one."""

    value: _T | None = None
    at: float = 0.0
    """When it was asked for, in seconds since 1970; 0: never answered."""
    problem: str = ""
    """Why there is no newer one, in words; empty where it is of now."""

    @property
    def is_known(self) -> bool:
        """Whether there was an answer, also one that says that there is nothing."""
        return self.at > 0


class _Question:
    def __init__(self) -> None:
        self.known: Known[Any] = Known()
        self.asked_at = -inf
        self.task: asyncio.Task[None] | None = None


class Knowledge:
    """One for each process. *patience* is how many seconds a page waits for an answer."""

    def __init__(self, clock: Clock, *, patience: float = _PATIENCE) -> None:
        self._clock = clock
        self._patience = patience
        self._questions: OrderedDict[Hashable, _Question] = OrderedDict()

    async def ask(self, key: Hashable, fetch: Callable[[], Awaitable[_T]], *, every: float = EVERY) -> Known[_T]:
        """Return what *fetch* answers, or answered less than *every* seconds ago; never raises.

        *key* stands for the question. Where there is no answer in time, or an error, the last answer comes with a
        problem. Who is waited for in vain is not waited for again while it is silent.
        """
        question = self._question(key)
        if question.task is None and self._clock.now() - question.asked_at >= every:
            question.asked_at = self._clock.now()
            question.task = asyncio.create_task(self._fetch(question, fetch))
        if question.task is not None:
            left = question.asked_at + self._patience - self._clock.now()
            await asyncio.wait({question.task}, timeout=max(0.0, left))
        known: Known[_T] = question.known
        return replace(known, problem=known.problem or _SLOW) if question.task is not None else known

    def forget(self) -> None:
        """Ask anew for everything that is looked at next: somebody changed something."""
        for question in self._questions.values():
            question.asked_at = -inf

    async def aclose(self) -> None:
        """Wait for no answer any more."""
        tasks = [question.task for question in self._questions.values() if question.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _question(self, key: Hashable) -> _Question:
        question = self._questions.setdefault(key, _Question())
        self._questions.move_to_end(key)
        if len(self._questions) > _MOST:
            oldest = next(iter(self._questions))
            if self._questions[oldest].task is None:
                del self._questions[oldest]
        return question

    async def _fetch(self, question: _Question, fetch: Callable[[], Awaitable[object]]) -> None:
        at = self._clock.time()
        try:
            async with asyncio.timeout(_LONGEST):
                question.known = Known(await fetch(), at)
        except TimeoutError:
            question.known = replace(question.known, problem=f"it did not answer within {_LONGEST:g} s")
        except Exception as error:  # noqa: BLE001 — whatever ails a store, the page shows what was known before
            question.known = replace(question.known, problem=_told(error))
        finally:
            question.task = None


def _told(error: Exception) -> str:
    if isinstance(error, PostmanError):
        return str(error)
    fields: Mapping[str, str] = reason_of(error)
    _LOG.error("console_look_failed", **fields)
    return f"a fault of ours ({fields['reason']}), which is in the log"
