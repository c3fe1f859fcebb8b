"""What the observing proxy does with a request: ask the record, pass it on once, record the acceptance, then answer.

Between a provider's acceptance and the record of it lies a gap, in which a
worker may die. Here the gap lies in a process that does nothing else: once a
whole request has come, its exchange with the provider goes on and is recorded,
whoever is still there to hear of it. The same mail at the same provider, sent
while the first is under way, gets the first one's answer; sent later, it is
answered from the record. A mail that the ledger does not see under way to this
provider is not passed on: a worker that stood still and wakes up after it was
taken over can send nothing any more.

Nothing is ever sent twice from here: a request is made once, and a failure is
told to the worker, who knows what to do.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import structlog

from postman.core.backoff import Backoff
from postman.core.entry import Entry, State
from postman.core.ids import MailId
from postman.errors import (
    LedgerUnavailableError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
)
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.observing import Answered, ObservedProvider, Outcome, Passage
from postman.ports.provider import Receipt
from postman.runtime.closing import close_all
from postman.runtime.surprise import reason_of

__all__ = ["EVIDENCE", "Observer", "Passed"]

_LOG = structlog.get_logger("postman.observer")

EVIDENCE: Final = "observed by the proxy"
"""Stands in a mail's history where the proxy recorded its acceptance."""

_CONSULTING: Final = 0.4
"""Of a worker's patience, the part that the ledger may take to say what is known of the mail."""
_RECORDING: Final = 1.0
"""Seconds of a worker's patience that are kept for recording the acceptance; at most a quarter of it."""
_LEAST: Final = 0.1
"""With less time no request is begun."""
_LAST_WORD: Final = 1.5

_FAILURES: Final[Mapping[type[ProviderError], Outcome]] = MappingProxyType(
    {
        ProviderUnreachableError: Outcome.UNREACHABLE,
        ProviderDownError: Outcome.DOWN,
        OutcomeUnknownError: Outcome.UNKNOWN,
    }
)


@dataclass(frozen=True, slots=True)
class Passed:
    """What became of a request."""

    outcome: Outcome
    answer: Answered | None = None
    """In the provider's form; None where the proxy itself has to answer."""
    problem: str = ""
    """Why; never with an address, a body or a key."""


