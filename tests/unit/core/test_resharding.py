"""The planner: which step comes next, what is waited for, and that no mail is lost by any of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from postman.core.fleet.reports import STOPPED, ShardWork, WorkerReport, WorkWindow
from postman.core.layout import Layout
from postman.core.resharding import Change, Done, Patience, Sight, Step, Wait, next_step, until_empty, until_followed
from postman.errors import LayoutError
from tests.unit.core.resharding_world import World

NOW = 1_700_000_000.0
PATIENCE = Patience(followed=15.0, published=90.0, quiet=660.0)
LONG = 10_000.0
FOLLOWS = -1
"""The epoch of a report that says whatever is the latest."""


def _report(
    worker: str = "a",
    *,
    layout: int = FOLLOWS,
    at: float = NOW,
    started: float = 0.0,
    reads: int = 0,
    **shards: ShardWork,
) -> WorkerReport:
    works = {number.removeprefix("s"): work for number, work in shards.items()}
    return WorkerReport(worker, "host", 1, "1.0", started, at, 10, 30.0, layout=layout, reads=reads, shards=works)


def _sight(*reports: WorkerReport, depths: Mapping[int, int | None] | None = None, now: float = NOW) -> Sight:
    return Sight(reports or (_report(at=now),), depths or {}, now)


def _next(layout: Layout, target: int, sight: Sight | None = None, *, hand: int | None = None) -> Step:
    return next_step(layout, target, sight=_seen(sight or _sight(), layout), patience=PATIENCE, hand=hand)


def _seen(sight: Sight, latest: Layout) -> Sight:
    """Return *sight*, where whoever follows follows *latest*."""
    reports = [
        replace(report, layout=latest.epoch if report.layout == FOLLOWS else report.layout) for report in sight.reports
    ]
    return replace(sight, reports=reports)


def _shrinking(*, since: float = NOW - LONG) -> Layout:
    """Return 8 shards of which the last two are to go."""
    return Layout.of(8).aim(6, now=since).publishing(6, now=since)


def _reason(step: Step) -> str:
    assert isinstance(step, Wait), step
    return step.reason


def _follow(layout: Layout, target: int, *, empty: bool = True) -> Iterable[Layout]:
    """Yield the layouts on the way to *target*, each long after the one before."""
    now = NOW
    while True:
        depths: dict[int, int | None] = dict.fromkeys(range(layout.consume), 0 if empty else 5)
        step = _next(layout, target, _sight(depths=depths, now=now))
        if isinstance(step, Done):
            return
        if isinstance(step, Change):
            layout = step.layout
            yield layout
        else:
            assert now - layout.changed_at < LONG, step
        now += 1.0


def test_to_grow_queues_are_made_then_workers_read_them_then_producers_fill_them() -> None:
    first = _next(Layout.of(8), 12)
    assert isinstance(first, Change)
    assert (first.layout.target, first.layout.consume, list(first.makes)) == (12, 8, [])
    second = _next(first.layout, 12)
    assert isinstance(second, Change)
    assert (second.layout.publish, second.layout.consume, list(second.makes)) == (8, 12, [8, 9, 10, 11])

    counts = [(layout.publish, layout.consume, layout.target) for layout in _follow(Layout.of(8), 12)]
    assert counts == [(8, 8, 12), (8, 12, 12), (12, 12, 12), (12, 12, 0)]


def test_to_shrink_producers_leave_shards_before_workers_do() -> None:
    counts = [(layout.publish, layout.consume, layout.target) for layout in _follow(Layout.of(8), 6)]

    assert counts == [(8, 8, 6), (6, 8, 6), (6, 6, 6), (6, 6, 0)]


def test_a_growth_waits_for_no_mail() -> None:
    """Whatever lies in the shards stays there, and is read."""
    assert [layout.publish for layout in _follow(Layout.of(8), 12, empty=False)] == [8, 8, 12, 12]


def test_what_is_so_already_is_done() -> None:
    assert _next(Layout.of(8), 8) == Done()


def test_another_hand_is_a_change_of_its_own() -> None:
    step = _next(Layout.of(8, hand=2), 8, hand=3)
    assert isinstance(step, Change)
    assert (step.layout.hand, step.layout.target) == (3, 8)

    later = _next(step.layout, 8, _sight(now=NOW + 20.0), hand=3)
    assert isinstance(later, Change)
    assert later.layout.is_settled
    assert _next(later.layout, 8, hand=3) == Done()


def test_whoever_reports_and_follows_an_older_epoch_is_waited_for_by_name() -> None:
    layout = Layout.of(8).aim(12, now=NOW - LONG).consuming(12, now=NOW - LONG)
    late = [_report(f"late-{number}", layout=1) for number in range(4)]

    step = _next(layout, 12, _sight(_report("good"), *late))

    assert _reason(step) == "4 of 5 workers do not follow epoch 2 yet: late-0, late-1, late-2, …"


def test_a_worker_that_left_or_fell_silent_is_not_waited_for() -> None:
    layout = Layout.of(8).aim(12, now=NOW - LONG).consuming(12, now=NOW - LONG)
    gone = replace(_report("gone", layout=1), leaving=STOPPED)
    silent = _report("silent", layout=1, at=NOW - 91.0)
    alive = _report("alive", layout=1, at=NOW - 89.0)

    assert isinstance(_next(layout, 12, _sight(_report("good"), gone, silent)), Change)
    assert "alive" in _reason(_next(layout, 12, _sight(_report("good"), gone, silent, alive)))


def test_a_layout_that_was_set_back_is_told_and_waited_for() -> None:
    """As from a backup: the workers hold on to what they know, and would not read what is new."""
    layout = Layout.of(8).aim(12, now=NOW - LONG).consuming(12, now=NOW - LONG)
    step = _next(layout, 12, _sight(_report("good"), _report("w1", layout=40)))

    assert _reason(step) == "w1 follows epoch 40, later than the 2 that is kept: the layout was set back; restart it"


def test_producers_fill_no_shard_that_no_worker_can_read() -> None:
    layout = Layout.of(8).aim(12, now=NOW - LONG).consuming(12, now=NOW - LONG)
    blind = [_report(worker, s9=ShardWork(problem="no permission for postman-mail-9")) for worker in ("a", "b")]

    assert _next(layout, 12, _sight(*blind)) == Wait("no worker can read shard 9: no permission for postman-mail-9")
    assert isinstance(_next(layout, 12, _sight(*blind, _report("c"))), Change)


@pytest.mark.parametrize("target", [8, 12])
def test_the_first_change_is_made_with_the_workers_settings(target: int) -> None:
    """Else they would give up shards that they fill, and nobody would look there."""
    others = _sight(_report("w1", reads=8), _report("w2", reads=16))
    with pytest.raises(LayoutError, match="w2 reads 16 shards, but POSTMAN_SHARDS is 8 here"):
        _next(Layout.of(8), target, others)

    silent = _sight(_report("older", reads=0), replace(_report("gone", reads=16), leaving=STOPPED))
    assert not isinstance(_next(Layout.of(8), target, silent), Wait)
    changed = Layout.of(8).aim(12, now=NOW)
    assert isinstance(_next(changed, 12, others), Change), "afterwards the layout counts"


def test_who_does_not_report_gets_the_time_to_look_three_times() -> None:
    layout = Layout.of(8).aim(12, now=NOW - 9.5).consuming(12, now=NOW - 9.5)

    assert _next(layout, 12) == Wait("whoever does not report has time to follow epoch 2", 6)
    assert isinstance(_next(layout, 12, _sight(now=NOW + 5.5)), Change)


def test_producers_get_the_time_to_put_their_last_mails_before_shards_go() -> None:
    layout = _shrinking(since=NOW - 50.0)
    empty: dict[int, int | None] = {6: 0, 7: 0}

    assert _next(layout, 6, _sight(depths=empty)) == Wait(
        "producers have time to put their last mails by the old layout", 40
    )
    assert isinstance(_next(layout, 6, _sight(depths=empty, now=NOW + 40.0)), Change)


@pytest.mark.parametrize(
    ("reports", "depths", "reason"),
    [
        ([_report()], {6: 0, 7: 3}, "3 mails lie in shard 7"),
        ([], {6: 0, 7: 3}, "3 mails lie in shard 7, and no worker reports"),
        ([], {6: 0, 7: None}, "mails may lie in shard 7, and no worker reports"),
        ([_report(s7=ShardWork(held=2))], {6: 0}, "workers hold 2 mails of shard 7"),
        (
            [_report("a", s7=ShardWork(problem="gone")), _report("b", s7=ShardWork(problem="gone"))],
            {6: 0},
            "mails may lie in shard 7, and no worker can read it: gone",
        ),
        (
            [replace(_report(), windows=(WorkWindow(NOW, 30.0, paused_for=20.0),))],
            {6: 0},
            "mails may lie in shard 7, and no worker takes mails at present",
        ),
    ],
)
def test_no_shard_goes_before_it_is_known_to_be_empty(
    reports: Sequence[WorkerReport], depths: Mapping[int, int | None], reason: str
) -> None:
    assert _reason(_next(_shrinking(), 6, Sight(reports, depths, NOW))) == reason


def test_an_exact_count_of_none_needs_neither_workers_nor_silence() -> None:
    step = _next(_shrinking(), 6, Sight((), {6: 0, 7: 0}, NOW))

    assert isinstance(step, Change)
    assert step.layout.consume == 6


def test_without_a_count_a_shard_must_bring_no_mail_for_long() -> None:
    brought = _report(s7=ShardWork(pulled_at=NOW - 600.0), s6=ShardWork(pulled_at=NOW - 661.0))

    assert _next(_shrinking(), 6, _sight(brought)) == Wait("shard 7 must bring no mail for a while", 60)
    assert isinstance(_next(_shrinking(), 6, _sight(replace(brought, at=NOW + 60.0), now=NOW + 60.0)), Change)


def test_silence_counts_only_as_far_as_all_workers_have_told() -> None:
    """What a worker took since its latest report, nobody knows."""
    brought = _report("a", s7=ShardWork(pulled_at=NOW - 670.0))

    assert isinstance(_next(_shrinking(), 6, _sight(brought)), Change)
    assert _next(_shrinking(), 6, _sight(brought, _report("b", at=NOW - 30.0))) == Wait(
        "shard 7 must bring no mail for a while", 20
    )


def test_silence_counts_from_the_latest_change() -> None:
    """A shard that was paused a moment ago was silent for that."""
    layout = _shrinking().pause(7, now=NOW - 30.0).resume(7, now=NOW - 20.0)

    assert _next(layout, 6) == Wait("shard 6 must bring no mail for a while", 640)


def test_silence_counts_only_while_workers_were_there() -> None:
    """A worker that has just started may not have come to the shard; one worker after another is as good as one."""
    fresh = _report("fresh", started=NOW - 60.0)
    before = replace(_report("before", at=NOW - 80.0, started=NOW - 300.0), leaving=STOPPED)
    first = _report("first", at=NOW - 310.0, started=NOW - 5_000.0)
    long_ago = _report("long ago", at=NOW - 400.0, started=NOW - 5_000.0)

    def left(*reports: WorkerReport) -> int:
        step = _next(_shrinking(), 6, _sight(*reports))
        assert isinstance(step, Wait), step
        return step.seconds

    assert left(fresh) == 600
    assert left(before, fresh) == 360
    assert left(long_ago, before, fresh) == 360
    assert isinstance(_next(_shrinking(), 6, _sight(first, before, fresh)), Change)


def test_mails_of_a_worker_that_ended_may_come_back() -> None:
    ended = _report("dead", at=NOW - 300.0, s7=ShardWork(held=1, pulled_at=NOW - 5_000.0))

    assert _next(_shrinking(), 6, _sight(_report("good"), ended)) == Wait("shard 7 must bring no mail for a while", 390)


def test_a_producer_that_does_not_follow_is_told_of() -> None:
    brought = _report(s7=ShardWork(pulled_at=NOW - 5.0, published_at=NOW - 6.0))

    assert "a producer that does not follow the layout fills it" in _reason(_next(_shrinking(), 6, _sight(brought)))


def test_a_paused_shard_does_not_go() -> None:
    paused = Layout.of(8).pause(7, now=NOW)
    with pytest.raises(LayoutError, match="shard 7 is paused, so nobody would empty it before it goes: resume it"):
        _next(paused, 6)
    assert isinstance(_next(paused, 8 + 1), Change)

    meanwhile = _shrinking().pause(7, now=NOW - LONG)
    assert _reason(_next(meanwhile, 6, _sight(depths={6: 0, 7: 1}))) == (
        "1 mails lie in shard 7, and it is paused: resume it"
    )


def test_some_shard_that_takes_mails_must_be_left() -> None:
    closed = Layout.of(8).close(0, 1, now=NOW)
    refusal = r"every shard that would be left is closed \(0, 1\), so none takes mails: resume one first"
    with pytest.raises(LayoutError, match=refusal):
        _next(closed, 2)
    assert isinstance(_next(closed, 3), Change)

    meanwhile = Layout.of(8).aim(2, now=NOW).close(0, 1, now=NOW)
    with pytest.raises(LayoutError, match=refusal):
        _next(meanwhile, 2)


@pytest.mark.parametrize("target", [0, -1, 1_025])
def test_a_number_that_cannot_be_is_refused(target: int) -> None:
    with pytest.raises(LayoutError, match="there are 1 to 1024 shards"):
        _next(Layout.of(8), target)


@pytest.mark.parametrize(("first", "then"), [(12, 6), (12, 10), (12, 14), (12, 8), (6, 12), (6, 7), (6, 5), (6, 8)])
def test_a_change_can_be_turned_at_every_step(first: int, then: int) -> None:
    """What producers may still fill is read throughout, and the end is the same."""
    for start in [Layout.of(8), *_follow(Layout.of(8), first)]:
        way = [start, *_follow(start, then)]

        assert (way[-1].publish, way[-1].consume, way[-1].target) == (then, then, 0)
        assert way[-1].top == max(layout.consume for layout in [Layout.of(8), *way])
        for before, after in pairwise(way):
            assert after.epoch == before.epoch + 1
            assert after.consume >= before.publish, "what was filled a moment ago is read"


def test_a_shard_that_is_closed_is_waited_for_until_it_is_empty() -> None:
    layout = Layout.of(8).close(2, now=NOW - 50.0)
    later = _sight(depths={2: 0}, now=NOW + 40.0)

    def wait(sight: Sight) -> Wait | None:
        return until_empty(layout, [2], sight=_seen(sight, layout), patience=PATIENCE)

    assert wait(_sight(_report(layout=0))) == Wait("1 of 1 workers do not follow epoch 1 yet: a")
    assert wait(_sight(depths={2: 0})) == Wait("producers have time to put their last mails by the old layout", 40)
    assert wait(replace(later, depths={2: 4})) == Wait("4 mails lie in shard 2")
    assert wait(replace(later, depths={2: None})) == Wait("shard 2 must bring no mail for a while", 570)
    assert wait(later) is None


def test_a_pause_is_followed_when_no_living_worker_is_late() -> None:
    layout = Layout.of(8).pause(2, now=NOW)

    def wait(*reports: WorkerReport, latest: Layout = layout) -> Wait | None:
        return until_followed(layout, latest, Sight(reports, {}, NOW))

    assert wait(_report(layout=0)) == Wait("1 of 1 workers do not follow epoch 1 yet: a")
    assert wait(_report(layout=1), _report("b", layout=0, at=NOW - 91.0)) is None
    assert wait() is None
    assert wait(_report(layout=2), latest=layout.pause(3, now=NOW)) is None, "somebody paused another shard since"
    assert wait(_report(layout=2)) is not None


@pytest.mark.parametrize("counts", [True, False], ids=["counting", "not counting"])
@pytest.mark.parametrize("seed", range(6))
def test_no_mail_is_lost_on_any_way_however_late_everybody_is(seed: int, *, counts: bool) -> None:
    world = World(seed, 8, counts=counts, deaf=0)

    for target in (12, 6, 7):
        world.reshard(target)
    world.settle()

    assert (world.layout.publish, world.layout.consume) == (7, 7)
    assert world.done > 200


@pytest.mark.parametrize("seed", range(4))
def test_mails_of_producers_that_never_learn_come_through_too(seed: int) -> None:
    """They fill eight shards for ever. Shards that cannot be counted would never be quiet, so here they can."""
    world = World(seed, 8, counts=True, deaf=8)

    for target in (12, 6):
        world.reshard(target)
    for _ in range(200):
        world.second()
    world.settle()

    assert world.layout.consume == 6


@pytest.mark.parametrize("seed", range(6))
def test_no_mail_is_lost_where_the_course_is_changed_again_and_again(seed: int) -> None:
    world, dice = World(seed, 8, counts=False, deaf=0), Random(seed)

    for _ in range(6):
        target = dice.randrange(4, 14)
        for _ in range(dice.randrange(10, 200)):
            world.second()
            step = world.plan(target)
            if isinstance(step, Change):
                world.carry_out(step, crashes=0.2)
    world.reshard(5)
    world.settle()

    assert world.layout.publish == 5
