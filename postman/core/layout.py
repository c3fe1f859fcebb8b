"""The layout of a cluster: which shards producers fill, and which workers empty.

It changes while both are at work, and each learns of a change at another time.
What keeps a mail from being lost meanwhile is that workers read every shard
into which any producer may still put one. What keeps it from being sent twice
is the ledger, whose keys know no shards: a mail in two shards is sent once.

Every change makes the next epoch from the one before, so that of two operators
who change the same layout one learns that he was late.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from postman.core.ids import MailId
from postman.core.shards import place
from postman.errors import LayoutError

__all__ = ["MOST_SHARDS", "Layout", "ShardState"]

MOST_SHARDS: Final = 1_024


class ShardState(StrEnum):
    """What a shard is there for now."""

    OPEN = "open"
    """Producers fill it, workers empty it."""
    PAUSED = "paused"
    """Workers leave it alone."""
    DRAINING = "draining"
    """It is closed: producers put nothing into it until it is resumed."""
    NEW = "new"
    """Workers read it, producers do not fill it yet."""
    GOING = "going"
    """Producers fill it no more, workers still read it."""
    RETIRED = "retired"
    """It was given up; workers look into it now and then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One epoch. Raises `LayoutError` for one that would lose mails or makes no sense."""

    publish: int
    """Producers put mails into the shards below this number."""
    consume: int
    """Workers read the shards below this number; never fewer than *publish*."""
    epoch: int = 0
    """0: nobody ever changed anything, so every process goes by its settings."""
    target: int = 0
    """The number of shards that a change under way leads to; 0: none is under way."""
    top: int = 0
    """The highest *consume* that ever was. Workers look into the shards from *consume* up to it now and then, and move
    what they find: a producer that learns of nothing may still put mails there."""
    hand: int = 0
    """How many shards the mails of one tenant or key go to; 0: the mail's id alone chooses, among all."""
    paused: frozenset[int] = frozenset()
    """Workers leave these alone; producers do not."""
    closed: frozenset[int] = frozenset()
    """Producers put nothing into these; workers empty them."""
    changed_at: float = 0.0
    """When this epoch began, in seconds since 1970."""
    published_at: float = 0.0
    """When *publish* became what it is."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "top", max(self.top, self.consume))
        for problem, is_so in self._problems():
            if is_so:
                raise LayoutError(problem)

    @classmethod
    def of(cls, shards: int, *, hand: int = 0) -> "Layout":
        """Return the layout of a cluster whose settings say so many *shards*, and which nobody changed."""
        return cls(publish=shards, consume=shards, top=shards, hand=hand)

    @property
    def is_settled(self) -> bool:
        """Whether no change of the number of shards is under way."""
        return not self.target

    def shard_of(self, mail_id: MailId | str, key: str = "") -> int:
        """Return into which shard a producer puts a mail, of the tenant or the class *key* where that counts."""
        return place(mail_id, self.publish, key=key, hand=self.hand, closed=self.closed)

    def takes(self, shard: int) -> bool:
        """Whether producers put mails into *shard*."""
        return shard < self.publish and shard not in self.closed

    @property
    def read(self) -> Sequence[int]:
        """The shards that workers read."""
        return [shard for shard in range(self.consume) if shard not in self.paused]

    @property
    def retired(self) -> Sequence[int]:
        """The shards that were given up, into which workers look now and then."""
        return range(self.consume, self.top)

    def state_of(self, shard: int) -> ShardState:
        """Return what *shard*, which is below *top*, is there for now."""
        if shard >= self.consume:
            return ShardState.RETIRED
        if shard in self.paused:
            return ShardState.PAUSED
        if shard >= self.publish:
            return ShardState.NEW if shard < self.target else ShardState.GOING
        return ShardState.DRAINING if shard in self.closed else ShardState.OPEN

    def pause(self, *shards: int, now: float) -> "Layout":
        """Let workers leave *shards* alone, until they are resumed."""
        self._check_read(shards)
        return self._next(now, paused=self.paused.union(shards))

    def close(self, *shards: int, now: float) -> "Layout":
        """Let producers put nothing into *shards*, so that they run empty, until they are resumed."""
        self._check_read(shards)
        for shard in shards:
            if shard in self.paused:
                raise LayoutError(f"shard {shard} is paused, so nobody would empty it: resume it first")
        if not any(self.takes(other) for other in range(self.publish) if other not in shards):
            raise LayoutError(f"no shard that takes mails would be left without {_listed(shards)}")
        return self._next(now, closed=self.closed.union(shards))

    def resume(self, *shards: int, now: float) -> "Layout":
        """Let workers read *shards* and producers fill them again."""
        self._check_read(shards)
        return self._next(now, paused=self.paused.difference(shards), closed=self.closed.difference(shards))

    def aim(self, target: int, *, now: float, hand: int | None = None) -> "Layout":
        """Begin a change to *target* shards, or turn one that is under way; with a *hand*, that counts from now on."""
        return self._next(now, target=target, hand=self.hand if hand is None else hand)

    def consuming(self, count: int, *, now: float) -> "Layout":
        """Let workers read the shards below *count*; what was paused or closed beyond them is forgotten."""
        kept = frozenset(range(count))
        return self._next(now, consume=count, paused=self.paused & kept, closed=self.closed & kept)

    def publishing(self, count: int, *, now: float) -> "Layout":
        """Let producers fill the shards below *count*."""
        return self._next(now, publish=count, published_at=now)

    def arrive(self, *, now: float) -> "Layout":
        """End the change that is under way."""
        return self._next(now, target=0)

    def _next(self, now: float, **changes: object) -> "Layout":
        return replace(self, epoch=self.epoch + 1, changed_at=now, **changes)  # type: ignore[arg-type]

    def _check_read(self, shards: Collection[int]) -> None:
        for shard in shards:
            if not 0 <= shard < self.consume:
                raise LayoutError(f"there is no shard {shard}: they are numbered from 0 to {self.consume - 1}")

    def _problems(self) -> Sequence[tuple[str, bool]]:
        counts = (self.publish, self.consume)
        most = f"there are 1 to {MOST_SHARDS} shards"
        marked = self.paused | self.closed
        return (
            (f"{most}, not {min(counts)} or {max(counts)}", min(counts) < 1 or max(counts) > MOST_SHARDS),
            (f"{most}, not {self.target}", not 0 <= self.target <= MOST_SHARDS),
            (f"{most}, not {self.top}", self.top > MOST_SHARDS),
            ("workers would not read every shard that producers fill", self.consume < self.publish),
            (f"a hand is of 0 to {MOST_SHARDS} shards, not {self.hand}", not 0 <= self.hand <= MOST_SHARDS),
            (f"what is paused or closed is below {self.consume}", not all(0 <= each < self.consume for each in marked)),
            ("no shard takes mails", not any(self.takes(shard) for shard in range(self.publish))),
        )


def _listed(shards: Collection[int]) -> str:
    return ", ".join(map(str, sorted(shards)))
