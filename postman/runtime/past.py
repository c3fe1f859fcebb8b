"""What a worker did in the last hour, counted minute by minute while it happens.

It is told where something ends, by whoever knows it first: the courier of what
the ledger prevented and of mails that move on or are left in doubt, the router
of failed attempts and of breakers that change, the hands of each mail's end.
Between changes a breaker stays as it is, and whoever asks for the minutes says
how the breakers stand, so that no minute is without.

All of it costs about a microsecond a mail.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from postman.core.fleet.past import (
    BOUNDS,
    MOST_LATEST,
    MOST_MINUTES,
    Finished,
    Latency,
    Minute,
    ProviderMinute,
    worst,
)
from postman.core.fleet.reports import ProviderStanding
from postman.core.ids import is_mail_id
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack, Verdict
from postman.ports.queue import Delivery

__all__ = ["Past"]

_MINUTE: Final = 60
_DIGITS: Final = 3
"""Of seconds, in what is told."""
_SENT: Final = "sent"
_SETTLED: Final = "settled"

_Ended = tuple[str, Ack | DeadLetter, str, float, float, int]


class _Tally:
    """The minute that is not over yet."""

    __slots__ = (
        "accepted",
        "buckets",
        "dead",
        "failed",
        "in_doubt",
        "moved",
        "prevented",
        "refused",
        "seconds",
        "worst",
    )

    def __init__(self, states: Mapping[str, str]) -> None:
        self.accepted: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.worst = dict(states)
        self.refused = self.in_doubt = self.moved = self.prevented = self.dead = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)

    def minute(self, begins: int) -> Minute:
        names = dict.fromkeys((*self.worst, *self.accepted, *self.failed))
        return Minute(
            begins=begins,
            providers={name: self._provider(name) for name in names},
            refused=self.refused,
            in_doubt=self.in_doubt,
            moved=self.moved,
            prevented=self.prevented,
            dead=self.dead,
            latency=Latency(round(self.seconds, _DIGITS), tuple(self.buckets)),
        )

    def _provider(self, name: str) -> ProviderMinute:
        return ProviderMinute(self.accepted.get(name, 0), self.failed.get(name, 0), self.worst.get(name, "closed"))


class Past:
    """See the module; one for each worker, used from one event loop. *time* returns seconds since 1970."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._states: dict[str, str] = {}
        self._over: deque[Minute] = deque(maxlen=MOST_MINUTES - 1)
        self._begins = int(time() // _MINUTE)
        self._tally = _Tally({})
        self._latest: deque[_Ended] = deque(maxlen=MOST_LATEST)

    @property
    def latest(self) -> tuple[Finished, ...]:
        """The mails that ended last, oldest first."""
        return tuple(_finished(*each) for each in self._latest)

    def minutes(self, standings: Mapping[str, ProviderStanding]) -> tuple[Minute, ...]:
        """Return the minutes since this was made, an hour of them at the most; breakers stand as *standings* say."""
        tally = self._now(self._time())
        self._states = {name: standing.breaker for name, standing in standings.items()}
        for name, state in self._states.items():
            tally.worst[name] = worst(state, tally.worst.get(name, state))
        return (*self._over, tally.minute(self._begins))

    def ended(self, shard: int, delivery: Delivery, verdict: Verdict) -> None:
        """The mail of *delivery*, from *shard*, ends as *verdict* says; one that comes back has not ended."""
        if isinstance(verdict, GiveBack):
            return
        now = self._time()
        took = max(0.0, now - max(delivery.published_at, verdict.due if isinstance(verdict, Ack) else 0.0))
        tally = self._now(now)
        if isinstance(verdict, DeadLetter):
            tally.dead += 1
            tally.refused += verdict.reason is DeadReason.REFUSED and bool(verdict.by)
            outcome: str = verdict.reason
        elif verdict.by:
            tally.accepted[verdict.by] = tally.accepted.get(verdict.by, 0) + 1
            tally.seconds += took
            tally.buckets[bisect_left(BOUNDS, took)] += 1
            outcome = _SENT
        else:
            outcome = _SETTLED
        self._latest.append((delivery.message.attributes.get("mail_id", ""), verdict, outcome, now, took, shard))

    def failed(self, provider: str) -> None:
        """An attempt at *provider* failed, or nobody knows whether it did."""
        failed = self._now(self._time()).failed
        failed[provider] = failed.get(provider, 0) + 1

    def stands(self, provider: str, state: str) -> None:
        """The breaker of *provider* has come into another *state*."""
        tally = self._now(self._time())
        tally.worst[provider] = worst(state, tally.worst.get(provider, state))
        self._states[provider] = state

    def moved(self) -> None:
        """A mail goes on to another provider."""
        self._now(self._time()).moved += 1

    def doubted(self) -> None:
        """A mail is left in doubt."""
        self._now(self._time()).in_doubt += 1

    def prevented(self) -> None:
        """The ledger kept a mail from being sent."""
        self._now(self._time()).prevented += 1

    def _now(self, now: float) -> _Tally:
        """Return the tally of the minute in which *now* lies; a clock that is put back a little stays in its minute."""
        minute = int(now // _MINUTE)
        if minute != self._begins and not self._begins - 1 <= minute < self._begins:
            self._turn(minute)
        return self._tally

    def _turn(self, minute: int) -> None:
        """Begin *minute*; those between were idle. A clock that was put back loses what it said of the time to come."""
        if minute > self._begins:
            self._over.append(self._tally.minute(self._begins))
            for begins in range(max(self._begins + 1, minute - MOST_MINUTES + 1), minute):
                self._over.append(_Tally(self._states).minute(begins))
        else:
            self._over.clear()
        self._begins, self._tally = minute, _Tally(self._states)


def _finished(mail_id: str, verdict: Ack | DeadLetter, outcome: str, at: float, took: float, shard: int) -> Finished:
    """What was never decoded may name an id that is none."""
    name = mail_id if isinstance(verdict, Ack) or is_mail_id(mail_id) else ""
    return Finished(name, outcome, verdict.by, round(at, _DIGITS), round(took, _DIGITS), shard)
