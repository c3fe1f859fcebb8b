"""Adapters that stop their own process at a named step, installed as a third party's are: the worker is the real one.

A worker that names the queue and the ledger `trapped:` and a provider of the kind `trapped` gets Pub/Sub, Firestore
and SendGrid. Where the environment sets a trap, the process sends itself a signal as soon as so many mails are at
that step: all of them have done what the step says, and none has gone on. It happens once for a marker file. What
is acked within its lease is noted in a file, so that a test knows when a queue is empty without looking into it.
"""

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast

from postman.adapters import firestore, pubsub, sendgrid
from postman.adapters._numbered import Numbered
from postman.core.ids import MailId
from postman.core.mail import Mail
from postman.core.protocol import Answer, Claim, Claimed
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster, ProviderSpec
from postman.ports.provider import Provider, Receipt
from postman.ports.queue import Delivery, Message, Queue, ShardMap

__all__ = ["ENTRY_POINTS", "Step", "Trap", "install", "open_ledger", "open_provider", "open_shards", "trap_variables"]

ENTRY_POINTS: Final = """\
[postman.queues]
trapped = tests.chaos.traps:open_shards
[postman.ledgers]
trapped = tests.chaos.traps:open_ledger
[postman.providers]
trapped = tests.chaos.traps:open_provider
"""

_PATIENCE: Final = 1.0
"""So many seconds the first mail at the step waits for others; much less than a claim's lease."""


class Step(StrEnum):
    """Where a worker can be stopped; each is reached when what it says has been done."""

    PULLED = "pulled"
    CLAIMED = "claimed"
    SENDING = "sending"
    """The request is about to leave: nothing between here and the provider looks at the clock again."""
    ACCEPTED = "accepted"
    """The provider has answered, and nobody wrote it down."""
    MARKED = "marked"
    ACKED = "acked"
    DOUBTED = "doubted"
    CLEARED = "cleared"
    BURIED = "buried"
    """The dead letter is durable, and nobody wrote it down."""
    PARKED = "parked"


class Trap:
    """Springs once, when *count* mails have reached *step*, or some time after the first has."""

    def __init__(self, step: str, number: int, count: int, marker: Path | None) -> None:
        self._step = step
        self._number = number
        self._count = count
        self._marker = marker
        self._reached = 0
        self._sprung = asyncio.Event()

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Trap":
        """Read the trap that `trap_variables` describes; without one, it never springs."""
        if "CHAOS_STEP" not in environ:
            return cls("", 0, 0, None)
        number, count = int(environ["CHAOS_SIGNAL"]), int(environ["CHAOS_COUNT"])
        return cls(environ["CHAOS_STEP"], number, count, Path(environ["CHAOS_MARKER"]))

    async def reach(self, step: Step, mails: int = 1) -> None:
        """Let *mails* wait here for the others if this is the step."""
        if step != self._step or self._marker is None or self._marker.exists():
            return
        self._reached += mails
        if self._reached < self._count:
            await self._wait()
        self._spring(self._marker)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._sprung.wait()
        except TimeoutError:
            return

    def _spring(self, marker: Path) -> None:
        if marker.exists():
            return
        marker.write_text(f"{self._reached} {time.time()}", encoding="utf-8")
        os.kill(os.getpid(), self._number)
        self._sprung.set()


_TRAP: Final = Trap.from_env(os.environ)


def trap_variables(step: Step, number: signal.Signals, *, count: int, marker: Path) -> dict[str, str]:
    """Return the environment that sets a trap."""
    return {
        "CHAOS_STEP": step,
        "CHAOS_SIGNAL": str(int(number)),
        "CHAOS_COUNT": str(count),
        "CHAOS_MARKER": str(marker),
    }


def install(folder: Path) -> None:
    """Make of *folder* a place on the path at which these adapters are found by their name."""
    metadata = folder / "postman_traps-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: postman-traps\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")


def open_shards(rest: str, cluster: Cluster) -> ShardMap:
    return cast("ShardMap", _Shards(pubsub.open_shards(rest, cluster)))


def open_ledger(rest: str, cluster: Cluster) -> Ledger:
    return cast("Ledger", _Ledger(firestore.open_ledger(rest, cluster)))


def open_provider(spec: ProviderSpec) -> Provider:
    return cast("Provider", _Provider(sendgrid.open_provider(replace(spec, kind="sendgrid"))))


class _Wrapped:
    """Passes on what it does not do itself."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Shards(_Wrapped):
    def __init__(self, inner: ShardMap) -> None:
        super().__init__(inner)
        self._live = Numbered(lambda shard: cast("Queue", _Queue(inner.queue(shard))))
        self._dead = Numbered(lambda shard: cast("Queue", _Dead(inner.dead(shard))))

    def queue(self, shard: int) -> Queue:
        return self._live[shard]

    def dead(self, shard: int) -> Queue:
        return self._dead[shard]


class _Queue(_Wrapped):
    def __init__(self, inner: Queue) -> None:
        super().__init__(inner)
        self._extended: dict[Delivery, float] = {}

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        pulled: Sequence[Delivery] = await self._inner.pull(max_deliveries=max_deliveries, wait=wait)
        if pulled:
            await _TRAP.reach(Step.PULLED, len(pulled))
        return pulled

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        ends = time.monotonic() + seconds
        await self._inner.extend(deliveries, seconds)
        self._extended |= {each: ends for each in deliveries if time.monotonic() < self._lease_end(each)}

    async def ack(self, delivery: Delivery) -> None:
        await self._inner.ack(delivery)
        if time.monotonic() < self._lease_end(delivery):
            _note(delivery)
        await _TRAP.reach(Step.ACKED)

    def _lease_end(self, delivery: Delivery) -> float:
        return self._extended.get(delivery, delivery.lease_ends)


def _note(delivery: Delivery) -> None:
    with Path(os.environ["CHAOS_ACKS"]).open("a", encoding="utf-8") as acks:
        acks.write(f"{delivery.message.attributes['mail_id']}\n")


class _Dead(_Wrapped):
    async def publish(self, message: Message) -> None:
        await self._inner.publish(message)
        await _TRAP.reach(Step.BURIED)


class _Ledger(_Wrapped):
    async def claim(self, mail_id: MailId, **details: Any) -> Answer:
        answer: Answer = await self._inner.claim(mail_id, **details)
        if isinstance(answer, Claimed):
            await _TRAP.reach(Step.CLAIMED)
        return answer

    async def record_sent(self, claim: Claim, receipt: Receipt) -> None:
        await self._inner.record_sent(claim, receipt)
        await _TRAP.reach(Step.MARKED)

    async def record_doubt(self, claim: Claim, *, reason: str, since: float | None = None) -> None:
        await self._inner.record_doubt(claim, reason=reason, since=since)
        await _TRAP.reach(Step.DOUBTED)

    async def clear_doubt(self, mail_id: MailId, *, token: int, reason: str) -> None:
        await self._inner.clear_doubt(mail_id, token=token, reason=reason)
        await _TRAP.reach(Step.CLEARED)

    async def park(self, mail_id: MailId, *, token: int) -> None:
        await self._inner.park(mail_id, token=token)
        await _TRAP.reach(Step.PARKED)


class _Provider(_Wrapped):
    async def send(self, mail: Mail, *, timeout: float | None = None) -> Receipt:
        await _TRAP.reach(Step.SENDING)
        receipt: Receipt = await self._inner.send(mail, timeout=timeout)
        await _TRAP.reach(Step.ACCEPTED)
        return receipt
