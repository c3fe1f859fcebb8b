"""Mistakes that somebody might make in the protocol and its use; the simulation must find each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["FAULTS", "Fault", "fault_named"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake: in *module*, *old* reads *new*."""

    name: str
    module: str
    old: str
    new: str
    sign: str
    """What the watch says of it, in part."""
    emphasis: Mapping[str, float] = field(default_factory=dict)
    """What must happen often for it to show, and how often: the swarm alone would take many thousand seeds."""


FAULTS: Final = (
    Fault(
        "a take-over keeps the token",
        "postman.core.protocol",
        "        token=entry.token + 1,\n        claim_id=claim_id,\n        lapses=",
        "        token=entry.token,\n        claim_id=claim_id,\n        lapses=",
        "has two holders",
    ),
    Fault(
        "a late release of an old owner counts",
        "postman.core.protocol",
        '    current = _current(entry, claim)\n    note = Note(now, "released"',
        "    current = entry if entry is not None and entry.state is State.SENDING else _current(entry, claim)\n"
        '    note = Note(now, "released"',
        "ends the claim of",
        {"ledger.late": 0.1, "second.pause": 0.05, "provider.unreachable": 0.2},
    ),
    Fault(
        "it fails over after an unknown outcome",
        "postman.runtime.failover.router",
        "if meaning_of(error).may_be_sent or meaning_of(error).scope is Scope.MESSAGE:",
        "if meaning_of(error).scope is Scope.MESSAGE:",
        "S4",
    ),
    Fault(
        "it acks before it records",
        "postman.runtime.courier",
        "            await self._record_sent(current, receipt)\n",
        "            self._late = asyncio.ensure_future(self._record_sent(current, receipt))\n",
        "acked by",
    ),
    Fault(
        "it records before the provider accepted",
        "postman.runtime.courier",
        "        try:\n            receipt = await self._failover.send(",
        '        await self._ledger.record_sent(claim, Receipt(claim.provider, ""))\n'
        "        try:\n            receipt = await self._failover.send(",
        "did not accept it",
    ),
    Fault(
        "a doubt is settled by absence too early",
        "postman.core.doubt",
        "if case.found is Found.NO and case.age >= case.look_up_after:",
        "if case.found is Found.NO:",
        "taken for absent",
    ),
    Fault(
        "a claim whose reply was lost is taken for another's",
        "postman.core.protocol",
        "if entry.claim_id == claim_id and entry.state is State.SENDING:",
        "if entry.claim_id == claim_id and entry.state is State.FREE:",
        "own claim is taken for another's",
    ),
    Fault(
        "a claim that is over is granted when it arrives late",
        "postman.core.protocol",
        "        case State.FREE if entry.claim_id == claim_id:\n",
        "        case State.FREE if not claim_id:\n",
        "again, which is over",
    ),
    Fault(
        "the dead letter of an earlier time counts",
        "postman.core.protocol",
        "entry.parked or entry.token != token or entry.state",
        "entry.parked or entry.state",
        "parked before the dead letter",
        {"second.replay": 0.2, "mail.refused": 0.3, "ledger.late": 0.1},
    ),
    Fault(
        "the workers that ended with a mail are not counted",
        "postman.core.protocol",
        "        lapses=entry.lapses + (0 if _is_same_worker(entry.claim_id, claim_id) else 1),\n",
        "        lapses=entry.lapses,\n",
        "it ended",
    ),
    Fault(
        "a doubt that a repetition renewed is as old as before",
        "postman.runtime.doubts",
        "None if isinstance(error, OutcomeUnknownError) else entry.since",
        "entry.since",
        "taken for absent",
    ),
    Fault(
        "a key is repeated when the lease may be over",
        "postman.runtime.doubts",
        "if self._clock.now() + provider.timeout > ends:",
        "if self._clock.now() < ends - lease:",
        "S4",
        {"second.pause": 0.2, "provider.broken": 0.4, "ledger.slow": 0.4},
    ),
    Fault(
        "a key is repeated without a claim",
        "postman.runtime.doubts",
        "        claim = await self._ledger.repeat(",
        "        self._ledger.repeat(",
        "S4",
    ),
    Fault(
        "a move acks before it publishes",
        "postman.runtime.settler",
        "        try:\n            await self._shards.queue(home).publish(",
        "        await self._shards.queue(shard).ack(delivery)\n"
        "        try:\n            await self._shards.queue(home).publish(",
        "acked by",
        {"second.layout": 0.2},
    ),
    Fault(
        "a move puts the mail back where it came from",
        "postman.runtime.settler",
        "await self._shards.queue(home).publish(",
        "await self._shards.queue(shard).publish(",
        "liveness: not finished",
        {"second.layout": 0.2},
    ),
    Fault(
        "nobody looks into the shards that were given up",
        "postman.core.layout",
        "        return range(self.consume, self.top)\n",
        "        return range(self.top, self.top)\n",
        "liveness: not finished",
        {"second.layout": 0.2},
    ),
    Fault(
        "a second growth forgets how many shards there were",
        "postman.core.layout",
        'object.__setattr__(self, "top", max(self.top, self.consume))',
        'object.__setattr__(self, "top", self.consume)',
        "liveness: not finished",
        {"second.layout": 0.2},
    ),
    Fault(
        "only the first change of the layout is followed",
        "postman.runtime.following",
        "if found is None or found.epoch <= self._layout.epoch:",
        "if found is None or self._layout.epoch:",
        "liveness: not finished",
        {"second.layout": 0.2},
    ),
    Fault(
        "what waits of a paused shard is dropped and not given back",
        "postman.runtime.intake",
        "self._spawn(self._hands.give_back(waiting))",
        "waiting.clear()",
        "liveness: not finished",
        {"second.layout": 0.3, "provider.slow": 0.4},
    ),
    Fault(
        "what a last pull brings of a paused shard is kept",
        "postman.runtime.intake",
        "            if self._guard.is_closed or number not in self._read:\n"
        "                await self._hands.give_back(taken)\n"
        "            else:\n",
        "            if self._guard.is_closed:\n"
        "                await self._hands.give_back(taken)\n"
        "            elif number in self._read:\n",
        "liveness: not finished",
        {"second.layout": 0.3},
    ),
    Fault(
        "a shard that was paused is not read again",
        "postman.runtime.intake",
        "        self._read = frozenset(self._following.read)\n",
        "        known = self._shards.keys() - self._read\n"
        "        self._read = frozenset(self._following.read) - known\n",
        "liveness: not finished",
        {"second.layout": 0.3},
    ),
    Fault(
        "paused shards are read",
        "postman.core.layout",
        "[shard for shard in range(self.consume) if shard not in self.paused]",
        "[shard for shard in range(self.consume)]",
        "which was paused",
        {"second.layout": 0.3},
    ),
)


def fault_named(name: str) -> Fault:
    """Return the fault called *name*; `LookupError` where there is none."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise LookupError(f"no fault is called {name!r}")
