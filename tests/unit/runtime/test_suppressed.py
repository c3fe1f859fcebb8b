"""The worker's copy of the suppression list: whom it refuses, how it keeps up, and what it costs."""

import asyncio
import sys
import tracemalloc
from collections.abc import Sequence
from time import perf_counter

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from postman import Address, Mail
from postman.adapters.memory import MemorySuppressions
from postman.core.events import address_key
from postman.core.suppression import Suppression, SuppressionReason
from postman.core.verdict import DeadReason
from postman.errors import LedgerUnavailableError
from postman.ports.suppressions import Changes
from postman.runtime.suppressed import SuppressionList
from postman.testing.clock import FakeClock
from postman.testing.waiting import wait_until

DAY = 86_400.0
NOON = 1_795_521_600.0
"""On 2026-11-24."""


class Flaky(MemorySuppressions):
    """A list that can be out of reach, also in the middle of its pages."""

    is_away = False
    answers = sys.maxsize
    """How many more it gives."""
    asked = 0

    async def changes(self, cursor: str = "") -> Changes:
        self.asked += 1
        self.answers -= 1
        if self.is_away or self.answers < 0:
            raise LedgerUnavailableError("out of reach")
        return await super().changes(cursor)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=NOON)


@pytest.fixture
def store(clock: FakeClock) -> Flaky:
    return Flaky(clock, page=3)


@pytest.fixture
def suppressed(store: Flaky, clock: FakeClock) -> SuppressionList:
    return SuppressionList(store, clock)


def bounced(address: str, *, expires_at: float | None = None) -> Suppression:
    return Suppression(address_key(address), SuppressionReason.BOUNCED, NOON, expires_at, "sendgrid", "m-1", "550")


def mail(*to: str, cc: Sequence[str] = (), bcc: Sequence[str] = ()) -> Mail:
    fields = {"to": to, "cc": cc, "bcc": bcc}
    recipients = {name: tuple(Address(email=each) for each in emails) for name, emails in fields.items()}
    return Mail(from_=Address(email="shop@example.com"), subject="s", text="t", **recipients)


async def test_a_suppressed_recipient_is_refused_with_field_reason_provider_and_day(
    store: Flaky, suppressed: SuppressionList
) -> None:
    """In words that begin with the reason of the dead letter, and name no address."""
    await store.put(bounced("ann@example.org"))
    await suppressed.get_ready()
    assert suppressed.objection(mail("bob@example.org")) == ""
    said = suppressed.objection(mail("ann@example.org"))
    assert said == "suppressed: to[0]: a hard bounce at sendgrid on 2026-11-24; see postman suppressions"
    assert said.startswith(f"{DeadReason.SUPPRESSED}: ")


async def test_each_reason_is_told(store: Flaky, suppressed: SuppressionList) -> None:
    key = address_key("ann@example.org")
    await store.put(Suppression(key, SuppressionReason.ADDED, NOON, NOON + DAY))
    await suppressed.get_ready()
    assert "to[0]: added by a person on 2026-11-24;" in suppressed.objection(mail("ann@example.org"))
    await store.put(Suppression(key, SuppressionReason.COMPLAINED, NOON + DAY, None, "mailgun", "m-1"))
    await suppressed.get_ready()
    assert "to[0]: a complaint at mailgun on 2026-11-25;" in suppressed.objection(mail("ann@example.org"))


@pytest.mark.parametrize(
    ("one", "place"),
    [
        (mail("a@x.org", "bad@x.org", "c@x.org"), "to[1]"),
        (mail("a@x.org", cc=["b@x.org", "c@x.org", "bad@x.org"], bcc=["worse@x.org"]), "cc[2]"),
        (mail(bcc=["bad@x.org"]), "bcc[0]"),
        (mail("a@x.org", bcc=["b@x.org", "worse@x.org"]), "bcc[1]"),
        (mail("worse@x.org", cc=["bad@x.org"]), "to[0]"),
    ],
)
async def test_the_first_of_all_recipients_on_the_list_is_named(
    store: Flaky, suppressed: SuppressionList, one: Mail, place: str
) -> None:
    """One is enough: a provider would take the mail as a whole."""
    await store.put(bounced("bad@x.org"))
    await store.put(bounced("worse@x.org"))
    await suppressed.get_ready()
    assert suppressed.objection(one).startswith(f"suppressed: {place}: ")


