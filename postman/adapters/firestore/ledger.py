"""The ledger in Firestore.

*Guarantees and cost.* A mail that is claimed and sent costs two writes and no
read. The claim is an atomic insert; what follows it is conditional on the
update time that the claim's write returned, so nobody can have come between.
Both travel in groups through `BatchWrite`, in which each write has its own
condition and its own result. Whatever that cannot decide (the document is there
already, the condition fails, the answer is lost) is decided by reading it: that
is all where the entry already says enough (held, settled, our own claim), else
a write follows, conditional on what was read. Only where another came between,
or an answer was lost again, does a transaction decide, which waits its turn: an
open one keeps others from the document, for a minute where its worker is
killed. A failover, release, refusal or doubt of one's own claim costs one
write; a claim of a mail that was given back, a take-over, a settled or cleared
doubt one read and one write, and the claim the write in vain before it.

Nothing is retried by gRPC or a library. A lost answer is never taken for a
failure: each change carries its claim's id and token, is made again and
recognises itself. Contention is tried again a few times with jitter; no call
takes longer than about ten seconds, and an unreachable server is told within
six. Ages of leases and doubts are by the server's clock alone.

*Settings.* The URL is `firestore:` or `firestore:DATABASE`; the project is the
cluster's, the collection `{prefix}-mails`; FIRESTORE_EMULATOR_HOST leads to an
emulator. Every write sets `expire_at`, 90 days on, for a TTL policy on that
field. Fields that this version does not know are kept, and a state that it does
not know is left alone.
"""

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from postman.adapters._grouping import Grouper
from postman.adapters._ledger import Transition, TransitionLedger
from postman.adapters.firestore._calls import REFUSALS, CallFailedError, Calls, Code, Outcome, Snapshot
from postman.adapters.firestore._channel import Database
from postman.adapters.firestore._documents import creation, document_id, entry_of, seconds_of, update
from postman.adapters.firestore._transactions import Transactions, change, version_of
from postman.core import protocol
from postman.core.ids import MailId
from postman.core.protocol import Answer, Claim, Claimed, Entry, State
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt

__all__ = ["RETENTION", "FirestoreLedger", "database_of", "open_ledger"]

_T = TypeVar("_T")

RETENTION: Final = 90 * 86_400.0
"""Seconds after its last change at which an entry may be deleted."""

_TOTAL_LIMIT: Final = 9.5
_GROUP: Final = 100
_DATABASE_NAME: Final = re.compile(r"\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]")


def open_ledger(location: str, cluster: Cluster) -> "FirestoreLedger":
    """Open the ledger in database *location* (empty: the default one) of the cluster's project."""
    return FirestoreLedger(database_of(location, cluster), collection=f"{cluster.prefix}-mails", clock=cluster.clock)


def database_of(location: str, cluster: Cluster) -> Database:
    """Return the database that *location*, what follows `firestore:`, names; raises `ConfigError`."""
    database = location or "(default)"
    if not _DATABASE_NAME.fullmatch(database):
        raise ConfigError(f"{database!r} is no name of a Firestore database")
    if not cluster.project:
        raise ConfigError("the ledger firestore: needs a project; set POSTMAN_PROJECT")
    return Database(cluster.project, database, os.environ.get("FIRESTORE_EMULATOR_HOST", ""))


