"""The network between a process and a service: requests and replies are delayed, lost, late, or come twice.

A request that left travels on, whatever becomes of its process. What the caller sees at a fault is the port's own
error, after a while; what the service did is another matter.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from random import Random
from typing import Any, Final, TypeVar

from postman.errors import PostmanError
from tests.simulation.process import Process
from tests.simulation.stage import Stage

__all__ = ["Fate", "Line", "Respond"]

_T = TypeVar("_T")

Respond = Callable[[Any], None]

_GIVES_UP: Final = 6.0
"""Seconds after which a caller takes a reply for lost; ports allow ten."""
_LATEST: Final = 40.0
"""Seconds that a request may travel on after that."""


class Fate(StrEnum):
    """What becomes of one call."""

    FINE = "fine"
    LOST = "lost"
    """It never arrives."""
    MUTED = "muted"
    """It has its effect, the reply is lost."""
    SLOW = "slow"
    LATE = "late"
    """It has its effect long after the caller gave up."""
    TWICE = "twice"
    """It arrives twice; the reply is that to the second."""
    ECHO = "echo"
    """It arrives again long after it was answered."""
    DROPPED = "dropped"
    """The caller hears that it was done, but it was not: only where the queue's contract lets it."""


_UNHEARD: Final = frozenset({Fate.MUTED, Fate.LATE})
_FAILING: Final = frozenset({Fate.LOST, *_UNHEARD})


class _Call:
    """One request under way; the reply is whether it went well, and what it says."""

    __slots__ = ("_back", "_effect", "_process", "_stage", "fate", "reply")

    def __init__(
        self, stage: Stage, process: Process, fate: Fate, effect: Callable[[Respond], None], back: float
    ) -> None:
        self.fate = fate
        self.reply: asyncio.Future[tuple[bool, Any]] = stage.loop.create_future()
        self._stage = stage
        self._process = process
        self._effect = effect
        self._back = back

    def deliver(self, answer: tuple[bool, Any]) -> None:
        """Let the caller hear *answer*, if it waits still."""
        if not self.reply.done():
            self.reply.set_result(answer)

    def arrive(self) -> None:
        """Be done by the service, and answered, unless the answer is lost."""
        if self.fate is not Fate.FINE:
            self._process.trouble()
        try:
            self._effect(self._respond)
        except PostmanError as error:
            self._answer(False, error)

    def arrive_unheard(self) -> None:
        """Be done by the service, which answers nobody."""
        self._process.trouble()
        with suppress(PostmanError):
            self._effect(lambda _: None)

    def _respond(self, value: Any) -> None:
        self._answer(True, value)

    def _answer(self, is_fine: bool, value: Any) -> None:
        if self.fate not in _UNHEARD:
            self._stage.after(self._back, self.deliver, (is_fine, value))


class Line:
    """One process's way to one service, whose faults have the *rates*, each as a probability per call."""

    def __init__(
        self, stage: Stage, process: Process, service: str, random: Random, failure: Callable[[str], PostmanError]
    ) -> None:
        self._stage = stage
        self._process = process
        self._service = service
        self._random = random.random
        self._failure = failure
        self._rates = [(fate, stage.rates.get(f"{service}.{fate}", 0.0)) for fate in Fate]
        self._may_fail = any(rate for _, rate in self._rates)

    async def call(self, name: str, subject: str, effect: Callable[[], _T], *, droppable: Sequence[str] = ()) -> _T:
        """Let the service do *effect*, and return what it answers, or raise what it raises."""
        answer: _T = await self.ask(name, subject, lambda respond: respond(effect()), droppable=droppable)
        return answer

    async def ask(
        self,
        name: str,
        subject: str,
        effect: Callable[[Respond], None],
        *,
        wait: float = 0.0,
        droppable: Sequence[str] = (),
    ) -> Any:
        """Let the service do *effect*, which responds now or within *wait* seconds."""
        fate = self._fate()
        if fate is Fate.DROPPED and name not in droppable:
            fate = Fate.FINE
        if fate is not Fate.FINE:
            self._stage.tell(f"{self._process.label} {self._service}.{name} {subject}: {fate}")
            self._stage.reached(f"{self._service} {fate}")
            self._process.trouble()
        call = _Call(self._stage, self._process, fate, effect, self._delay(fate))
        self._launch(call, wait)
        is_fine, value = await call.reply
        if is_fine:
            return value
        raise value

    def _launch(self, call: "_Call", wait: float) -> None:
        """Let the request travel as its fate wants."""
        after, random, there = self._stage.after, self._random, self._delay(call.fate)
        if call.fate in _FAILING:
            is_quick = call.fate is Fate.LOST and random() < 0.5
            failure = self._failure(f"simulated: {call.fate}")
            after(wait + (random() if is_quick else _GIVES_UP), call.deliver, (False, failure))
        match call.fate:
            case Fate.LOST:
                return
            case Fate.DROPPED:
                after(there, call.deliver, (True, None))
                return
            case Fate.LATE:
                there = wait + _GIVES_UP + random() * _LATEST
            case Fate.TWICE:
                after(there, call.arrive_unheard)
                there += random()
            case Fate.ECHO:
                after(there + random() * _LATEST, call.arrive_unheard)
            case _:
                pass
        after(there, call.arrive)

    def _fate(self) -> Fate:
        stage = self._stage
        if stage.is_cut(self._process.name, self._service):
            return Fate.LOST
        if not stage.is_chaotic or not self._may_fail:
            return Fate.FINE
        drawn = self._random()
        for fate, rate in self._rates:
            drawn -= rate
            if drawn < 0:
                return fate
        return Fate.FINE

    def _delay(self, fate: Fate) -> float:
        scale = 2.9 if fate is Fate.SLOW else 0.02
        return 0.001 + self._random() * scale
