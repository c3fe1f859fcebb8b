"""What holds for every history."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from postman.breaker import CircuitBreaker, Permit, Verdict
from tests.unit.breaker.kit import TRUE, Kit, Time
from tests.unit.breaker.machine import rules
from tests.unit.breaker.model import Rules
from tests.unit.breaker.pair import AT_ONCE, Ending, Pair

_FEW = settings(max_examples=60, deadline=None, print_blob=True)
_STEPS = st.sampled_from([0.0, 0.0, 0.0625, 0.25, 1.0, 4.0, 16.0])
_NO_EVIDENCE = st.sampled_from([Ending("call"), Ending("local"), Ending("cancelled"), Ending("cancelled", by="close")])
_EVIDENCE = st.sampled_from(["none", "service", "service", "throttled", "account"])
_ASKED = st.sampled_from([None, 1.0, 20.0, 90.0])


@_FEW
@given(rules(), st.lists(st.tuples(st.sampled_from(AT_ONCE), _STEPS), max_size=40))
def test_a_breaker_fed_only_successes_never_opens(settings: Rules, calls: Sequence[tuple[str, float]]) -> None:
    never_opens(TRUE, settings, [(way, Ending("none"), step) for way, step in calls])


@_FEW
@given(rules(), st.lists(st.tuples(st.sampled_from(AT_ONCE), _NO_EVIDENCE, _STEPS), max_size=40), st.booleans())
def test_calls_that_say_nothing_change_no_state(
    settings: Rules, calls: Sequence[tuple[str, Ending, float]], is_half_open: bool
) -> None:
    """Neither the closed state nor the half-open one."""
    if not is_half_open:
        never_opens(TRUE, settings, calls)
        return
    pair = Pair(TRUE, settings, Time())
    pair.operate("lock out", 1.0)
    pair.time.now += 1.0
    for way, ending, step in calls:
        pair.at_once(way, ending, lambda: None)
        pair.time.now += step
        assert pair.breaker.state == "half_open"


def never_opens(kit: Kit, settings: Rules, calls: Sequence[tuple[str, Ending, float]]) -> None:
    pair = Pair(kit, settings, Time())
    for way, ending, step in calls:
        pair.at_once(way, ending, lambda: None)
        pair.time.now += step
        assert (pair.breaker.state, pair.breaker.retry_after()) == ("closed", 0.0)


@_FEW
@given(
    st.lists(st.tuples(_EVIDENCE, _ASKED, _STEPS), max_size=30),
    st.lists(st.tuples(st.integers(0, 29), _EVIDENCE, _ASKED), max_size=30),
)
def test_late_reports_change_nothing(
    history: Sequence[tuple[str, float | None, float]], late: Sequence[tuple[int, str, float | None]]
) -> None:
    """A breaker that hears stale reports all the while stands where its twin does that hears none."""
    time = Time()
    twins = TRUE.make(time), TRUE.make(time)
    early = [twins[1].acquire() for _ in late]
    for breaker in twins:
        breaker.reset()
    for number, (fault, asked, step) in enumerate(history):
        for breaker in twins:
            _try(breaker, TRUE.says(fault, asked))
        for permit, (_, said, named) in ((p, n) for p, n in zip(early, late, strict=True) if n[0] == number):
            assert not twins[1].report(permit, TRUE.says(said, named))
        views = [
            {name: getattr(view, name) for name in view.__slots__ if name != "stale"}
            for view in (breaker.view() for breaker in twins)
        ]
        assert views[0] == views[1]
        time.now += step


@_FEW
@given(st.lists(st.tuples(st.sampled_from(["lock out", "pause", "report"]), _EVIDENCE, _ASKED, _STEPS), max_size=30))
def test_an_end_that_was_set_comes_no_sooner(acts: Sequence[tuple[str, str, float | None, float]]) -> None:
    """Whatever is reported or asked for, in whatever order, until the time is over."""
    time = Time()
    breaker = TRUE.make(time)
    early = [breaker.acquire() for _ in acts]
    end = time.now
    for permit, (act, fault, asked, step) in zip(early, acts, strict=True):
        if act == "report":
            breaker.report(permit, TRUE.says(fault, asked))
        else:
            (breaker.lock_out if act == "lock out" else breaker.pause)(asked or 5.0)
        assert time.now + breaker.retry_after() >= end or end <= time.now
        end = time.now + breaker.retry_after()
        time.now += step


@_FEW
@given(rules(), st.lists(st.tuples(_EVIDENCE, _ASKED), max_size=20))
def test_who_comes_when_it_was_told_to_is_let_through(
    settings: Rules, ends: Sequence[tuple[str, float | None]]
) -> None:
    """No break is longer than was said, where the policy allows it and nobody else probes."""
    pair = Pair(TRUE, settings, Time())
    breaker, time = pair.breaker, pair.time
    for fault, asked in ends:
        time.now += breaker.retry_after()
        assert breaker.retry_after() == 0.0
        breaker.report(breaker.acquire(), TRUE.says(fault, asked))


@_FEW
@given(rules(), st.lists(st.sampled_from(["none", "call", "cancelled", "lost"]), max_size=12), st.data())
def test_every_place_comes_back(settings: Rules, ends: Sequence[str], data: st.DataObject) -> None:
    """However probes ended, in whatever order: afterwards exactly as many as ever can probe."""
    pair = Pair(TRUE, settings, Time())
    breaker = pair.breaker
    breaker.lock_out(1.0)
    pair.time.now += 1.0
    out: list[tuple[Permit, str]] = []
    for end in ends:
        if breaker.retry_after() > 0 and not out:
            pair.time.now += settings.lease
        if breaker.retry_after() > 0:
            permit, how = out.pop(data.draw(st.integers(0, len(out) - 1)))
            breaker.report(permit, TRUE.says(how))
        elif end == "lost":
            breaker.acquire()
        else:
            out.append((breaker.acquire(), end))
    pair.time.now += settings.lease
    if breaker.state == "half_open":
        assert _places(breaker) == settings.probes


def _places(breaker: CircuitBreaker) -> int:
    count = 0
    while breaker.retry_after() == 0.0:
        assert breaker.acquire().is_probe
        count += 1
    return count


def _try(breaker: CircuitBreaker, verdict: Verdict) -> None:
    try:
        permit = breaker.acquire()
    except TRUE.rejected:
        return
    breaker.report(permit, verdict)