async def test_case_and_the_way_a_domain_is_written_hide_nobody(store: Flaky, suppressed: SuppressionList) -> None:
    await store.put(bounced("Ann@xn--bcher-kva.example"))
    await suppressed.get_ready()
    for address in ("ANN@BÜCHER.example", "ann@xn--bcher-kva.example"):
        assert suppressed.objection(mail(address))


async def test_it_keeps_up_with_what_is_put_and_lifted(
    store: Flaky, suppressed: SuppressionList, clock: FakeClock
) -> None:
    """Within five seconds, however many pages it has."""
    await suppressed.get_ready()
    clock._auto = False
    running = asyncio.ensure_future(suppressed.run())
    for number in range(8):
        await store.put(bounced(f"customer{number}@x.org"))
    assert not suppressed.objection(mail("customer7@x.org"))
    await clock.advance(5.0)
    assert all(suppressed.objection(mail(f"customer{number}@x.org")) for number in range(8))
    await store.lift(address_key("customer3@x.org"))
    await clock.advance(5.0)
    refused = [number for number in range(8) if suppressed.objection(mail(f"customer{number}@x.org"))]
    assert refused == [0, 1, 2, 4, 5, 6, 7]
    running.cancel()


async def test_what_expires_is_sent_to_again_at_that_second(
    store: Flaky, suppressed: SuppressionList, clock: FakeClock
) -> None:
    """By the wall clock, whether the store is asked or not."""
    await store.put(bounced("ann@x.org", expires_at=NOON + 90 * DAY))
    await suppressed.get_ready()
    await clock.sleep(90 * DAY - 1.0)
    assert suppressed.objection(mail("ann@x.org"))
    await clock.sleep(1.0)
    assert not suppressed.objection(mail("ann@x.org"))


async def test_a_renewal_is_heeded(store: Flaky, suppressed: SuppressionList, clock: FakeClock) -> None:
    await store.put(bounced("ann@x.org", expires_at=NOON + DAY))
    await suppressed.get_ready()
    await store.put(bounced("ann@x.org", expires_at=None))
    await suppressed.get_ready()
    await clock.sleep(2 * DAY)
    assert suppressed.objection(mail("ann@x.org"))


async def test_a_store_that_is_away_stops_no_mail_and_what_was_known_holds(
    store: Flaky, suppressed: SuppressionList, clock: FakeClock
) -> None:
    """It is asked again until it answers, and each outage is told once."""
    await store.put(bounced("ann@x.org"))
    await suppressed.get_ready()
    clock._auto = False
    running = asyncio.ensure_future(suppressed.run())
    with structlog.testing.capture_logs() as logs:
        store.is_away = True
        await clock.advance(31.0)
        assert store.asked >= 6
        assert suppressed.objection(mail("ann@x.org"))
        assert not suppressed.objection(mail("bob@x.org"))
        await store.put(bounced("bob@x.org"))
        store.is_away = False
        await clock.advance(5.0)
        assert suppressed.objection(mail("bob@x.org"))
    assert [log["event"] for log in logs] == ["suppressions_out_of_date", "suppressions_up_to_date"]
    running.cancel()


async def test_a_store_that_is_away_at_the_start_is_not_waited_for(
    store: Flaky, suppressed: SuppressionList, clock: FakeClock
) -> None:
    await store.put(bounced("ann@x.org"))
    store.is_away = True
    await suppressed.get_ready()
    assert not suppressed.objection(mail("ann@x.org"))
    store.is_away = False
    clock._auto = False
    running = asyncio.ensure_future(suppressed.run())
    await clock.advance(5.0)
    assert suppressed.objection(mail("ann@x.org"))
    running.cancel()


async def test_a_first_reading_that_is_broken_off_goes_on_where_it_was(
    store: Flaky, suppressed: SuppressionList, clock: FakeClock
) -> None:
    """What could be read counts at once."""
    for number in range(12):
        await store.put(bounced(f"customer{number}@x.org"))
    store.answers = 2
    await suppressed.get_ready()
    assert (len(suppressed), store.asked) == (6, 3)
    store.answers = sys.maxsize
    await suppressed.get_ready()
    assert (len(suppressed), store.asked) == (12, 5)


