"""The providers: what they do with a request, what they say of it, and what they tell later.

The errors are those that the product's adapters raise. A request and its answer are two things: a provider may take a
mail and say nothing, or take it long after its sender gave up.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postman.core.events import EventKind, MailEvent
from postman.core.ids import MailId
from postman.core.mail import Mail
from postman.errors import (
    CredentialsError,
    MailRejectedError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExceededError,
    RouteRefusedError,
    ThrottledError,
)
from postman.ports.provider import Receipt
from tests.simulation.mails import Kind, Letter
from tests.simulation.process import Process
from tests.simulation.stage import Stage
from tests.simulation.swarm import ProviderPlan
from tests.simulation.watch import Watch

__all__ = ["MODES", "ProviderStore", "SimProvider"]

MODES: Final = ("down", "unreachable", "mute", "deaf", "throttled", "slow")
"""What an outage can be."""

_KINDS: Final = (
    "mute",
    "deaf",
    "late",
    "broken",
    "reset",
    "unreachable",
    "down",
    "throttled",
    "credentials",
    "quota",
    "slow",
)


@dataclass(frozen=True, slots=True)
class _Course:
    """What becomes of one request."""

    arrives: float | None
    """Seconds until the provider takes it; None: never."""
    answered: float | None
    """Seconds until its sender hears; None: never, so that it gives up."""
    error: ProviderError | None = None
    """What it hears; None: that it was taken."""


class ProviderStore:
    """One provider, as it is; *tell* is called with its events."""

    def __init__(
        self,
        stage: Stage,
        plan: ProviderPlan,
        watch: Watch,
        letters: dict[MailId, Letter],
        tell: Callable[[MailEvent], None],
    ) -> None:
        self.plan = plan
        self.mode = ""
        self._stage = stage
        self._watch = watch
        self._letters = letters
        self._tell = tell
        self._random = stage.random(f"provider {plan.name}")
        self._taken: dict[MailId, list[tuple[float, str]]] = {}
        self._keys: dict[MailId, tuple[float, str]] = {}
        self._numbers = 0

    def course(self, mail: Mail, limit: float) -> _Course:
        """Draw what becomes of a request whose sender waits *limit* seconds."""
        there, back = 0.01 + 0.2 * self._random.random(), 0.01 + 0.2 * self._random.random()
        kind = self.mode or self._kind()
        if kind:
            self._stage.reached(f"provider {kind}")
        if kind == "deaf":
            return _Course(None, None)
        if (error := self._failure(kind) or self._refusal(mail)) is not None:
            return _Course(None, there + back, error)
        return self._taken_course(kind, limit, there, back)

    def _taken_course(self, kind: str, limit: float, there: float, back: float) -> _Course:
        random = self._random.random
        match kind:
            case "mute":
                return _Course(there, None)
            case "late":
                return _Course(limit + self.plan.lateness * random(), None)
            case "broken":
                broken = OutcomeUnknownError("the connection broke", provider=self.plan.name)
                return _Course(there, there + back, broken)
            case "slow":
                return _Course(limit * random(), limit * (0.3 + random()))
            case _:
                return _Course(there, there + back)

    def _failure(self, kind: str) -> ProviderError | None:
        """Return what the sender hears where the provider does not read the mail at all."""
        name = self.plan.name
        match kind:
            case "unreachable":
                return ProviderUnreachableError("no connection", provider=name)
            case "reset":
                return ProviderDownError("reset before it was read", provider=name)
            case "down":
                return ProviderDownError("HTTP 503", provider=name, status=503)
            case "credentials":
                return CredentialsError("HTTP 401", provider=name, status=401)
            case "quota" | "throttled":
                wait = 1.0 + 15.0 * self._random.random()
                error = ThrottledError if kind == "throttled" else QuotaExceededError
                return error("HTTP 429", provider=name, status=429, retry_after=wait)
            case _:
                return None

    def take(self, mail_id: MailId) -> str:
        """Accept a mail, or recognise it by its key; return the message id."""
        now, plan = self._stage.loop.time(), self.plan
        known = self._keys.get(mail_id)
        if known and now < known[0] + plan.idempotent_for:
            self._stage.reached("a repeated key was recognised")
            return known[1]
        self._numbers += 1
        message_id = f"{plan.name}-{self._numbers}"
        self._keys[mail_id] = (now, message_id)
        self._taken.setdefault(mail_id, []).append((now, message_id))
        self._watch.accepted(mail_id, plan.name, message_id)
        self._announce(mail_id, message_id)
        return message_id

    def find(self, mail_id: MailId) -> str | None:
        """Return the message id under which a look-up finds a mail by now."""
        before = self._stage.loop.time() - self.plan.lag
        return next((message_id for at, message_id in self._taken.get(mail_id, ()) if at <= before), None)

    def is_poison(self, mail_id: MailId) -> bool:
        return self._letters[mail_id].kind is Kind.POISON

    def look_up_fails(self) -> bool:
        return self.mode in ("down", "unreachable", "mute", "deaf") or self._stage.chance(self._random, "look_up.fails")

    def _kind(self) -> str:
        if not self._stage.is_chaotic:
            return ""
        drawn = self._random.random()
        for kind in _KINDS:
            drawn -= self._stage.rates.get(f"provider.{kind}", 0.0)
            if drawn < 0:
                return kind
        return ""

    def _refusal(self, mail: Mail) -> ProviderError | None:
        letter = self._letters[mail.id]
        if letter.kind is Kind.REFUSED:
            return MailRejectedError("HTTP 400", provider=self.plan.name, status=400)
        if self.plan.name in letter.unwelcome_at:
            return RouteRefusedError("the sender is not known", provider=self.plan.name, status=403)
        return None

    def _announce(self, mail_id: MailId, message_id: str) -> None:
        draw, rates = self._random.random(), self._stage.rates
        early, late = rates.get("event.early", 0.0), rates.get("event.late", 0.0)
        if draw >= early + late:
            return
        delay = 0.02 * self._random.random() if draw < early else 60.0 * self._random.random()
        kind = self._random.choice((EventKind.ACCEPTED, EventKind.DELIVERED, EventKind.BOUNCED))
        event = MailEvent(self.plan.name, kind, mail_id, self._stage.time(), message_id=message_id)
        self._stage.after(delay, self._tell, event)
        if self._random.random() < rates.get("event.twice", 0.0):
            self._stage.reached("an event came twice")
            self._stage.after(delay + 20.0 * self._random.random(), self._tell, event)


class SimProvider:
    """What a process sees of a provider."""

    def __init__(self, stage: Stage, process: Process, store: ProviderStore, watch: Watch) -> None:
        self._stage = stage
        self._process = process
        self._store = store
        self._watch = watch

    @property
    def name(self) -> str:
        return self._store.plan.name

    @property
    def timeout(self) -> float:
        return self._store.plan.timeout

    @property
    def look_up_after(self) -> float:
        return self._store.plan.look_up_after

    @property
    def idempotent_for(self) -> float:
        return self._store.plan.idempotent_for

    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        limit = min(timeout or self.timeout, self.timeout)
        if self._store.is_poison(mail.id):
            self._watch.crashed_by(self._process, mail.id)
            await self._process.die()
        post = self._watch.post_begins(self._process, mail.id, mail.text, self.name, limit)
        how = "CancelledError"
        try:
            receipt = await self._request(mail, limit)
            how = f"accepted as {receipt.message_id}"
        except ProviderError as error:
            how = type(error).__name__
            if not isinstance(error, MailRejectedError | RouteRefusedError):
                self._watch.failed(self._process, self.name)
            raise
        else:
            return receipt
        finally:
            self._watch.post_ends(post, how)
            if self._stage.loop.time() - post.began >= limit / 2:
                self._watch.failed(self._process, self.name)

    async def look_up(self, mail: Mail) -> Receipt | None:
        if self.look_up_after <= 0:
            raise ProviderDownError("it cannot be asked", provider=self.name)
        await self._pause(0.05)
        fails = self._store.look_up_fails()
        found = None if fails else self._store.find(mail.id)
        await self._pause(0.05)
        self._stage.tell(
            f"{self._process.label} looks {mail.id} up at {self.name}: {'no answer' if fails else found or 'absent'}"
        )
        if fails:
            self._stage.reached("a look-up failed")
            raise ProviderDownError("the look-up failed", provider=self.name)
        return None if found is None else Receipt(self.name, found)

    async def aclose(self) -> None:
        """Nothing to close."""

    async def _pause(self, seconds: float) -> None:
        await self._process.clock.sleep(seconds)

    async def _request(self, mail: Mail, limit: float) -> Receipt:
        stage, course = self._stage, self._store.course(mail, limit)
        reply: asyncio.Future[Receipt | ProviderError] = stage.loop.create_future()

        def answer(value: Receipt | ProviderError) -> None:
            if not reply.done():
                reply.set_result(value)

        def arrive() -> None:
            message_id = self._store.take(mail.id)
            if course.answered is not None:
                back = max(0.0, course.answered - (course.arrives or 0.0))
                stage.after(back, answer, course.error or Receipt(self.name, message_id))

        stage.after(limit, answer, OutcomeUnknownError("no answer in time", provider=self.name))
        if course.arrives is not None:
            stage.after(course.arrives, arrive)
        elif course.answered is not None and course.error is not None:
            stage.after(course.answered, answer, course.error)
        outcome = await reply
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome
