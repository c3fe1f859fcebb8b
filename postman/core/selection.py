"""Which shard a worker pulls from next: the one whose oldest mail is probably the oldest.

What a process knows comes from its own pulls alone: no request, no table shared with others, nothing that is minutes
old. For each shard it keeps an estimate of when the oldest mail left was published. It stands still while the shard is
not visited, so that its turn comes nearer; and as each process knows something else, they do not all run to the same
shard.

Two choices of many queues, the rule of the MultiQueue (Rihani, Sanders, Dementiev, arXiv:1411.1209), can be had, but
not by itself: a shard that is sampled so gets 1 - (1 - 1/N)^2 of the pulls at the most, and a hot one needs more. A
third candidate, the shard of the last full pull, and a look at all of them from time to time take that limit away.
"""

from collections.abc import Sequence
from math import ceil, inf
from random import Random
from statistics import median_low
from typing import Final

from postman.errors import ConfigError

__all__ = ["Selection", "most_of_one_shard"]

_FULL: Final = 0.5
"""Queues may return fewer messages than they have: a pull that brought this share of what was asked counts as full."""
_STRETCH: Final = 600.0
"""Seconds for which, and for as long again, our clock is taken to be behind by what was seen."""
_ROUNDING: Final = 1e-9


class Selection:
    """Chooses shards for the workers of one process. Not for several threads.

    *choices* is how many candidates are looked at, drawn at random, besides the shard of the last full pull; 0 looks at
    all of them, and so does every *guard_every*-th choice. `ConfigError` where *choices* is 1, which compares nothing,
    or either is too small.

    **What is estimated.** After a full pull the head is taken to be as old as the median of the first deliveries, or as
    it was estimated before if that is later; after another one, to be as old as that pull. A queue need not hand out
    its oldest messages first: the newest of a pull proves nothing about what is left, and where a backlog comes in any
    order, going by it makes a hot shard look like an idle one.

    **No shard starves.** Let a shard be left with its head estimated at H. Another one is preferred to it only while
    that one's head is estimated at H or before. A pull that is sent from then on and is not full moves it behind H:
    once for each of the other N - 1 shards. A full one either does so too, or takes at least a quarter of what it asked
    for, of mails that were published up to H. With Q such mails in the other shards and pulls that ask for B, the shard
    is chosen at the latest at the (N + 4Q/B)-th choice that looks at all and has it as a candidate; where they are
    sampled, within *guard_every* times as many choices. So it waits for older mails and one look at each other shard.

    **Clocks.** When a mail was published is told by the queue's clock, all else by ours. A mail that seems to come from
    our future proves that our clock is behind, by so much at least; our times are corrected by the most that was seen
    within the last ten to twenty minutes. A clock that is ahead by D seconds cannot be told from a backlog: shards with
    a backlog are then preferred as if their mails were D seconds older. A clock that is set back makes no shard wait:
    no head is taken to be later than the pull that shows it.
    """

    def __init__(self, *, random: Random, choices: int = 0, guard_every: int = 8) -> None:
        if choices < 0 or choices == 1:
            raise ConfigError(f"a shard is chosen among 2 or more, or 0 for all, not {choices}")
        if guard_every < 1:
            raise ConfigError(f"all shards are looked at every 1 or more choices, not {guard_every}")
        self._random = random
        self._choices = choices
        self._guard_every = guard_every
        self._made = 0
        self._heads: dict[int, float] = {}
        self._last_full: int | None = None
        self._behind = 0.0
        self._skew: tuple[float, float] = (0.0, 0.0)
        """By how much our clock was behind in this stretch of time, and in the one before."""
        self._stretch_began = -inf
        self._latest = -inf

    def choose(self, candidates: Sequence[int]) -> int:
        """Return one of *candidates*: the shards that may be read now and have no pull open. Never empty."""
        self._made += 1
        looked_at = self._sample(candidates) if self._is_sampling(len(candidates)) else candidates
        heads = [self._heads.get(shard, -inf) for shard in looked_at]
        least = min(heads)
        return self._random.choice([shard for shard, head in zip(looked_at, heads, strict=True) if head == least])

    def pulled(
        self, shard: int, *, asked: int, sent_at: float, returned_at: float, deliveries: Sequence[tuple[int, float]]
    ) -> None:
        """Learn from a pull for *asked* messages; of each, *deliveries* has the attempt and when it was published.

        All times are seconds since 1970. A pull that failed is told as one that was empty, or the shard would be chosen
        again at once. Redeliveries count for nothing: mails that come back for ever would otherwise keep the workers.
        """
        first = [published_at for attempt, published_at in deliveries if attempt == 1]
        self._learn_of_skew(max(first, default=-inf), returned_at)
        self._note_time(returned_at + self._behind)
        if first and len(first) >= _FULL * asked:
            self._heads[shard] = max(self._heads.get(shard, -inf), median_low(first))
            self._last_full = shard
        else:
            self._heads[shard] = (sent_at if deliveries else returned_at) + self._behind

    def forget(self, shard: int) -> None:
        """Drop what is known of *shard*, which is no longer read; should it come back, it is new."""
        self._heads.pop(shard, None)
        if self._last_full == shard:
            self._last_full = None

    def _learn_of_skew(self, newest: float, returned_at: float) -> None:
        """A clock that is put right is trusted again after two stretches; one that is set back begins a new one."""
        skew, before = self._skew
        if not self._stretch_began <= returned_at < self._stretch_began + _STRETCH:
            skew, before, self._stretch_began = 0.0, skew, returned_at
        self._skew = (max(skew, newest - returned_at), before)
        self._behind = max(self._skew)

    def _is_sampling(self, candidates: int) -> bool:
        return 0 < self._choices < candidates and self._made % self._guard_every != 0

    def _sample(self, candidates: Sequence[int]) -> Sequence[int]:
        drawn = self._random.sample(candidates, self._choices)
        last = self._last_full
        return drawn if last is None or last in drawn or last not in candidates else [*drawn, last]

    def _note_time(self, latest: float) -> None:
        """Take it that no head is later than *latest*: where our clock was set back, they would be for long."""
        if latest < self._latest:
            self._heads = {shard: min(head, latest) for shard, head in self._heads.items()}
        self._latest = latest


def most_of_one_shard(slots: int, shards: int, share: float = 0.5) -> int:
    """Return how many of a process's *slots* the mails of one shard may take, so that slow ones leave room for others.

    All of them where only one shard is read. It is a hard limit: the backlog of a shard that needs more than *share* of
    the capacity grows.
    """
    if shards <= 1:
        return slots
    return max(1, ceil(share * slots - _ROUNDING))
