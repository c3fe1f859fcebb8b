"""What holds for every course of pulls: no shard starves, and redeliveries change nothing."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from postman.core.selection import Selection

ASKED = 4
GUARD = 8
PULLS = 200


class Shards:
    """Queues that get their mails as they are published, and hand out any of those that they have."""

    def __init__(self, publications: Sequence[Sequence[float]], draws: Random) -> None:
        self._left = [sorted(one) for one in publications]
        self._draws = draws

    def take(self, shard: int, now: float) -> list[float]:
        left = self._left[shard]
        here = bisect_right(left, now)
        places = sorted(self._draws.sample(range(here), min(here, self._draws.choice((ASKED, ASKED, 1)))), reverse=True)
        return [left.pop(place) for place in places]

    def older(self, shard: int, than: float) -> int:
        """Count the mails left in the shards other than *shard* that were published at *than* or before."""
        return sum(bisect_right(left, than) for other, left in enumerate(self._left) if other != shard)


PUBLICATIONS = st.lists(st.lists(st.floats(-10.0, 80.0), max_size=60), min_size=2, max_size=10)
"""When the mails of each shard are published; the pulls run from 0 on."""


@dataclass
class Wait:
    """From the last pull of a shard on: how many choices it waits, and how many it may."""

    bound: float
    choices: int = 0


def waits(selection: Selection, publications: Sequence[Sequence[float]], *, times: int, draws: Random) -> list[Wait]:
    """Pull, with some redeliveries among the mails; the bound is *times* the one of full looks."""
    shards, count = Shards(publications, draws), len(publications)
    now, all_waits, waiting = 0.0, list[Wait](), dict[int, Wait]()
    for _ in range(PULLS):
        now += draws.uniform(0.01, 0.5)
        chosen = selection.choose(range(count))
        waiting.pop(chosen, None)
        for wait in waiting.values():
            wait.choices += 1
        sent_at, now = now, now + draws.uniform(0.01, 0.5)
        taken = shards.take(chosen, sent_at)
        deliveries = [(1, at) for at in taken] + [(3, at - 50.0) for at in taken[: draws.randrange(3)]]
        selection.pulled(chosen, asked=ASKED, sent_at=sent_at, returned_at=now, deliveries=deliveries)
        older = shards.older(chosen, selection._heads[chosen])
        waiting[chosen] = Wait(times * (count + 4 * older / ASKED))
        all_waits.append(waiting[chosen])
    return all_waits


@settings(max_examples=60, deadline=None)
@given(publications=PUBLICATIONS, seed=st.integers(0, 2**32))
def test_no_shard_waits_for_more_than_older_mails_and_one_look_at_each_other_shard(
    publications: list[list[float]], seed: int
) -> None:
    selection = Selection(random=Random(seed))

    assert all(wait.choices < wait.bound for wait in waits(selection, publications, times=1, draws=Random(seed)))


@settings(max_examples=60, deadline=None)
@given(publications=PUBLICATIONS, seed=st.integers(0, 2**32))
def test_a_sampled_shard_waits_for_no_more_than_so_many_times_as_much(
    publications: list[list[float]], seed: int
) -> None:
    selection = Selection(random=Random(seed), choices=2, guard_every=GUARD)

    assert all(wait.choices < wait.bound for wait in waits(selection, publications, times=GUARD, draws=Random(seed)))


REDELIVERIES = st.lists(st.tuples(st.integers(2, 9), st.floats(-1e6, 1e6)), min_size=1, max_size=8)


@settings(deadline=None)
@given(
    pulls=st.lists(st.tuples(st.integers(0, 5), REDELIVERIES, REDELIVERIES), max_size=60),
    choices=st.sampled_from([0, 2]),
    seed=st.integers(0, 2**32),
)
def test_what_is_redelivered_changes_no_choice(
    pulls: list[tuple[int, list[tuple[int, float]], list[tuple[int, float]]]], choices: int, seed: int
) -> None:
    """How many they are, how old, and how often they came: two processes that differ in it alone choose alike."""
    one, other = (Selection(random=Random(seed), choices=choices) for _ in range(2))
    for place, (fresh, these, those) in enumerate(pulls):
        chosen = one.choose(range(6))
        assert other.choose(range(6)) == chosen
        first = [(1, place + at / 10) for at in range(fresh)]
        one.pulled(chosen, asked=6, sent_at=place, returned_at=place + 1, deliveries=[*first, *these])
        other.pulled(chosen, asked=6, sent_at=place, returned_at=place + 1, deliveries=[*those, *first])
