"""What waits in the shards, as an operator sees it: for `postman status`, `postman shards list` and pages."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from postman.core.fleet.lags import Lag, lag_of
from postman.core.fleet.reports import WorkerReport
from postman.core.fleet.words import counted
from postman.errors import ConfigError, QueueUnavailableError
from postman.ports.backlog import Backlog, Backlogs
from postman.ports.clock import Clock

__all__ = ["Gauge", "Waiting", "backlog_document", "duration"]

_BEHIND: Final = 5.0
"""Seconds; answers that are older come from who counts seldom."""
_PAUSE: Final = 30.0
"""Seconds between two questions to who counts seldom, or does not answer."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in all shards, as far as anybody can tell."""

    at: float
    """When this was put together, in seconds since 1970."""
    is_counted: bool
    """Whether there is somebody who counts."""
    shards: Mapping[int, Backlog]
    """By shard, the last that is known; without those of which nothing is."""
    dead: Mapping[int, Backlog]
    """The same of their dead letters."""
    lags: Mapping[int, Lag]
    """By shard, what the latest pull showed, where there was one lately."""
    problem: str
    """Why nothing newer is known; empty: nothing is wrong."""

    @property
    def count(self) -> int:
        """How many mails wait, in workers' hands too."""
        return sum(each.count for each in self.shards.values())

    @property
    def oldest(self) -> tuple[int, float] | None:
        """The shard with the oldest mail, and that mail's age in seconds; None where none waits."""
        ages = {shard: each.oldest_age for shard, each in self.shards.items() if each.count}
        shard = max(ages, key=lambda each: ages[each], default=None)
        return None if shard is None else (shard, ages[shard])

    @property
    def age(self) -> float:
        """Seconds since the earliest of the counts."""
        return max((max(0.0, self.at - each.at) for each in self.shards.values()), default=0.0)

    def __str__(self) -> str:
        """Say it in one line, without markup."""
        return "; ".join(filter(None, (self._counts, self._pulls, self.problem)))

    @property
    def _counts(self) -> str:
        if not self.is_counted:
            return "nobody counts what waits here"
        if not self.shards:
            return "" if self.problem else "nothing is known of what waits"
        ago = f", {duration(self.age)} ago" if self.age >= _BEHIND else ""
        total = f"{counted(self.count, 'mail')} in {counted(len(self.shards), 'shard')}{ago}"
        return (
            f"{total}; the oldest waits {duration(self.oldest[1])} (shard {self.oldest[0]})" if self.oldest else total
        )

    @property
    def _pulls(self) -> str:
        """Only where nothing better is known."""
        if self.shards or not self.lags:
            return ""
        shard = max(self.lags, key=lambda each: self.lags[each].waited)
        return f"of the mails pulled last one had waited {duration(self.lags[shard].waited)} (shard {shard})"


class Gauge:
    """Looks for those who show it, one at a time; who counts seldom, or does not answer, is asked seldom."""

    def __init__(self, backlogs: Backlogs | None, clock: Clock) -> None:
        self._backlogs = backlogs
        self._clock = clock
        self._asked_for: frozenset[int] = frozenset()
        self._ask_at = 0.0
        self._shards: Mapping[int, Backlog] = {}
        self._dead: Mapping[int, Backlog] = {}
        self._problem = ""

    async def look(self, shards: Sequence[int], reports: Sequence[WorkerReport]) -> Waiting:
        """Return what waits in *shards*; never raises, and takes ten seconds at the most."""
        if self._backlogs is not None and (self._clock.now() >= self._ask_at or self._asked_for != frozenset(shards)):
            await self._ask(self._backlogs, shards)
        now = self._clock.time()
        lags = {shard: lag_of(reports, shard, now) for shard in shards}
        return Waiting(
            at=now,
            is_counted=self._backlogs is not None,
            shards=self._shards,
            dead=self._dead,
            lags={shard: lag for shard, lag in lags.items() if lag is not None},
            problem=self._problem,
        )

    async def aclose(self) -> None:
        """Let go of the store."""
        if self._backlogs is not None:
            await self._backlogs.aclose()

    async def _ask(self, backlogs: Backlogs, shards: Sequence[int]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                found, dead = (group.create_task(look(shards)) for look in (backlogs.look, backlogs.look_dead))
        except* (ConfigError, QueueUnavailableError) as errors:
            self._problem = str(errors.exceptions[0])
        else:
            self._shards, self._dead, self._problem = found.result(), dead.result(), ""
        self._asked_for = frozenset(shards)
        times = [each.at for each in self._shards.values()]
        is_exact = times and not self._problem and min(times) >= self._clock.time() - _BEHIND
        self._ask_at = self._clock.now() + (0.0 if is_exact else _PAUSE)


def backlog_document(waiting: Waiting) -> dict[str, object] | None:
    """Return *waiting* as JSON has it, with numbers of shards as texts; None where nobody counts, and nobody pulled."""
    if not waiting.is_counted and not waiting.lags:
        return None
    return {
        "count": waiting.count if waiting.shards else None,
        "oldest_age": (waiting.oldest[1] if waiting.oldest else 0.0) if waiting.shards else None,
        "shards": {f"{shard}": asdict(each) for shard, each in sorted(waiting.shards.items())},
        "dead": {f"{shard}": asdict(each) for shard, each in sorted(waiting.dead.items())},
        "pulls": {f"{shard}": asdict(each) for shard, each in sorted(waiting.lags.items())},
        "problem": waiting.problem,
    }


def duration(seconds: float) -> str:
    """Return a time for reading: in seconds up to two minutes, then in minutes up to two hours, then in hours."""
    for unit, name in ((1.0, "s"), (60.0, "min")):
        if seconds < 120 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 3_600:.0f} h"