class FirestoreLedger(TransitionLedger):
    """See the module. *jitter* gives numbers from 0 to 1 that spread the attempts under contention."""

    def __init__(
        self, database: Database, *, collection: str, clock: Clock, jitter: Callable[[], float] = random.random
    ) -> None:
        self._database = database
        self._root = f"{database.path}/documents/{collection}/"
        self._clock = clock
        self._calls = Calls(database)
        self._transactions = Transactions(self._calls, clock=clock, retention=RETENTION, jitter=jitter)
        self._writes = Grouper[Any, Outcome](self._write_group, limit=_GROUP)
        self._reads = Grouper[str, Snapshot](self._read_group, limit=_GROUP)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

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
        def transition(entry: Entry | None, now: float) -> protocol.Step[Answer]:
            return protocol.claim(
                entry,
                now,
                mail_id=mail_id,
                digest=digest,
                claim_id=claim_id,
                provider=provider,
                lease=lease,
                recipients=recipients,
            )

        async with self._limited():
            answer, version = await self._create(mail_id, transition)
        return Claimed(replace(answer.claim, version=version)) if isinstance(answer, Claimed) else answer

    async def move(self, claim: Claim, provider: str) -> Claim:
        moved, version = await self._mark(
            claim, lambda entry, now: protocol.move(entry, now, claim=claim, provider=provider)
        )
        return replace(moved, version=version)

    async def release(self, claim: Claim, *, reason: str) -> None:
        await self._mark(claim, lambda entry, now: protocol.release(entry, now, claim=claim, reason=reason))

    async def record_sent(self, claim: Claim, receipt: Receipt) -> None:
        await self._mark(
            claim,
            lambda entry, now: protocol.sent(
                entry, now, provider=receipt.provider, message_id=receipt.message_id, evidence="answer"
            ),
        )

    async def record_refused(self, claim: Claim, *, reason: str) -> None:
        await self._mark(claim, lambda entry, now: protocol.refuse(entry, now, claim=claim, reason=reason))

    async def record_doubt(self, claim: Claim, *, reason: str, since: float | None = None) -> None:
        if since is None:
            await self._mark(claim, lambda entry, now: protocol.doubt(entry, now, claim=claim, reason=reason))
        else:
            await super().record_doubt(claim, reason=reason, since=since)

    async def find(self, mail_id: MailId) -> Entry | None:
        async with self._limited():
            return entry_of((await self._reads.add(self._name(mail_id))).document)

    async def ensure(self) -> None:
        """Nothing: Firestore makes a collection with its first document."""

    async def check(self) -> None:
        """Read a document that does not exist."""
        async with self._limited():
            await self._reads.add(f"{self._root}check")

    async def aclose(self) -> None:
        await self._idle.wait()
        await self._writes.aclose()
        await self._reads.aclose()
        await self._transactions.aclose()
        await self._calls.aclose()

    async def _apply(self, mail_id: MailId, transition: Transition[_T]) -> _T:
        async with self._limited():
            answer, _ = await self._decide(self._name(mail_id), transition)
        return answer

    async def _create(self, mail_id: MailId, transition: Transition[_T]) -> tuple[_T, Timestamp | None]:
        name, now = self._name(mail_id), self._clock.time()
        step = transition(None, now)
        assert step.entry is not None  # noqa: S101 — a claim of nothing is granted
        write = creation(name, step.entry, expire_at=now + RETENTION, server_time=True)
        outcome = await self._writes.add(write)
        if outcome.code is Code.OK:
            return step.answer, outcome.version
        self._raise_if_hopeless(outcome)
        return await self._decide(name, transition)

    async def _mark(self, claim: Claim, transition: Transition[_T]) -> tuple[_T, Timestamp | None]:
        """Change the entry as the claim left it, in one write; read it only where it is not so any more."""
        name, now = self._name(claim.mail_id), self._clock.time()
        before = _entry_as_claimed(claim, now)
        step = transition(before, now)
        async with self._limited():
            if step.entry is None or step.entry is before or not isinstance(claim.version, Timestamp):
                return await self._decide(name, transition)
            outcome = await self._writes.add(
                update(name, before, step.entry, version=claim.version, expire_at=now + RETENTION, server_time=True)
            )
            if outcome.code is Code.OK:
                return step.answer, outcome.version
            self._raise_if_hopeless(outcome)
        return await self._decide(name, transition)

    async def _decide(self, name: str, transition: Transition[_T]) -> tuple[_T, Timestamp | None]:
        """Read, and write if nobody came between; where somebody did, or it is not known, leave it to a transaction."""
        snapshot = await self._reads.add(name)
        before, now = entry_of(snapshot.document), seconds_of(snapshot.read_at)
        step = transition(before, now)
        if step.entry is None or step.entry is before:
            return step.answer, version_of(snapshot)
        outcome = await self._writes.add(change(name, snapshot, step.entry, retention=RETENTION))
        if outcome.code is Code.OK:
            return step.answer, outcome.version
        self._raise_if_hopeless(outcome)
        return await self._transactions.run(name, transition)

    def _raise_if_hopeless(self, outcome: Outcome) -> None:
        if outcome.code in REFUSALS:
            raise CallFailedError(self._database, outcome.code)

    async def _write_group(self, writes: Sequence[Any]) -> list[Outcome]:
        """Send writes in as few requests as possible, no document twice in one."""
        outcomes: dict[int, Outcome] = {}
        for wave in _waves([write.update.name for write in writes]):
            results = await self._write_together([writes[number] for number in wave])
            outcomes.update(zip(wave, results, strict=True))
        return [outcomes[number] for number in range(len(writes))]

    async def _write_together(self, writes: Sequence[Any]) -> list[Outcome]:
        try:
            return await self._calls.batch_write(writes)
        except CallFailedError as error:
            return [Outcome(error.code, Timestamp())] * len(writes)

    async def _read_group(self, names: Sequence[str]) -> list[Snapshot]:
        snapshots = await self._calls.read(list(dict.fromkeys(names)))
        return [snapshots[name] for name in names]

    def _name(self, mail_id: MailId) -> str:
        return self._root + document_id(mail_id)

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        self._under_way += 1
        self._idle.clear()
        try:
            async with self._calls.within(_TOTAL_LIMIT):
                yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


def _entry_as_claimed(claim: Claim, now: float) -> Entry:
    """Return the entry as the claim left it, as far as a later step can change it."""
    return Entry(
        State.SENDING,
        token=claim.token,
        claim_id=claim.claim_id,
        provider=claim.provider,
        lease_ends=now,
        attempts=claim.attempts,
        lapses=claim.lapses,
    )


def _waves(names: Sequence[str]) -> list[list[int]]:
    """Divide positions so that no name comes twice in one part, each part in order."""
    waves: list[list[int]] = []
    seen: Counter[str] = Counter()
    for number, name in enumerate(names):
        if seen[name] == len(waves):
            waves.append([])
        waves[seen[name]].append(number)
        seen[name] += 1
    return waves