async def test_a_surprise_of_the_store_stops_nothing_and_tells_no_address(clock: FakeClock) -> None:
    class Damaged(MemorySuppressions):
        async def changes(self, cursor: str = "") -> Changes:
            raise RuntimeError("ann@x.org")

    suppressed = SuppressionList(Damaged(clock), clock)
    with structlog.testing.capture_logs() as logs:
        await suppressed.get_ready()
    assert [(log["event"], log["reason"]) for log in logs] == [("suppressions_out_of_date", "RuntimeError")]
    assert "ann@x.org" not in str(logs)


async def test_after_a_long_outage_the_copy_is_made_anew(store: Flaky, clock: FakeClock) -> None:
    """A store forgets in the end what was lifted; the old copy holds until the new one is whole."""
    suppressed = SuppressionList(store, clock)
    for number in range(8):
        await store.put(bounced(f"customer{number}@x.org"))
    await suppressed.get_ready()
    store._kept.pop(address_key("customer0@x.org"))
    await clock.sleep(2 * DAY)
    store.answers = 2
    await suppressed.get_ready()
    assert suppressed.objection(mail("customer0@x.org"))
    assert suppressed.objection(mail("customer7@x.org"))
    store.answers = sys.maxsize
    await suppressed.get_ready()
    assert not suppressed.objection(mail("customer0@x.org"))
    assert all(suppressed.objection(mail(f"customer{number}@x.org")) for number in range(1, 8))


_actions = st.lists(
    st.tuples(st.sampled_from(["put", "lift", "read", "wait"]), st.integers(0, 4), st.sampled_from([60.0, DAY, None])),
    max_size=30,
)


@given(_actions)
async def test_a_copy_that_has_just_read_says_what_the_store_says(actions: list[tuple[str, int, float | None]]) -> None:
    """Whatever was put, lifted and expired before."""
    clock = FakeClock(wall=NOON)
    store = MemorySuppressions(clock, page=2)
    suppressed = SuppressionList(store, clock)
    for action, number, seconds in actions:
        key = address_key(f"customer{number}@x.org")
        expires_at = clock.time() + seconds if seconds else None
        match action:
            case "put":
                await store.put(Suppression(key, SuppressionReason.BOUNCED, clock.time(), expires_at, "p", "m", "d"))
            case "lift":
                await store.lift(key)
            case "read":
                await suppressed.get_ready()
            case _:
                await clock.sleep(seconds or 1.0)
    await suppressed.get_ready()
    for number in range(5):
        found = await store.find(address_key(f"customer{number}@x.org"))
        holds = found is not None and found.holds_at(clock.time())
        assert bool(suppressed.objection(mail(f"customer{number}@x.org"))) is holds


async def test_ten_thousand_addresses_take_less_than_one_and_a_half_megabytes(clock: FakeClock) -> None:
    """And a mail to a thousand recipients is looked up in some milliseconds."""
    store = MemorySuppressions(clock, page=1_000)
    keys = [address_key(f"customer{number}@x.org") for number in range(10_000)]
    for number, key in enumerate(keys):
        expires_at = NOON + 90 * DAY + number if number % 2 else None
        await store.put(Suppression(key, SuppressionReason.BOUNCED, NOON - number, expires_at, "sendgrid"))
    tracemalloc.start()
    suppressed = SuppressionList(store, clock)
    await suppressed.get_ready()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(suppressed) == 10_000
    assert size < 1_500_000
    large = mail(*(f"person{number}@y.org" for number in range(1_000)))
    began = perf_counter()
    assert not suppressed.objection(large)
    assert perf_counter() - began < 0.2


async def test_get_ready_can_be_broken_off(clock: FakeClock) -> None:
    """A worker that is told to stop does not wait for a long list."""

    class Slow(MemorySuppressions):
        asked = False

        async def changes(self, cursor: str = "") -> Changes:
            self.asked = True
            await asyncio.Event().wait()
            return await super().changes(cursor)

    store = Slow(clock)
    reading = asyncio.ensure_future(SuppressionList(store, clock).get_ready())
    await wait_until(lambda: store.asked, within=1.0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
