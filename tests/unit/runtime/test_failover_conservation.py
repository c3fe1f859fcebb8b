"""The router under any mix of outcomes and cancellations, in virtual time: what always holds."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postman.breaker import CircuitBreaker, Recovery, Trip
from postman.core.mail import Mail
from postman.errors import (
    CredentialsError,
    MailRejectedError,
    NoProviderError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    RouteRefusedError,
    ThrottledError,
)
from postman.ports.provider import Receipt
from postman.runtime.failover import Failover, Route
from postman.testing.virtual import VirtualClock, run_virtually
from tests.unit.runtime.router_scene import MAIL

PROVIDERS = "abc"
TIMEOUT = 10.0
ERRORS: Mapping[str, type[ProviderError]] = {
    "refused": MailRejectedError,
    "route": RouteRefusedError,
    "down": ProviderDownError,
    "unreachable": ProviderUnreachableError,
    "throttled": ThrottledError,
    "credentials": CredentialsError,
    "unknown": OutcomeUnknownError,
}
FINAL = {"accepted", "refused", "unknown", "strange", "silent"}
"""After these a mail goes nowhere else in its round."""


@dataclass(frozen=True, slots=True)
class Course:
    """What becomes of one mail: an answer for each of its attempts, and when its caller gives up."""

    starts: float
    answers: tuple[str, ...]
    delay: float
    claiming: float
    """Seconds between its place and its first attempt."""
    move: str
    """Whether the ledger lets it go elsewhere: it does, it refuses, or it takes a while."""
    cancelled_after: float | None
    budget: float


OUTCOMES = st.sampled_from([*ERRORS, "accepted", "silent", "strange"])
COURSES = st.builds(
    Course,
    starts=st.floats(0.0, 40.0),
    answers=st.tuples(OUTCOMES, OUTCOMES, OUTCOMES),
    delay=st.sampled_from([0.0, 0.05, 1.0, 6.0]),
    claiming=st.sampled_from([0.0, 0.01, 8.0]),
    move=st.sampled_from(["goes", "goes", "refuses", "takes long"]),
    cancelled_after=st.one_of(st.none(), st.floats(0.0, 12.0)),
    budget=st.sampled_from([5.0, 23.0, 60.0]),
)


@dataclass
class Round:
    """One mail on its way, and where it went."""

    course: Course
    tried: list[str] = field(default_factory=list)
    got: list[str] = field(default_factory=list)


class ScriptedProvider:
    """Answers each mail as the course of that mail says."""

    look_up_after = 0.0
    idempotent_for = 0.0
    timeout = TIMEOUT

    def __init__(self, name: str, rounds: dict[str, Round]) -> None:
        self.name = name
        self.in_flight = 0
        self._rounds = rounds

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        one = self._rounds[mail.id]
        answer = one.course.answers[min(len(one.tried), 2)]
        one.tried.append(self.name)
        one.got.append(answer)
        self.in_flight += 1
        try:
            await asyncio.sleep(one.course.delay if answer != "silent" else timeout or TIMEOUT)
        finally:
            self.in_flight -= 1
        return self._answer(answer, mail)

    def _answer(self, answer: str, mail: Mail) -> Receipt:
        match answer:
            case "accepted":
                return Receipt(self.name, mail.id)
            case "strange":
                raise LookupError("our own mistake")
            case "silent":
                raise OutcomeUnknownError("gave no answer", provider=self.name)
        raise ERRORS[answer](answer, provider=self.name, retry_after=3.0)

    async def look_up(self, mail: Mail) -> Receipt | None:
        raise ProviderError("cannot be asked", provider=self.name)

    async def aclose(self) -> None:
        pass


class Crowd:
    """A router with three providers, and mails that take their courses."""

    def __init__(self, courses: list[Course], *, seed: int, concurrency: int | None) -> None:
        self.rounds = {f"mail-{number}": Round(course) for number, course in enumerate(courses)}
        clock = VirtualClock()
        self.providers = [ScriptedProvider(name, self.rounds) for name in PROVIDERS]
        self.routes = [
            Route(each, _breaker(each.name, clock), weight=weight, concurrency=concurrency)
            for each, weight in zip(self.providers, (2.0, 1.0, 0.0), strict=True)
        ]
        self.failover = Failover(self.routes, clock=clock, random=Random(seed), rehome_after=10.0)
        self._clock = clock

    async def run(self) -> None:
        """Let every mail take its course, and check all the time that no place is given twice."""
        tasks = [asyncio.ensure_future(self._take_course(mail_id, one)) for mail_id, one in self.rounds.items()]
        watching = asyncio.ensure_future(self._watch())
        await asyncio.wait(tasks)
        watching.cancel()
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _take_course(self, mail_id: str, one: Round) -> None:
        await asyncio.sleep(one.course.starts)
        sending = asyncio.ensure_future(self._send(mail_id, one))
        await asyncio.wait([sending], timeout=one.course.cancelled_after)
        sending.cancel()
        await asyncio.wait([sending])
        if sending.cancelled():
            return
        error = sending.exception()
        assert error is None or isinstance(error, ProviderError | NoProviderError | LookupError)

    async def _send(self, mail_id: str, one: Round) -> None:
        """Do as the courier does: find a place, claim, send."""
        mail = MAIL.model_copy(update={"id": mail_id})
        leave = None
        while leave is None:
            try:
                leave = self.failover.choose(mail)
            except NoProviderError as none:
                await self.failover.wait_for_room(none.retry_after)
        try:
            await asyncio.sleep(one.course.claiming)
        except asyncio.CancelledError:
            self.failover.give_back(leave)
            raise
        deadline = self._clock.now() + one.course.budget
        await self.failover.send(mail, leave, deadline=deadline, on_move=_Mover(one))

    async def _watch(self) -> None:
        while True:
            for route, provider in zip(self.routes, self.providers, strict=True):
                assert route.limit.in_flight >= provider.in_flight >= 0
            await asyncio.sleep(0.5)


@dataclass(frozen=True, slots=True)
class _Mover:
    """The ledger, told of a move."""

    one: Round

    async def __call__(self, provider: str) -> None:
        assert provider not in self.one.tried
        if self.one.course.move == "takes long":
            await asyncio.sleep(4.0)
        if self.one.course.move == "refuses":
            raise LookupError("its claim was lost")


def _breaker(name: str, clock: VirtualClock) -> CircuitBreaker:
    recovery = Recovery(open_for=2.0, max_open=8.0, locked_for=8.0, lease=TIMEOUT + 5.0)
    return CircuitBreaker(name, Trip(consecutive=2, slow_after=5.0), recovery, clock=clock.now, random=Random(1).random)


async def _run(courses: list[Course], seed: int, concurrency: int | None) -> Crowd:
    crowd = Crowd(courses, seed=seed, concurrency=concurrency)
    await crowd.run()
    assert [route.limit.in_flight for route in crowd.routes] == [0, 0, 0]
    assert [route.breaker.view().probes_out for route in crowd.routes] == [0, 0, 0]
    assert all(turn.done() for turn in crowd.failover._room.waiting)
    return crowd


@settings(deadline=None, max_examples=100)
@given(
    courses=st.lists(COURSES, min_size=1, max_size=15),
    seed=st.integers(0, 5),
    concurrency=st.sampled_from([None, 1, 3]),
)
def test_places_are_conserved_and_no_mail_goes_where_it_must_not(
    courses: list[Course], seed: int, concurrency: int | None
) -> None:
    """Whatever providers answer, however long it takes, and whenever a caller gives up."""
    crowd = run_virtually(_run(courses, seed, concurrency))

    for one in crowd.rounds.values():
        assert len(one.tried) == len(set(one.tried)), "a provider was tried twice in a round"
        assert not FINAL & set(one.got[:-1]), "a mail went on after its end, or after a doubt"
        if one.course.move == "refuses":
            assert len(one.tried) <= 1


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_sender_may_be_cancelled_at_any_await(steps: int) -> None:
    """From the wait for a place to the second attempt: its place, its probe and its turn go to others."""

    async def main() -> list[int]:
        course = Course(
            starts=0.0,
            answers=("down", "down", "accepted"),
            delay=0.0,
            claiming=0.0,
            move="takes long",
            cancelled_after=None,
            budget=60.0,
        )
        crowd = Crowd([course], seed=1, concurrency=1)
        sending = asyncio.ensure_future(crowd._send("mail-0", crowd.rounds["mail-0"]))
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 2 else 1.0)
        sending.cancel()
        await asyncio.wait([sending])
        return [route.limit.in_flight for route in crowd.routes]

    assert run_virtually(main()) == [0, 0, 0]
