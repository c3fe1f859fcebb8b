"""The choice of a shard, on made-up pulls."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from postman.core.selection import Selection, most_of_one_shard
from postman.errors import ConfigError

SHARDS = range(16)
NOW = 1_800_000_000.0


def pull(
    selection: Selection, shard: int, *, at: float, published: Sequence[float] = (), attempt: int = 1, asked: int = 10
) -> None:
    """Tell of a pull that was sent *at*, and took a tenth of a second."""
    deliveries = [(attempt, one) for one in published]
    selection.pulled(shard, asked=asked, sent_at=at, returned_at=at + 0.1, deliveries=deliveries)


def drained(shards: Sequence[int], **settings: int) -> Selection:
    """A selection that found *shards* empty, one after the other, at a time when nothing was published."""
    selection = Selection(random=Random(1), **settings)
    for place, shard in enumerate(shards):
        pull(selection, shard, at=NOW + place)
    return selection


class TestKnowledge:
    def test_at_first_every_shard_is_as_likely_as_any_other(self) -> None:
        chosen = Counter(Selection(random=Random(seed)).choose(SHARDS) for seed in range(3200))

        assert chosen.keys() == set(SHARDS)
        assert max(chosen.values()) < 270
        assert min(chosen.values()) > 135

    def test_each_shard_is_visited_once_before_any_is_visited_again(self) -> None:
        selection = Selection(random=Random(2))
        chosen = []
        for place in range(16):
            chosen.append(selection.choose(SHARDS))
            pull(selection, chosen[-1], at=NOW + place)

        assert sorted(chosen) == list(SHARDS)

    def test_equal_heads_are_chosen_evenly(self) -> None:
        """Also when they became equal: two processes that begin together must not walk together."""
        chosen = Counter[int]()
        for seed in range(900):
            selection = Selection(random=Random(seed))
            for shard in range(3):
                selection.pulled(shard, asked=10, sent_at=NOW, returned_at=NOW, deliveries=[])
            chosen[selection.choose(range(3))] += 1

        assert all(235 < chosen[shard] < 365 for shard in range(3))

    def test_the_shard_that_was_empty_longest_ago_is_next(self) -> None:
        assert drained([3, 1, 2]).choose([1, 2, 3]) == 3

    def test_after_a_full_pull_what_is_left_is_as_old_as_half_of_what_came(self) -> None:
        selection = drained([0, 1])
        pull(selection, 0, at=NOW + 2, published=[NOW + 0.5] * 5 + [NOW + 1.9] * 5)

        assert selection.choose([0, 1]) == 0
        pull(selection, 0, at=NOW + 3, published=[NOW + 0.5] * 4 + [NOW + 1.9] * 5)
        assert selection.choose([0, 1]) == 1

    def test_a_new_mail_in_a_full_pull_does_not_hide_what_is_left(self) -> None:
        """A queue may hand out its messages in any order."""
        selection = Selection(random=Random(1))
        pull(selection, 1, at=NOW)
        pull(selection, 0, at=NOW, published=[NOW - 60] * 6 + [NOW] * 4)

        assert selection.choose([0, 1]) == 0

    def test_half_of_what_was_asked_is_a_full_pull_and_less_is_not(self) -> None:
        """Queues return less than they have; one that returns almost nothing has almost nothing."""
        half, less = drained([0, 1]), drained([0, 1])
        pull(half, 0, at=NOW + 2, published=[NOW - 9] * 5)
        pull(less, 0, at=NOW + 2, published=[NOW - 9] * 4)

        assert half.choose([0, 1]) == 0
        assert less.choose([0, 1]) == 1

    def test_an_empty_pull_proves_it_until_it_returned_and_another_until_it_was_sent(self) -> None:
        selection = Selection(random=Random(1))
        selection.pulled(0, asked=10, sent_at=NOW, returned_at=NOW + 20, deliveries=[])
        selection.pulled(1, asked=10, sent_at=NOW + 10, returned_at=NOW + 30, deliveries=[(1, NOW - 1)])

        assert selection.choose([0, 1]) == 1

    def test_mails_that_a_short_pull_left_behind_are_known_as_first_deliveries(self) -> None:
        """They are older than that pull. Taken for redeliveries they would make a backlog look like an empty shard."""
        selection = drained([0, 1])
        pull(selection, 0, at=NOW + 2, published=[NOW - 300])
        pull(selection, 1, at=NOW + 3)
        pull(selection, 0, at=NOW + 4, published=[NOW - 299] * 10)

        assert selection.choose([0, 1]) == 0

    def test_old_mails_give_a_shard_no_second_turn_before_the_others_had_theirs(self) -> None:
        """Or a shard whose pulls are now full and now short would come in between again and again."""
        selection = Selection(random=Random(1))
        pull(selection, 1, at=NOW)
        pull(selection, 0, at=NOW + 1, published=[NOW - 300])
        pull(selection, 0, at=NOW + 2, published=[NOW - 300] * 10)

        assert selection.choose([0, 1]) == 1

    def test_a_shard_that_was_paused_is_the_first_when_it_is_back(self) -> None:
        selection = drained([0, 1, 2])
        for place in range(3, 40):
            pull(selection, selection.choose([1, 2]), at=NOW + place)

        assert selection.choose([0, 1, 2]) == 0

    def test_a_forgotten_shard_is_new_when_it_is_back(self) -> None:
        selection = drained([0, 1])
        selection.forget(1)
        selection.forget(7)

        assert selection.choose([0, 1]) == 1

    def test_a_forgotten_shard_may_send_its_old_mails_again(self) -> None:
        selection = drained([0, 1])
        pull(selection, 1, at=NOW + 2, published=[NOW + 1] * 10)
        selection.forget(1)
        pull(selection, 1, at=NOW + 3, published=[NOW - 50] * 10)

        assert selection.choose([0, 1]) == 1


class TestRedeliveries:
    @pytest.mark.parametrize("attempt", [2, 7])
    def test_mails_that_come_back_for_ever_do_not_keep_the_workers(self, attempt: int) -> None:
        selection = drained([0, 1])
        pull(selection, 0, at=NOW + 2, published=[NOW + 1] * 2)
        turns = Counter[int]()
        for place in range(3, 103):
            shard = selection.choose([0, 1])
            pull(selection, shard, at=NOW + place, published=[NOW - 600] * 10 * (shard == 0), attempt=attempt)
            turns[shard] += 1

        assert turns == {0: 50, 1: 50}

    def test_a_shard_full_of_redeliveries_does_not_stay_old(self) -> None:
        selection = drained([0, 1])
        pull(selection, 0, at=NOW + 2, published=[NOW - 99] * 10)
        pull(selection, 0, at=NOW + 3, published=[NOW - 99] * 10, attempt=2)

        assert selection.choose([0, 1]) == 1

    def test_redeliveries_do_not_correct_our_clock(self) -> None:
        selection = drained([0, 1])
        pull(selection, 0, at=NOW + 2, published=[NOW + 900], attempt=2)
        pull(selection, 1, at=NOW + 3)

        assert selection.choose([0, 1]) == 0


class TestSampling:
    def test_the_shard_of_the_last_full_pull_is_looked_at_each_time(self) -> None:
        selection = drained([shard for shard in SHARDS if shard != 5], choices=2)
        pull(selection, 5, at=NOW + 20, published=[NOW - 9] * 10)

        assert [selection.choose(SHARDS) for _ in range(50)] == [5] * 50

    def test_of_several_full_pulls_the_last_is_remembered(self) -> None:
        selection = drained([shard for shard in SHARDS if shard not in {5, 6}], choices=2)
        pull(selection, 5, at=NOW + 20, published=[NOW + 20] * 10)
        pull(selection, 6, at=NOW + 21, published=[NOW - 9] * 10)

        assert [selection.choose(SHARDS) for _ in range(50)] == [6] * 50

    def test_a_forgotten_or_busy_shard_is_not_remembered(self) -> None:
        selection = drained([shard for shard in SHARDS if shard != 5], choices=2)
        pull(selection, 5, at=NOW + 20, published=[NOW - 9] * 10)

        assert 5 not in {selection.choose([0, 1, 2, 3]) for _ in range(50)}
        selection.forget(5)
        assert {selection.choose(SHARDS) for _ in range(7)} != {5}

    def test_all_shards_are_looked_at_from_time_to_time(self) -> None:
        selection = drained(SHARDS, choices=2, guard_every=8)

        assert [selection.choose(SHARDS) for _ in range(80)][7::8] == [0] * 10

    def test_two_different_shards_are_compared_in_between(self) -> None:
        """So the one that was visited last of all is never taken."""
        selection = drained(SHARDS, choices=2)

        assert 15 not in {selection.choose(SHARDS) for _ in range(2000)}

    def test_few_candidates_are_all_looked_at(self) -> None:
        selection = drained(SHARDS, choices=2)

        assert {selection.choose([9, 4]) for _ in range(20)} == {4}

    @pytest.mark.parametrize("settings", [{"choices": 1}, {"choices": -1}, {"guard_every": 0}])
    def test_settings_without_sense_are_refused(self, settings: dict[str, int]) -> None:
        with pytest.raises(ConfigError):
            Selection(random=Random(1), **settings)


class TestClocks:
    @pytest.mark.parametrize("ahead", [-3600.0, -30.0, 0.0, 30.0, 3600.0])
    def test_a_backlog_is_preferred_whatever_our_clock_says(self, ahead: float) -> None:
        """Our clock is *ahead* of the queue's; shard 0 has a backlog of a minute, the others one fresh mail each."""
        selection = Selection(random=Random(1))
        turns = Counter[int]()
        for place in range(400):
            now = NOW + place / 10
            shard = selection.choose(range(4))
            published = [now - 60 + one / 1000 for one in range(10)] if shard == 0 else [now - 0.01]
            pull(selection, shard, at=now + ahead, published=published)
            turns[shard] += 1

        assert turns[0] > 380 - 3 * 10
        assert all(turns[shard] >= 1 for shard in range(4))

    @pytest.mark.parametrize("ahead", [-3600.0, -30.0, 30.0, 3600.0])
    def test_shards_without_a_backlog_have_their_turns_whatever_our_clock_says(self, ahead: float) -> None:
        """Full pulls tell the queue's time and others ours; if they are mixed, one kind would win for an hour."""
        selection = Selection(random=Random(1))
        turns = Counter[int]()
        for place in range(400):
            now = NOW + place
            shard = selection.choose(range(4))
            pull(selection, shard, at=now + ahead, published=[now - 0.01] * (3 if shard else 1))
            turns[shard] += 1

        assert all(turns[shard] == 100 for shard in range(4))

    def test_a_clock_that_is_behind_does_not_make_drained_shards_look_old(self) -> None:
        """By our clock the drained shards are half a minute older than the backlog, which they are not."""
        selection = Selection(random=Random(1))
        pull(selection, 1, at=NOW - 30, published=[NOW])
        pull(selection, 0, at=NOW - 29, published=[NOW - 5] * 10)

        assert selection.choose([0, 1]) == 0

    def test_a_clock_that_is_set_back_starves_no_shard(self) -> None:
        selection = drained([0, 1, 2, 3])
        back = NOW - 3600
        turns = Counter[int]()
        for place in range(400):
            shard = selection.choose(range(4))
            pull(selection, shard, at=back + place)
            turns[shard] += 1

        assert all(turns[shard] >= 90 for shard in range(4))

    def test_a_clock_that_was_put_right_is_trusted_again(self) -> None:
        """It was an hour behind once; a shard with few mails is not passed over for ever."""
        selection, now = Selection(random=Random(1)), 1_000_000.0
        selection.pulled(0, asked=10, sent_at=now - 3_600, returned_at=now - 3_600, deliveries=[(1, now)])
        turns: Counter[int] = Counter()
        for number in range(80_000):
            now = 1_000_000.0 + 0.03 * number
            shard = selection.choose([0, 1, 2])
            turns[shard] += number >= 60_000
            deliveries = [(1, now - 5.0)] * (10 if shard else 1)
            selection.pulled(shard, asked=10, sent_at=now, returned_at=now + 0.03, deliveries=deliveries)

        assert turns[0] > 50


@pytest.mark.parametrize(
    ("slots", "shards", "share", "most"),
    [
        (50, 8, 0.5, 25),
        (5, 8, 0.5, 3),
        (1, 8, 0.5, 1),
        (50, 1, 0.5, 50),
        (1, 1, 0.5, 1),
        (50, 2, 0.5, 25),
        (10, 8, 0.01, 1),
        (10, 8, 1.0, 10),
        (100, 8, 0.07, 7),
    ],
)
def test_one_shard_may_take_its_share_of_the_slots_and_at_least_one(
    slots: int, shards: int, share: float, most: int
) -> None:
    assert most_of_one_shard(slots, shards, share) == most


def test_one_shard_may_take_half_unless_told_otherwise() -> None:
    assert most_of_one_shard(8, 16) == 4