class Observer:
    """See the module; one for each proxy process, used from one event loop."""

    def __init__(self, *, ledger: Ledger, providers: Sequence[ObservedProvider], clock: Clock) -> None:
        self._ledger = ledger
        self._providers = {provider.name: provider for provider in providers}
        self._gone: list[ObservedProvider] = []
        self._clock = clock
        self._flights: dict[tuple[str, MailId], asyncio.Task[Passed]] = {}
        self._unrecorded = 0
        self._is_closed = False

    def change(self, providers: Sequence[ObservedProvider]) -> None:
        """Stand before *providers* from now on; mails under way at others end there, which are closed at the end."""
        kept = {provider.name: provider for provider in providers}
        self._gone.extend(each for each in self._providers.values() if kept.get(each.name) is not each)
        self._providers = kept

    @property
    def in_flight(self) -> int:
        """How many mails are under way."""
        return len(self._flights)

    @property
    def unrecorded(self) -> int:
        """How many of them were accepted and wait for the ledger."""
        return self._unrecorded

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def longest_timeout(self) -> float:
        """Seconds that one exchange may take, also one under way at a provider that was changed or is gone."""
        return max((provider.timeout for provider in self._all()), default=0.0)

    def find(self, name: str) -> ObservedProvider | None:
        """Return the provider called *name*, None where there is none."""
        return self._providers.get(name)

    async def check(self) -> None:
        """Return if the ledger can be used, else raise as `Ledger.check`."""
        await self._ledger.check()

    async def send(self, provider: ObservedProvider, passage: Passage, mail_id: MailId, *, patience: float) -> Passed:
        """Pass on the request that sends *mail_id*, whose worker waits *patience* seconds.

        Where the caller is cancelled, all goes on without it.
        """
        key = (provider.name, mail_id)
        flight = self._flights.get(key)
        if flight is None:
            if self._is_closed:
                return Passed(Outcome.UNAVAILABLE, problem="the proxy is stopping")
            flight = asyncio.create_task(self._fly(provider, passage, mail_id, patience))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key))
        return await asyncio.shield(flight)

    async def ask(self, provider: ObservedProvider, passage: Passage) -> Passed:
        """Pass on a look-up."""
        return await self._forward(provider, passage, provider.timeout)

    def close(self) -> None:
        """Begin no mail any more."""
        self._is_closed = True

    async def drain(self, seconds: float) -> bool:
        """Return when nothing is under way any more, or after *seconds*; whether all ended."""
        if not self._flights:
            return True
        _, left = await asyncio.wait(self._flights.values(), timeout=seconds)
        return not left

    async def aclose(self) -> None:
        """Break off what is under way, trying a last time to record what was accepted, and close the connections."""
        self.close()
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await close_all(self._all())

    def _all(self) -> Sequence[ObservedProvider]:
        return (*self._providers.values(), *self._gone)

    async def _fly(self, provider: ObservedProvider, passage: Passage, mail_id: MailId, patience: float) -> Passed:
        ends = self._clock.now() + patience - min(_RECORDING, patience / 4)
        if (known := await self._consult(provider, mail_id, patience * _CONSULTING)) is not None:
            _LOG.info(
                "not_passed_on", mail_id=mail_id, provider=provider.name, outcome=known.outcome, reason=known.problem
            )
            return known
        timeout = min(provider.timeout, ends - self._clock.now())
        if timeout < _LEAST:
            return Passed(Outcome.UNAVAILABLE, problem="no time is left for the provider")
        passed = await self._forward(provider, passage, timeout)
        receipt = provider.receipt_of(passed.answer) if passed.answer else None
        if receipt is None:
            self._tell(passed, mail_id, provider)
            return passed
        await self._record(mail_id, receipt)
        _LOG.info("observed", mail_id=mail_id, provider=provider.name, message_id=receipt.message_id)
        return Passed(Outcome.RECORDED, passed.answer)

    async def _consult(self, provider: ObservedProvider, mail_id: MailId, seconds: float) -> Passed | None:
        """Return the answer that the ledger's entry gives by itself; None where the mail is to be passed on."""
        try:
            async with asyncio.timeout(seconds):
                entry = await self._ledger.find(mail_id)
        except TimeoutError:
            return Passed(Outcome.UNAVAILABLE, problem="the ledger is slow")
        except LedgerUnavailableError as error:
            return Passed(Outcome.UNAVAILABLE, problem=str(error))
        if entry is None or entry.provider != provider.name:
            return _outdated(entry)
        if entry.state is State.SENT:
            receipt = Receipt(provider.name, entry.message_id)
            return Passed(Outcome.RECORDED, provider.acceptance(receipt), "it was taken before")
        return None if entry.state is State.SENDING else _outdated(entry)

    async def _forward(self, provider: ObservedProvider, passage: Passage, timeout: float) -> Passed:
        try:
            return Passed(Outcome.ANSWERED, await provider.forward(passage, timeout=timeout))
        except ProviderError as error:
            outcome = next((_FAILURES[cls] for cls in type(error).__mro__ if cls in _FAILURES), Outcome.UNKNOWN)
            return Passed(outcome, problem=error.problem)

    async def _record(self, mail_id: MailId, receipt: Receipt) -> None:
        """Insist; also a last time when the proxy breaks off."""
        self._unrecorded += 1
        try:
            await self._insist_on(mail_id, receipt)
        except asyncio.CancelledError:
            await self._record_at_last(mail_id, receipt)
            raise
        finally:
            self._unrecorded -= 1

    async def _insist_on(self, mail_id: MailId, receipt: Receipt) -> None:
        waits = Backoff(0.1, longest=5.0)
        while True:
            try:
                return await self._ledger.settle(mail_id, receipt, evidence=EVIDENCE)
            except LedgerUnavailableError as error:
                _not_recorded(mail_id, receipt, error)
                await self._clock.sleep(waits.next())

    async def _record_at_last(self, mail_id: MailId, receipt: Receipt) -> None:
        try:
            async with asyncio.timeout(_LAST_WORD):
                await self._ledger.settle(mail_id, receipt, evidence=EVIDENCE)
        except (TimeoutError, LedgerUnavailableError) as error:
            _not_recorded(mail_id, receipt, error)

    def _tell(self, passed: Passed, mail_id: MailId, provider: ObservedProvider) -> None:
        status = passed.answer.status if passed.answer else None
        _LOG.warning(
            "not_accepted",
            mail_id=mail_id,
            provider=provider.name,
            outcome=passed.outcome,
            status=status,
            reason=passed.problem,
        )


def _outdated(entry: Entry | None) -> Passed:
    if entry is None:
        return Passed(Outcome.OUTDATED, problem="nobody has claimed it")
    where = f" at {entry.provider}" if entry.provider else ""
    return Passed(Outcome.OUTDATED, problem=f"it is {entry.state}{where}")


def _not_recorded(mail_id: MailId, receipt: Receipt, error: Exception) -> None:
    _LOG.error(
        "accepted_but_not_recorded",
        mail_id=mail_id,
        provider=receipt.provider,
        message_id=receipt.message_id,
        **reason_of(error),
    )
