"""What a worker did in the last hour: each end is counted once, in its minute, where it belongs."""

import pytest

from postman import OnDoubt
from postman.core.fleet.past import BOUNDS, MOST_MINUTES, Finished, Minute, ProviderMinute
from postman.core.fleet.reports import ProviderStanding
from postman.core.message import Message
from postman.core.verdict import Ack, DeadLetter, DeadReason, GiveBack, Verdict
from postman.errors import MailRejectedError, OutcomeUnknownError
from postman.ports.queue import Delivery
from postman.runtime.past import Past
from postman.testing.clock import FakeClock
from postman.testing.provider import Answer
from tests.unit.runtime.courier_scene import Scene, at, down, mail, unknown

WALL = 1_700_000_040.0
"""A whole minute."""
FIRST = int(WALL // 60)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=WALL)


@pytest.fixture
def past(clock: FakeClock) -> Past:
    return Past(clock.time)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def _delivery(mail_id: str = "m-1", *, published_at: float = WALL) -> Delivery:
    return Delivery(Message(b"", {"mail_id": mail_id}), "r", 1, 0.0, published_at)


def _last(past: Past, **breakers: str) -> Minute:
    return past.minutes({name: ProviderStanding(state) for name, state in breakers.items()})[-1]


async def test_an_accepted_mail_counts_at_its_provider_with_the_time_since_it_was_published(
    past: Past, clock: FakeClock
) -> None:
    await clock.sleep(1.5)
    past.ended(3, _delivery(), Ack("a"))
    minute = _last(past)
    assert minute.providers == {"a": ProviderMinute(1, 0, "closed")}
    assert (minute.latency.seconds, minute.latency.count) == (1.5, 1)
    assert minute.latency.buckets[BOUNDS.index(2.0)] == 1
    assert past.latest == (Finished("m-1", "sent", "a", WALL + 1.5, 1.5, 3),)


async def test_a_mail_that_was_due_later_is_not_called_late(past: Past, clock: FakeClock) -> None:
    await clock.sleep(50.0)
    past.ended(0, _delivery(), Ack("a", due=WALL + 49.75))
    past.ended(0, _delivery(published_at=WALL + 500.0), Ack("a"))
    assert _last(past).latency.seconds == pytest.approx(0.25)
    assert _last(past).latency.buckets[:2] == (1, 1)


@pytest.mark.parametrize(
    ("verdict", "outcome", "counts"),
    [
        (Ack(), "settled", (0, 0, 0)),
        (Ack("a"), "sent", (1, 0, 0)),
        (DeadLetter(DeadReason.REFUSED, by="a"), "refused", (0, 1, 1)),
        (DeadLetter(DeadReason.REFUSED), "refused", (0, 0, 1)),
        (DeadLetter(DeadReason.EXPIRED), "expired", (0, 0, 1)),
        (GiveBack(1.0), "", (0, 0, 0)),
    ],
)
def test_each_verdict_counts_as_what_it_is(
    past: Past, verdict: Verdict, outcome: str, counts: tuple[int, int, int]
) -> None:
    """A second delivery of a refused mail is no second refusal, and one that comes back has not ended."""
    past.ended(0, _delivery(), verdict)
    minute = _last(past)
    assert (minute.accepted, minute.refused, minute.dead) == counts
    assert [one.outcome for one in past.latest] == ([outcome] if outcome else [])


def test_an_id_that_is_none_is_not_passed_on(past: Past) -> None:
    """A message that cannot be read may name anything, of any length."""
    past.ended(0, _delivery("m" * 10_000), DeadLetter(DeadReason.MALFORMED))
    assert [one.mail_id for one in past.latest] == [""]


def test_only_the_latest_mails_are_kept(past: Past) -> None:
    for number in range(50):
        past.ended(0, _delivery(f"m-{number}"), Ack("a"))
    assert [one.mail_id for one in past.latest] == [f"m-{number}" for number in range(30, 50)]


async def test_each_minute_has_its_own_counts(past: Past, clock: FakeClock) -> None:
    past.moved()
    await clock.sleep(59.0)
    past.moved()
    await clock.sleep(1.0)
    past.doubted()
    assert [(m.begins, m.moved, m.in_doubt) for m in past.minutes({})] == [(FIRST, 2, 0), (FIRST + 1, 0, 1)]


async def test_idle_minutes_are_told_as_well(past: Past, clock: FakeClock) -> None:
    """What is left out would be taken for unknown."""
    past.prevented()
    await clock.sleep(180.0)
    past.prevented()
    told = past.minutes({})
    assert [(minute.begins - FIRST, minute.prevented) for minute in told] == [(0, 1), (1, 0), (2, 0), (3, 1)]


@pytest.mark.parametrize("rest", [60.0, 60.0 * 60, 60.0 * 61, 60.0 * 500])
async def test_never_more_than_an_hour_and_never_a_gap(past: Past, clock: FakeClock, rest: float) -> None:
    for _ in range(70):
        await clock.sleep(60.0)
        past.moved()
    await clock.sleep(rest)
    told = past.minutes({})
    last = int(clock.time() // 60)
    assert [minute.begins for minute in told] == list(range(last - MOST_MINUTES + 1, last + 1))


async def test_a_breaker_that_was_open_for_a_moment_shows_in_its_minute_only(past: Past, clock: FakeClock) -> None:
    past.minutes({"a": ProviderStanding("closed")})
    past.stands("a", "open")
    await clock.sleep(2.0)
    past.stands("a", "closed")
    await clock.sleep(60.0)
    assert [minute.providers["a"].breaker for minute in past.minutes({"a": ProviderStanding("closed")})] == [
        "open",
        "closed",
    ]


async def test_a_breaker_stays_as_it_is_until_it_is_told_of(past: Past, clock: FakeClock) -> None:
    past.stands("a", "open")
    await clock.sleep(150.0)
    told = past.minutes({"a": ProviderStanding("half_open")})
    assert [minute.providers["a"].breaker for minute in told] == ["open", "open", "open"]
    await clock.sleep(60.0)
    assert _last(past, a="half_open").providers["a"].breaker == "half_open"


async def test_a_provider_that_the_document_has_no_more_is_told_of_no_more(past: Past, clock: FakeClock) -> None:
    past.minutes({"a": ProviderStanding("closed"), "b": ProviderStanding("closed")})
    past.minutes({"a": ProviderStanding("closed")})
    await clock.sleep(60.0)
    assert list(_last(past, a="closed").providers) == ["a"]


def test_a_clock_that_is_put_back_a_little_loses_nothing() -> None:
    now = WALL
    past = Past(lambda: now)
    past.moved()
    now = WALL - 0.5
    past.moved()
    assert [(minute.begins, minute.moved) for minute in past.minutes({})] == [(FIRST, 2)]


def test_a_clock_that_is_put_back_far_begins_anew() -> None:
    """Or a worker that once was in the future would tell nothing for as long."""
    now = WALL + 86_400
    past = Past(lambda: now)
    past.moved()
    now += 60.0
    past.moved()
    now = WALL
    past.prevented()
    assert [(each.begins, each.moved, each.prevented) for each in past.minutes({})] == [(FIRST, 0, 1)]


def _of(scene: Scene) -> Minute:
    return scene.failover.past.minutes(scene.failover.standings())[-1]


async def test_a_mail_that_fails_over_counts_where_it_failed_and_where_it_was_taken(scene: Scene) -> None:
    scene.a.then(down())
    verdict = await scene.deliver(mail())
    assert isinstance(verdict, Ack)
    assert verdict.by == "b"
    assert (_of(scene).moved, _of(scene).providers["a"].failed, _of(scene).providers["b"].failed) == (1, 1, 0)


async def test_a_breaker_that_opens_shows_though_it_is_closed_again_when_somebody_asks(scene: Scene) -> None:
    scene.a.then(down(), down())
    for _ in range(2):
        await scene.deliver(mail())
    scene.breakers["a"].reset()
    assert _of(scene).providers["a"].breaker == "open"


async def test_a_breaker_that_closed_is_closed_from_the_next_minute_on(scene: Scene) -> None:
    """Also where nobody asked between the two."""
    scene.a.then(down(), down())
    for _ in range(2):
        await scene.deliver(mail())
    await scene.clock.sleep(scene.breakers["a"].retry_after())
    for _ in range(5):
        await scene.deliver(mail())
    assert scene.breakers["a"].state == "closed"
    await scene.clock.sleep(130.0)
    told = scene.failover.past.minutes(scene.failover.standings())
    assert [minute.providers["a"].breaker for minute in told[-2:]] == ["closed", "closed"]


async def test_a_refused_mail_is_no_failure_of_its_provider(scene: Scene) -> None:
    scene.a.then(Answer(MailRejectedError("no such address", provider="a")))
    verdict = await scene.deliver(mail())
    assert isinstance(verdict, DeadLetter)
    assert (verdict.reason, verdict.by, _of(scene).failed) == (DeadReason.REFUSED, "a", 0)
    again = await scene.deliver(mail())
    assert isinstance(again, Ack)


async def test_a_doubt_is_a_failed_attempt_as_well(scene: Scene) -> None:
    scene.a.then(unknown(takes=True))
    await scene.deliver(mail(on_doubt=OnDoubt.RESEND))
    assert (_of(scene).in_doubt, _of(scene).failed, _of(scene).moved) == (1, 1, 0)


async def test_a_doubt_at_both_is_two(scene: Scene) -> None:
    scene.a.then(unknown(takes=False))
    scene.b.then(Answer(OutcomeUnknownError("x", provider="b"), takes=False))
    await scene.deliver(mail(on_doubt=OnDoubt.RESEND))
    assert _of(scene).in_doubt == 2


async def test_what_the_ledger_prevented_is_counted(scene: Scene) -> None:
    """A copy, a mail that another worker is sending, and an id that stands for another content."""
    one, other = mail(), mail()
    await scene.deliver(one)
    assert _of(scene).prevented == 0
    assert (await scene.deliver(one), _of(scene).prevented) == (Ack(), 1)
    await scene.claim(other)
    assert isinstance(await scene.deliver(other), GiveBack)
    assert _of(scene).prevented == 2
    await scene.deliver(mail(id=one.id, subject="another"))
    assert _of(scene).prevented == 3


async def test_a_mail_tells_when_it_was_due(scene: Scene) -> None:
    due = scene.clock.time() + 5.0
    one = mail(send_at=at(due))
    assert isinstance(await scene.deliver(one), GiveBack)
    await scene.clock.sleep(6.0)
    verdict = await scene.deliver(one)
    assert isinstance(verdict, Ack)
    assert (verdict.by, verdict.due) == ("a", due)


async def test_a_doubt_that_a_look_up_settles_is_an_accepted_mail(scene: Scene) -> None:
    one = mail()
    scene.a.then(unknown(takes=True))
    assert isinstance(await scene.deliver(one), GiveBack)
    await scene.clock.sleep(100.0)
    verdict = await scene.deliver(one)
    assert isinstance(verdict, Ack)
    assert verdict.by == "a"
