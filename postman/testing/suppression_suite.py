"""The contract of the port `Suppressions`, as tests.

Subclass `SuppressionSuite` and give it two fixtures: *suppressions*, empty and
ready for use, of which one answer has a handful at the most, so that a list has
several pages; and *clock*, which the list's own time follows.
"""

import asyncio
from dataclasses import replace

from postman.core.events import address_key
from postman.core.suppression import Suppression, SuppressionReason
from postman.ports.clock import Clock
from postman.ports.suppressions import Suppressions

__all__ = ["SuppressionSuite", "all_changes", "suppression"]

_DAY = 86_400.0
_KEY = address_key("ann@example.org")


def suppression(number: int, since: float, *, expires_at: float | None = None) -> Suppression:
    """Return a hard bounce of the address with this number."""
    key = address_key(f"customer{number}@example.org")
    return Suppression(
        key, SuppressionReason.BOUNCED, since, expires_at, "sendgrid", f"mail-{number}", "550 no such user"
    )


async def all_changes(suppressions: Suppressions, cursor: str = "") -> tuple[dict[str, Suppression], str]:
    """Return what changed since *cursor*, over all pages, by key; and the next cursor."""
    found: dict[str, Suppression] = {}
    while True:
        changes = await suppressions.changes(cursor)
        found |= {each.key: each for each in changes.suppressions}
        cursor = changes.cursor
        if not changes.has_more:
            return found, cursor


