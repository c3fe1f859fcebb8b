"""Transitions as Firestore transactions: begun, one read, one write.

For what a conditional write could not decide, because another worker came
between, or because its answer was lost. The time is that of the read, by the
server's clock. A transaction that is not committed, since its transition changes
nothing or raises, a call failed, or the caller was cancelled, is rolled back at
once in the background: one that has read keeps others from the document for up
to a minute. So it is begun by a call of its own, whose lost answer locks nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from postman.adapters._ledger import Transition
from postman.adapters.firestore._calls import REFUSALS, CallFailedError, Calls, Code, Snapshot
from postman.adapters.firestore._documents import creation, entry_of, seconds_of, update
from postman.core.protocol import Entry
from postman.errors import LedgerUnavailableError
from postman.ports.clock import Clock

__all__ = ["Transactions", "change", "version_of"]

_T = TypeVar("_T")

_ATTEMPTS: Final = 8


class Transactions:
    """Runs transitions; *retention* is how many seconds after its last change an entry may be deleted."""

    def __init__(self, calls: Calls, *, clock: Clock, retention: float, jitter: Callable[[], float]) -> None:
        self._calls = calls
        self._clock = clock
        self._retention = retention
        self._jitter = jitter
        self._rollbacks: set[asyncio.Task[None]] = set()

    async def run(self, name: str, transition: Transition[_T]) -> tuple[_T, Timestamp | None]:
        """Return the transition's answer and the document's version after it.

        It runs again after contention, and after a commit whose answer was lost: it then recognises what it did.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return await self._attempt(name, transition)
            except _OpenError as error:
                reason = error.reason
            await self._clock.sleep(min(1.0, 0.02 * 2**attempt) * (0.5 + self._jitter()))
        raise reason

    async def aclose(self) -> None:
        """Return when every transaction has ended."""
        while self._rollbacks:
            await asyncio.gather(*self._rollbacks, return_exceptions=True)

    async def _attempt(self, name: str, transition: Transition[_T]) -> tuple[_T, Timestamp | None]:
        transaction = await self._calls.begin()
        committed = False
        try:
            snapshot = await self._read(transaction, name)
            before, now = entry_of(snapshot.document), seconds_of(snapshot.read_at)
            step = transition(before, now)
            if step.entry is None or step.entry is before:
                return step.answer, version_of(snapshot)
            write = change(name, snapshot, step.entry, retention=self._retention)
            version = await self._commit(transaction, write)
            committed = True
            return step.answer, version
        finally:
            if not committed:
                self._roll_back(transaction)

    async def _read(self, transaction: bytes, name: str) -> Snapshot:
        try:
            return await self._calls.read_locked(transaction, name)
        except CallFailedError as error:
            if error.code is not Code.ABORTED:
                raise
            raise _OpenError(error) from error

    async def _commit(self, transaction: bytes, write: Any) -> Timestamp:
        try:
            return await self._calls.commit(transaction, write)
        except CallFailedError as error:
            if error.code in REFUSALS:
                raise
            raise _OpenError(error) from error

    def _roll_back(self, transaction: bytes) -> None:
        task = asyncio.create_task(self._end(transaction))
        self._rollbacks.add(task)
        task.add_done_callback(self._rollbacks.discard)

    async def _end(self, transaction: bytes) -> None:
        try:
            await self._calls.roll_back(transaction)
        except LedgerUnavailableError:
            return  # the server ends it by itself, later


class _OpenError(Exception):
    """It is open whether the transaction was made; another attempt will tell."""

    def __init__(self, reason: CallFailedError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def change(name: str, snapshot: Snapshot, after: Entry, *, retention: float) -> Any:
    """Return the write that makes *after* of what *snapshot* holds, if it still does."""
    before = entry_of(snapshot.document)
    expire_at = seconds_of(snapshot.read_at) + retention
    if before is None:
        return creation(name, after, expire_at=expire_at, server_time=False)
    version = snapshot.document.update_time
    return update(name, before, after, version=version, expire_at=expire_at, server_time=False)


def version_of(snapshot: Snapshot) -> Timestamp | None:
    """Return the update time of a document that is there."""
    if snapshot.document is None:
        return None
    version: Timestamp = snapshot.document.update_time
    return version
