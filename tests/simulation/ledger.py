"""The ledger: one store that runs the product's own transitions, and a client for each process."""

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from postman.adapters._ledger import Transition, TransitionLedger
from postman.core.ids import MailId
from postman.core.protocol import Answer, Claimed, Entry, Held, State
from postman.errors import ClaimLostError, LedgerUnavailableError
from tests.simulation.network import Line
from tests.simulation.process import Process
from tests.simulation.stage import Stage
from tests.simulation.watch import Watch

__all__ = ["LedgerStore", "SimLedger"]

_T = TypeVar("_T")


class LedgerStore:
    """The entries, each change of which the watch sees."""

    def __init__(self, stage: Stage, watch: Watch) -> None:
        self._stage = stage
        self._watch = watch
        self.entries: dict[MailId, Entry] = {}

    def apply(
        self, process: Process, mail_id: MailId, name: str, transition: Transition[_T], *, claim_id: str = ""
    ) -> _T:
        """Run *transition* atomically; *claim_id* is that of a claim."""
        before = self.entries.get(mail_id)
        try:
            step = transition(before, self._stage.time())
        except ClaimLostError:
            self._stage.reached(f"too late: {name}")
            raise
        if step.entry is not None and step.entry is not before:
            self.entries[mail_id] = step.entry
            self._watch.changed(process, mail_id, name, before, step.entry)
        if claim_id and before is not None and before.claim_id == claim_id and before.state is State.SENDING:
            if isinstance(step.answer, Held):
                self._watch.was_held(process, mail_id)
            elif isinstance(step.answer, Claimed):
                self._stage.reached("a claim whose reply was lost was recognised")
        return step.answer


class SimLedger(TransitionLedger):
    """What a process sees of the ledger. Times are the store's."""

    def __init__(self, stage: Stage, process: Process, store: LedgerStore, random: Random) -> None:
        self._process = process
        self._store = store
        self._claiming = ""
        """The id of the claim that is about to be made."""
        self._line = Line(stage, process, "ledger", random, LedgerUnavailableError)

    async def ensure(self) -> None:
        """Nothing to make."""

    async def check(self) -> None:
        await self._line.call("check", "", lambda: None)

    async def aclose(self) -> None:
        """Nothing to close."""

    async def claim(
        self,
        mail_id: MailId,
        *,
        claim_id: str,
        digest: str,
        provider: str,
        lease: float,
        recipients: Sequence[str] = (),
    ) -> Answer:
        self._claiming = claim_id
        return await super().claim(
            mail_id, claim_id=claim_id, digest=digest, provider=provider, lease=lease, recipients=recipients
        )

    async def _apply(self, mail_id: MailId, transition: Transition[_T]) -> _T:
        name, claim_id = _name_of(transition), self._claiming
        self._claiming = ""
        return await self._line.call(
            name,
            mail_id,
            lambda: self._store.apply(self._process, mail_id, name, transition, claim_id=claim_id),
        )


def _name_of(transition: Callable[..., object]) -> str:
    """Return the method, or function, in which *transition* was written."""
    words = transition.__qualname__.split(".")
    return words[1] if len(words) > 1 else words[0]