class SuppressionSuite:
    """See the module."""

    async def test_an_empty_list_suppresses_nobody(self, suppressions: Suppressions) -> None:
        """That nothing ever bounced is no error."""
        found, cursor = await all_changes(suppressions)
        assert found == {}
        assert (await all_changes(suppressions, cursor))[0] == {}
        assert await suppressions.find(_KEY) is None
        assert await suppressions.lift(_KEY) is None

    async def test_what_was_put_is_read_as_it_was(self, suppressions: Suppressions, clock: Clock) -> None:
        """Every field arrives, in any script, to the last digit, one at a time and among the changes."""
        now = clock.time()
        words = "д/é \N{SNOWMAN} '550' \"no\"; DROP TABLE suppressions"
        full = Suppression(_KEY, SuppressionReason.BOUNCED, now + 0.123456, now + _DAY + 0.654321, "bêta", "a/b", words)
        plain = Suppression(address_key("b@example.org"), SuppressionReason.ADDED, now)
        for each in (full, plain):
            await suppressions.put(each)
            assert await suppressions.find(each.key) == each
        assert (await all_changes(suppressions))[0] == {full.key: full, plain.key: plain}

    async def test_putting_again_changes_nothing(self, suppressions: Suppressions, clock: Clock) -> None:
        """As after an answer that was lost, or news that come twice."""
        first = suppression(1, clock.time())
        await suppressions.put(first)
        await suppressions.put(first)
        await suppressions.put(replace(first, since=first.since + 1.0, detail="told again"))
        assert (await all_changes(suppressions))[0] == {first.key: first}

    async def test_a_longer_one_renews_and_a_shorter_one_does_not_shorten(
        self, suppressions: Suppressions, clock: Clock
    ) -> None:
        """For good is the longest of all."""
        now = clock.time()
        week = suppression(1, now, expires_at=now + 7 * _DAY)
        day, month = replace(week, expires_at=now + _DAY), replace(week, expires_at=now + 30 * _DAY)
        for_good = replace(week, reason=SuppressionReason.COMPLAINED, expires_at=None)
        for put, stands in ((week, week), (day, week), (month, month), (for_good, for_good), (month, for_good)):
            await suppressions.put(put)
            assert await suppressions.find(week.key) == stands

    async def test_what_was_lifted_is_kept_as_lifted(self, suppressions: Suppressions, clock: Clock) -> None:
        """All who have a copy hear of it; who lifts is told what stood there, once."""
        stood = suppression(1, clock.time())
        await suppressions.put(stood)
        _, cursor = await all_changes(suppressions)
        await clock.sleep(0.01)
        assert await suppressions.lift(stood.key) == stood
        found = await suppressions.find(stood.key)
        assert found is not None
        assert (found.is_lifted, found.detail) == (True, stood.detail)
        assert abs(found.since - clock.time()) < 5.0
        assert (await all_changes(suppressions, cursor))[0] == {stood.key: found}
        assert await suppressions.lift(stood.key) is None

    async def test_only_what_happened_later_undoes_a_lifting(self, suppressions: Suppressions, clock: Clock) -> None:
        """A bounce from before it may be told after it, and is no news."""
        bounced = suppression(1, clock.time(), expires_at=clock.time() + _DAY)
        await suppressions.put(bounced)
        await clock.sleep(0.01)
        await suppressions.lift(bounced.key)
        for again in (bounced, replace(bounced, expires_at=None)):
            await suppressions.put(again)
            assert getattr(await suppressions.find(bounced.key), "is_lifted", None) is True
        later = replace(bounced, since=clock.time() + 60.0, expires_at=clock.time() + 60.0 + _DAY)
        await suppressions.put(later)
        assert await suppressions.find(bounced.key) == later

    async def test_a_persons_word_undoes_a_lifting_whatever_the_clocks_say(
        self, suppressions: Suppressions, clock: Clock
    ) -> None:
        """Two machines' clocks differ; a person who adds means it now."""
        added = Suppression(_KEY, SuppressionReason.ADDED, clock.time() - 60.0)
        await suppressions.put(added)
        await suppressions.lift(_KEY)
        await suppressions.put(added)
        assert await suppressions.find(_KEY) == added

    async def test_what_expired_stands_there_no_more(self, suppressions: Suppressions, clock: Clock) -> None:
        """It cannot be lifted, and a new one takes its place."""
        now = clock.time()
        expired = suppression(1, now - 60.0, expires_at=now - 1.0)
        await suppressions.put(expired)
        assert await suppressions.lift(expired.key) is None
        anew = replace(expired, since=now, expires_at=now + 60.0)
        await suppressions.put(anew)
        assert await suppressions.find(expired.key) == anew

    async def test_pages_tell_all_and_then_only_what_is_new(self, suppressions: Suppressions, clock: Clock) -> None:
        """In the order of the changes; what was told lately may be told again, but nothing is left out."""
        many = [suppression(number, clock.time()) for number in range(17)]
        for each in many:
            await suppressions.put(each)
        first = await suppressions.changes()
        assert 0 < len(first.suppressions) < len(many)
        assert list(first.suppressions) == many[: len(first.suppressions)]
        found, cursor = await all_changes(suppressions)
        assert found == {each.key: each for each in many}
        renewed, new = suppression(99, clock.time()), suppression(100, clock.time())
        await suppressions.put(renewed)
        _, middle = await all_changes(suppressions, cursor)
        await suppressions.put(new)
        assert (await all_changes(suppressions, cursor))[0].keys() >= {renewed.key, new.key}
        assert new.key in (await all_changes(suppressions, middle))[0]

    async def test_a_change_while_pages_are_read_is_told_in_the_end(
        self, suppressions: Suppressions, clock: Clock
    ) -> None:
        """Whether it comes before or behind the page that was read last."""
        many = [suppression(number, clock.time()) for number in range(17)]
        for each in many:
            await suppressions.put(each)
        page = await suppressions.changes()
        told = {each.key: each for each in page.suppressions}
        await clock.sleep(0.01)
        for each in (many[0], many[-1]):
            await suppressions.lift(each.key)
        await suppressions.put(suppression(99, clock.time()))
        rest, cursor = await all_changes(suppressions, page.cursor)
        told |= rest | (await all_changes(suppressions, cursor))[0]
        assert {each.key: each for each in told.values()} == (await all_changes(suppressions))[0]
        assert sum(each.is_lifted for each in told.values()) == 2
        assert len(told) == 18

    async def test_nothing_is_left_out_while_many_write(self, suppressions: Suppressions, clock: Clock) -> None:
        """Who asks all the time knows all in the end, whatever was committed in between."""
        many = [suppression(number, clock.time()) for number in range(60)]
        told: dict[str, Suppression] = {}
        writing = asyncio.gather(*(suppressions.put(each) for each in many))
        cursor = ""
        while not writing.done():
            found, cursor = await all_changes(suppressions, cursor)
            told |= found
            await asyncio.sleep(0.001)
        await writing
        told |= (await all_changes(suppressions, cursor))[0]
        assert told == {each.key: each for each in many}

    async def test_the_longest_of_many_at_once_stands(self, suppressions: Suppressions, clock: Clock) -> None:
        """Whoever came last: none of them is lost to another."""
        now = clock.time()
        many = [suppression(1, now, expires_at=now + number * _DAY) for number in range(1, 9)]
        await asyncio.gather(*(suppressions.put(each) for each in many))
        assert await suppressions.find(many[0].key) == many[-1]

    async def test_one_of_two_who_lift_at_once_is_told_what_stood_there(
        self, suppressions: Suppressions, clock: Clock
    ) -> None:
        """The other finds that it does not stand there."""
        stood = suppression(1, clock.time())
        await suppressions.put(stood)
        results = await asyncio.gather(*(suppressions.lift(stood.key) for _ in range(4)))
        assert [each for each in results if each is not None] == [stood]

    async def test_making_is_idempotent(self, suppressions: Suppressions, clock: Clock) -> None:
        """What is there already is left alone."""
        stood = suppression(1, clock.time())
        await suppressions.ensure()
        await suppressions.put(stood)
        await suppressions.ensure()
        assert await suppressions.find(stood.key) == stood

    async def test_closing_twice_is_fine(self, suppressions: Suppressions, clock: Clock) -> None:
        """A list is closed once for all who share it."""
        await suppressions.put(suppression(1, clock.time()))
        await suppressions.aclose()
        await suppressions.aclose()
