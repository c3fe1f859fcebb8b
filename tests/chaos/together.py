"""Slow cases that do not disturb each other, played side by side by the first test that asks for one."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from postman.errors import QueueUnavailableError
from postman.ports.queue import ShardMap
from postman.testing.waiting import wait_until

__all__ = ["Together", "chosen", "ensure"]

CaseT = TypeVar("CaseT")
OutcomeT = TypeVar("OutcomeT")

_Play = Callable[[CaseT, Path], Coroutine[Any, Any, OutcomeT]]


class Together(Generic[CaseT, OutcomeT]):
    """What came of *cases*, each played once by *play* in a folder of its own, so many *at_once*."""

    def __init__(
        self, cases: Mapping[str, CaseT], play: "_Play[CaseT, OutcomeT]", folder: Path, *, at_once: int = 100
    ) -> None:
        self._cases = cases
        self._play = play
        self._folder = folder
        self._at_once = at_once
        self._outcomes: dict[str, OutcomeT | BaseException] = {}

    def outcome(self, name: str) -> OutcomeT:
        """Return what came of the case, or raise what it raised."""
        if not self._outcomes:
            asyncio.run(self.play())
        outcome = self._outcomes[name]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def play(self) -> None:
        """Play all; each case's failure is its own."""
        places = asyncio.Semaphore(self._at_once)

        async def one(name: str, case: CaseT) -> OutcomeT:
            async with places:
                return await self._play(case, self._folder / "".join(filter(str.isalnum, name)))

        found = await asyncio.gather(*(one(*each) for each in self._cases.items()), return_exceptions=True)
        self._outcomes = dict(zip(self._cases, found, strict=True))


def chosen(request: pytest.FixtureRequest, cases: Mapping[str, CaseT]) -> dict[str, CaseT]:
    """Return those of *cases* that this run asks for, by the names of its tests."""
    asked = [item.name for item in request.session.items if item.path == request.path]
    return {name: case for name, case in cases.items() if any(f"[{name}]" in item for item in asked)}


async def ensure(shards: ShardMap) -> None:
    """Make the queues, however long a busy machine takes to let anybody in."""

    async def is_made() -> bool:
        with suppress(QueueUnavailableError):
            await shards.ensure()
            return True
        return False

    await wait_until(is_made, within=60.0, every=0.5, what="the queues")
