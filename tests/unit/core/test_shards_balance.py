"""How evenly mails and tenants spread over the shards, and what a change of their number moves.

The bounds are of statistics, but nearly all ids and keys are fixed, and what is not has a bound that chance passes
once in 10 million million runs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import combinations
from math import comb, sqrt
from random import Random
from typing import Final

import pytest

from postman.core.ids import new_mail_id
from postman.core.shards import hand_of, place, shard_for

MANY: Final = 10_000
KEYS: Final = [f"tenant-{number}" for number in range(2_000)]
GROWTHS: Final = [(4, 5), (8, 12), (16, 17), (16, 24), (16, 32)]
LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def flakes(random: Random) -> list[int]:
    """64 bits of milliseconds, 48 of one worker, 16 of a sequence that begins anew in each of them."""
    worker = random.getrandbits(48)
    return [(1_790_000_000_000 + number // 3) << 64 | worker << 16 | number % 3 for number in range(MANY)]


def snowflakes(random: Random) -> list[int]:
    """41 bits of milliseconds, 10 of a few workers, 12 of a sequence that is nearly always 0."""
    return [(350_000_000_000 + number * 7) << 22 | random.randrange(4) << 12 for number in range(MANY)]


def ulid(number: int, random: Random) -> str:
    value = (1_790_000_000_000 + number) << 80 | random.getrandbits(80)
    return "".join(LETTERS[value >> shift & 31] for shift in range(125, -5, -5))


FAMILIES: Final[dict[str, Callable[[Random], Iterable[str]]]] = {
    "ours": lambda random: (new_mail_id() for _ in range(MANY)),
    "flakes": lambda random: (f"{flake:032x}" for flake in flakes(random)),
    "snowflakes": lambda random: map(str, snowflakes(random)),
    "ULIDs": lambda random: (ulid(number, random) for number in range(MANY)),
    "counters": lambda random: (f"order-{number}-receipt" for number in range(MANY)),
    "like addresses": lambda random: (
        f"<{random.randrange(10**6)}.{number}@mail{number % 3}.example.org>" for number in range(MANY)
    ),
}


def reference(text: str, count: int) -> int:
    """The hash as the paper has it, with doubles."""
    key = int(sha256(text.encode()).hexdigest()[:16], 16)
    bucket, after = -1, 0
    while after < count:
        bucket = after
        key = (key * 2862933555777941757 + 1) % 2**64
        after = int((bucket + 1) * (float(1 << 31) / float((key >> 33) + 1)))
    return bucket


def unevenness(shards: Iterable[int], count: int) -> float:
    """Return chi-square of *shards* against an even spread, divided by what chance passes once in 10**13 times.

    The bound is that of Laurent and Massart (2000, lemma 1) for the chi-square distribution.
    """
    found = Counter(shards)
    mean = found.total() / count
    rarity = 30.0
    bound = (count - 1) + 2 * sqrt((count - 1) * rarity) + 2 * rarity
    return sum((found[shard] - mean) ** 2 / mean for shard in range(count)) / bound


def fourfold_deviation(count: int, chance: float) -> float:
    return 4 * sqrt(count * chance * (1 - chance))


@pytest.mark.parametrize("family", FAMILIES)
def test_mails_spread_evenly_whatever_their_ids_look_like(family: str) -> None:
    ids = list(FAMILIES[family](Random(family)))

    assert len(set(ids)) == MANY
    for count in (4, 16, 64):
        assert unevenness((shard_for(mail_id, count) for mail_id in ids), count) < 1


def test_the_measure_sees_ids_that_are_taken_for_numbers() -> None:
    """All snowflakes of a quiet hour end in the same bits."""
    assert unevenness((flake % 16 for flake in snowflakes(Random(1))), 16) > 100


def test_the_measure_sees_one_shard_that_gets_half_more() -> None:
    shards = [shard_for(f"mail-{number}", 16) for number in range(MANY)]

    assert unevenness([*shards, *[3] * (MANY // 16 // 2)], 16) > 1


@pytest.mark.parametrize(("before", "after"), GROWTHS)
def test_growing_moves_the_new_shards_part_and_nothing_between_old_shards(before: int, after: int) -> None:
    moves = [(shard_for(f"mail-{number}", before), shard_for(f"mail-{number}", after)) for number in range(MANY)]
    moved = [(old, new) for old, new in moves if old != new]
    share = 1 - before / after

    assert all(new >= before for _, new in moved)
    assert abs(len(moved) - MANY * share) < fourfold_deviation(MANY, share)
    assert unevenness((new - before for _, new in moved), after - before) < 1


def test_the_mails_of_a_closed_shard_spread_evenly_over_the_others() -> None:
    ids = [f"mail-{number}" for number in range(MANY) if shard_for(f"mail-{number}", 8) == 7]

    assert len(ids) > 1_000
    assert unevenness((place(mail_id, 8, closed={7}) for mail_id in ids), 7) < 1


@pytest.mark.parametrize(("hand", "count"), [(1, 16), (2, 16), (4, 12), (48, 64)])
def test_hands_take_every_shard_equally_often(hand: int, count: int) -> None:
    """Also those that the tries do not fill: there every shard is in three hands of four."""
    members = Counter(shard for key in KEYS for shard in hand_of(key, count, hand))
    chance = hand / count

    assert members.total() == len(KEYS) * hand
    assert all(
        abs(members[shard] - len(KEYS) * chance) < fourfold_deviation(len(KEYS), chance) for shard in range(count)
    )


def test_a_tenants_mails_spread_evenly_over_its_hand() -> None:
    places = [place(f"mail-{number}", 16, key="acme", hand=3) for number in range(MANY)]
    members = hand_of("acme", 16, 3)

    assert unevenness((members.index(shard) for shard in places), 3) < 1


def test_two_tenants_share_their_whole_hand_as_seldom_as_chance_allows() -> None:
    """A poisoned tenant of 16 shards with hands of 2 takes all of the shards of one tenant in 120."""
    hands = Counter(frozenset(hand_of(key, 16, 2)) for key in KEYS)
    pairs, chance = comb(len(KEYS), 2), 1 / comb(16, 2)
    shared = sum(comb(tenants, 2) for tenants in hands.values())

    assert abs(shared - pairs * chance) < fourfold_deviation(pairs, chance)


def test_two_tenants_have_no_shard_in_common_as_often_as_chance_says() -> None:
    hands = [frozenset(hand_of(key, 16, 2)) for key in KEYS[:400]]
    apart = sum(not one & other for one, other in combinations(hands, 2))
    pairs, chance = comb(len(hands), 2), comb(14, 2) / comb(16, 2)

    assert abs(apart - pairs * chance) < fourfold_deviation(pairs, chance)


@pytest.mark.parametrize(("before", "after"), [(8, 12), (16, 17), (16, 24)])
@pytest.mark.parametrize("hand", [2, 3])
def test_a_hand_changes_only_towards_new_shards_unless_its_tries_meet(before: int, after: int, hand: int) -> None:
    exceptions = 0
    for key in KEYS[:500]:
        old, new = hand_of(key, before, hand), hand_of(key, after, hand)
        tries = [(reference(f"{key}\0{number}", before), reference(f"{key}\0{number}", after)) for number in range(20)]
        if is_plain(tries[:hand]):
            assert all(to in (shard, *range(before, after)) for shard, to in zip(old, new, strict=True))
        else:
            exceptions += 1
        assert set(new) <= {*old, *range(before, after)} or meets_in_a_new_shard(tries, old)

    assert 0 < exceptions < 500 * hand * (hand - 1) / before


def is_plain(tries: Sequence[tuple[int, int]]) -> bool:
    """Whether the first tries are the hand, before and after."""
    return all(len(set(shards)) == len(tries) for shards in zip(*tries, strict=True))


def meets_in_a_new_shard(tries: Sequence[tuple[int, int]], old: Sequence[int]) -> bool:
    """Whether the tries that made the hand *old* yield fewer shards than it has, after the growth."""
    first, needed = 0, set[int]()
    while needed != set(old):
        needed.add(tries[first][0])
        first += 1
    return len({after for _, after in tries[:first]}) < len(old)
