"""The troubles of a chaos run, each spread evenly over the mails, so that a run of any length has its full measure."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Self

from postman.testing.emulators import Emulators, Service
from postman.testing.grpc_proxy import GrpcProxy, StatusCode
from tests.chaos.relay import Relay

__all__ = ["PROVIDER_FAULTS", "Line", "Progress", "cut_now_and_then", "freeze_now_and_then"]

Progress = Callable[[], float]
"""How much of the run is over, from 0 to 1."""

PROVIDER_FAULTS: Final[Sequence[dict[str, Any]]] = (
    {"kind": "slow", "seconds": 0.05, "only": "send"},
    {"kind": "hang", "rate": 0.01, "seconds": 5, "only": "send"},
    {"kind": "reset", "rate": 0.005, "only": "send"},
    {"kind": "malformed", "rate": 0.005, "only": "send"},
    {"kind": "status", "status": 503, "rate": 0.03, "only": "send"},
    {"kind": "reset_before", "rate": 0.01, "only": "send"},
    {"kind": "throttle", "rate": 0.002, "seconds": 1, "only": "send"},
    {"kind": "status", "status": 500, "rate": 0.02, "only": "lookup"},
)
"""Of both providers. The first three take the mail and do not say so."""

_TURN: Final = 0.1
_SHARE: Final = 0.2
_CODES: Final = (StatusCode.UNAVAILABLE, StatusCode.ABORTED, StatusCode.DEADLINE_EXCEEDED, StatusCode.INTERNAL)
_METHODS: Final = {
    Service.PUBSUB: ("Publish", "Acknowledge", "Pull", "ModifyAckDeadline"),
    Service.FIRESTORE: ("BatchWrite", "BatchWrite", "BatchWrite", "BeginTransaction", "BatchGetDocuments", "Commit"),
}


@dataclass(slots=True)
class Line:
    """The way to one service: bytes that can be cut, then calls whose answers can be lost."""

    service: Service
    relay: Relay
    proxy: GrpcProxy
    dice: random.Random
    _asked: Counter[str] = field(default_factory=Counter)

    @classmethod
    async def open(cls, service: Service, host: str, stack: AsyncExitStack, dice: random.Random) -> Self:
        proxy = await stack.enter_async_context(GrpcProxy(host))
        return cls(service, await stack.enter_async_context(Relay(proxy.address)), proxy, dice)

    @property
    def lost(self) -> int:
        """How many answers were lost, to requests that had been done."""
        return self.proxy.lost.total()

    async def lose(self, count: int, progress: Progress) -> None:
        """Lose *count* answers or a few more, until cancelled; of the first calls a share, or nobody could begin."""
        while True:
            due = min(1.05 * count * progress() + 1, _SHARE * self.proxy.calls.total())
            for _ in range(int(due) - self.lost):
                self._trouble_one()
            await asyncio.sleep(_TURN)

    def _trouble_one(self) -> None:
        """Trouble the next call of a method that has no trouble before it: some are called more often than others."""
        ready = [method for method in _METHODS[self.service] if self._asked[method] <= self.proxy.troubled[method]]
        if not ready:
            return
        method, chance, code = self.dice.choice(ready), self.dice.random(), self.dice.choice(_CODES)
        self._asked[method] += 1
        if chance < 0.03:
            self.proxy.hang(method, after=True, times=1)
            return
        self.proxy.fail(method, code=code, after=True, times=1)
        if chance > 0.9:
            self.proxy.delay(method, 1.0, times=1)
        elif chance > 0.7:
            self.proxy.fail(method, code=code, times=1)
        self._asked[method] += chance > 0.7


async def cut_now_and_then(lines: Sequence[Line], times: int, progress: Progress) -> None:
    """Cut all connections of one line after the other, so many *times*."""
    for turn in range(times):
        await _until(progress, (turn + 0.5) / times)
        lines[turn % len(lines)].relay.cut()


async def freeze_now_and_then(
    emulators: Emulators, times: int, progress: Progress, dice: random.Random, count: Counter[str]
) -> None:
    """Freeze one emulator after the other for some seconds, so many *times*."""
    services = (Service.PUBSUB, Service.FIRESTORE)
    for turn in range(times):
        await _until(progress, (turn + 0.7) / times)
        service = services[turn % len(services)]
        emulators.pause(service)
        try:
            await asyncio.sleep(dice.uniform(2.0, 6.0))
        finally:
            emulators.resume(service)
        count[service] += 1


async def _until(progress: Progress, share: float) -> None:
    while progress() < share:  # noqa: ASYNC110 — the progress is another process's
        await asyncio.sleep(_TURN)
