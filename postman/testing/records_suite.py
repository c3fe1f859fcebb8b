"""The contract of the port `Records`, as tests.

Subclass `RecordsSuite` and give it two fixtures that look at one store:
*ledger*, empty and ready for use, and *records*.
"""

import asyncio
from collections.abc import Sequence

import pytest

from postman.core.entry import Claim, Claimed, Doubtful
from postman.core.ids import MailId
from postman.core.shelf import Shelf
from postman.errors import ClaimLostError
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt
from postman.ports.records import Record, Records

__all__ = ["RecordsSuite", "claimed"]

_LEASE = 60.0


async def claimed(ledger: Ledger, mail_id: str, *, recipients: Sequence[str] = ()) -> Claim:
    """Claim a mail that is new or free."""
    answer = await ledger.claim(
        MailId(mail_id),
        claim_id=f"w.{mail_id}",
        digest="d",
        provider="alpha",
        lease=_LEASE,
        recipients=recipients,
    )
    assert isinstance(answer, Claimed)
    return answer.claim


async def _refused(ledger: Ledger, mail_id: str, reason: str = "alpha: no such thing") -> int:
    claim = await claimed(ledger, mail_id)
    await ledger.record_refused(claim, reason=reason)
    return claim.token


async def _ids(records: Records, shelf: Shelf, limit: int = 50) -> list[str]:
    return [record.mail_id for record in (await records.page(shelf, limit=limit)).records]


async def _everywhere(records: Records) -> dict[Shelf, list[str]]:
    """Return what lies on each shelf, by pages; the counts must agree."""
    pages = {shelf: await _ids(records, shelf, 500) for shelf in Shelf}
    assert await records.counts() == {shelf: len(ids) for shelf, ids in pages.items()}
    return {shelf: ids for shelf, ids in pages.items() if ids}


class RecordsSuite:
    """See the module."""

    async def test_an_empty_ledger_has_empty_shelves(self, records: Records) -> None:
        assert await records.counts() == dict.fromkeys(Shelf, 0)
        page = await records.page(Shelf.REFUSED)
        assert (list(page.records), page.after) == ([], "")

    async def test_mails_that_end_well_are_on_no_shelf(self, ledger: Ledger, records: Records) -> None:
        await ledger.record_sent(await claimed(ledger, "sent"), Receipt("alpha", "a-1"))
        await ledger.release(await claimed(ledger, "free"), reason="not now")
        await claimed(ledger, "sending")
        assert await _everywhere(records) == {}

    @pytest.mark.parametrize(
        ("reason", "shelf"),
        [
            ("alpha: answered 400", Shelf.REFUSED),
            ("expired", Shelf.EXPIRED),
            ("poison: two workers ended", Shelf.POISON),
            ("suppressed: it bounced", Shelf.SUPPRESSED),
            ("expiredly odd: a provider's word", Shelf.REFUSED),
        ],
    )
    async def test_a_refused_mail_lies_on_the_shelf_of_its_reason(
        self, ledger: Ledger, records: Records, reason: str, shelf: Shelf
    ) -> None:
        """Before its dead letter is durable, and after."""
        entry = await ledger.refuse(MailId("m"), digest="d", reason=reason)
        assert await _everywhere(records) == {shelf: ["m"]}
        await ledger.park(MailId("m"), token=entry.token)
        assert await _everywhere(records) == {shelf: ["m"]}

    async def test_a_replayed_mail_leaves_its_shelf_and_a_dropped_one_too(
        self, ledger: Ledger, records: Records
    ) -> None:
        for mail_id in ("replayed", "dropped"):
            await ledger.park(MailId(mail_id), token=await _refused(ledger, mail_id))
        await ledger.reopen(MailId("replayed"), reason="mended")
        assert await _everywhere(records) == {Shelf.REFUSED: ["dropped"]}
        await ledger.drop(MailId("dropped"), reason="by nina")
        assert await _everywhere(records) == {}
        entry = await ledger.find(MailId("dropped"))
        assert entry is not None
        assert (entry.dropped, entry.history[-1].event, entry.history[-1].detail) == (True, "dropped", "by nina")

    async def test_a_dropped_mail_that_is_sent_back_later_comes_on_its_shelf_again(
        self, ledger: Ledger, records: Records
    ) -> None:
        await _refused(ledger, "m")
        await ledger.drop(MailId("m"), reason="by nina")
        await ledger.reopen(MailId("m"), reason="by nina, who found it again")
        claim = await ledger.claim(MailId("m"), claim_id="w.again", digest="d", provider="alpha", lease=_LEASE)
        assert isinstance(claim, Claimed)
        await ledger.record_refused(claim.claim, reason="alpha: no")
        assert await _everywhere(records) == {Shelf.REFUSED: ["m"]}

    async def test_a_letter_that_is_durable_after_an_earlier_one_was_dropped_waits_on_the_shelf(
        self, ledger: Ledger, records: Records
    ) -> None:
        """Its worker ended between the refusal and the letter, and the mail came again."""
        token = await _refused(ledger, "m")
        await ledger.drop(MailId("m"), reason="by nina")
        await ledger.park(MailId("m"), token=token)
        assert await _everywhere(records) == {Shelf.REFUSED: ["m"]}

    async def test_only_what_is_dead_can_be_dropped(self, ledger: Ledger, records: Records) -> None:
        await ledger.record_doubt(await claimed(ledger, "doubtful"), reason="no answer")
        await ledger.record_sent(await claimed(ledger, "sent"), Receipt("alpha", "a-1"))
        for mail_id in ("doubtful", "sent", "unknown"):
            await ledger.drop(MailId(mail_id), reason="by nina")
        assert await _everywhere(records) == {Shelf.IN_DOUBT: ["doubtful"]}
        assert await ledger.find(MailId("unknown")) is None

    async def test_a_doubt_lies_there_until_it_is_settled_cleared_or_held(
        self, ledger: Ledger, records: Records
    ) -> None:
        tokens = {}
        for mail_id in ("settled", "cleared", "held", "taken"):
            claim = await claimed(ledger, mail_id)
            await ledger.record_doubt(claim, reason="no answer")
            tokens[mail_id] = claim.token
        assert set((await _everywhere(records))[Shelf.IN_DOUBT]) == set(tokens)
        await ledger.settle(MailId("settled"), Receipt("alpha", "a-2"), evidence="look-up")
        await ledger.clear_doubt(MailId("cleared"), token=tokens["cleared"], reason="not found")
        await ledger.park(MailId("held"), token=tokens["held"])
        await ledger.repeat(MailId("taken"), token=tokens["taken"], claim_id="w.9", lease=_LEASE)
        assert await _everywhere(records) == {Shelf.HELD: ["held"]}

    async def test_a_mail_whose_lease_ran_out_comes_on_the_shelf_when_it_is_taken_over(
        self, ledger: Ledger, records: Records
    ) -> None:
        first = await ledger.claim(MailId("m"), claim_id="w.1", digest="d", provider="alpha", lease=0.05)
        assert isinstance(first, Claimed)
        assert await _everywhere(records) == {}
        while not isinstance(await self._take_over(ledger), Doubtful):
            await self.pass_time(0.1)
        assert await _everywhere(records) == {Shelf.IN_DOUBT: ["m"]}
        with pytest.raises(ClaimLostError):
            await ledger.record_refused(first.claim, reason="late")

    async def _take_over(self, ledger: Ledger) -> object:
        return await ledger.claim(MailId("m"), claim_id="v.1", digest="d", provider="alpha", lease=_LEASE)

    async def pass_time(self, seconds: float) -> None:
        """Let *seconds* pass on the ledger's clock."""
        await asyncio.sleep(seconds)

    @pytest.mark.parametrize("limit", [1, 3, 7, 8])
    async def test_pages_bring_each_mail_once_the_newest_first(
        self, ledger: Ledger, records: Records, limit: int
    ) -> None:
        """Also where many came at the same moment, and others leave and come while one turns the pages."""
        names = [f"m-{number}" for number in range(7)]
        await asyncio.gather(*(_refused(ledger, name) for name in names))
        seen: list[Record] = []
        page = await records.page(Shelf.REFUSED, limit=limit)
        seen.extend(page.records)
        await _refused(ledger, "newer")
        await ledger.record_sent(await claimed(ledger, "other"), Receipt("alpha", "a-1"))
        while page.after:
            page = await records.page(Shelf.REFUSED, after=page.after, limit=limit)
            assert len(page.records) <= limit
            seen.extend(page.records)
        assert sorted(record.mail_id for record in seen) == names
        assert [record.entry.since for record in seen] == sorted((each.entry.since for each in seen), reverse=True)

    @pytest.mark.parametrize("after", ["nonsense", "!", "a" * 5_000, "MTIz", "eCB5", "\N{SNOWMAN}", "IA"])
    async def test_a_place_that_is_none_brings_the_first_page(
        self, ledger: Ledger, records: Records, after: str
    ) -> None:
        await _refused(ledger, "m")
        assert [each.mail_id for each in (await records.page(Shelf.REFUSED, after=after)).records] == ["m"]

    @pytest.mark.parametrize("mail_id", ["a/b", "..", "__x__", "100%", "%2F", "ünï 'q\" \N{SNOWMAN}", "x" * 128])
    async def test_ids_of_any_kind_come_back_as_they_were(self, ledger: Ledger, records: Records, mail_id: str) -> None:
        await _refused(ledger, mail_id)
        await _refused(ledger, "other")
        first = await records.page(Shelf.REFUSED, limit=1)
        second = await records.page(Shelf.REFUSED, after=first.after, limit=1)
        assert {record.mail_id for record in (*first.records, *second.records)} == {mail_id, "other"}

    async def test_a_mail_is_found_by_its_providers_id(self, ledger: Ledger, records: Records) -> None:
        await ledger.record_sent(await claimed(ledger, "m-1"), Receipt("alpha", "<a-1@example>"))
        await ledger.record_sent(await claimed(ledger, "m-2"), Receipt("alpha", ""))
        [found] = await records.by_message_id("<a-1@example>")
        assert (found.mail_id, found.entry.message_id) == ("m-1", "<a-1@example>")
        assert await records.by_message_id("a-1") == []
        assert await records.by_message_id("") == []

    async def test_mails_are_found_by_a_recipients_tag(self, ledger: Ledger, records: Records) -> None:
        """Whatever became of them."""
        await ledger.record_sent(await claimed(ledger, "m-1", recipients=["aa", "bb"]), Receipt("alpha", "a-1"))
        await ledger.release(await claimed(ledger, "m-2", recipients=["bb"]), reason="not now")
        await ledger.refuse(MailId("m-3"), digest="d", reason="expired", recipients=["bb", "cc"])
        await claimed(ledger, "m-4")
        assert {record.mail_id for record in await records.by_recipient("bb")} == {"m-1", "m-2", "m-3"}
        assert [record.mail_id for record in await records.by_recipient("aa")] == ["m-1"]
        assert await records.by_recipient("b") == []
        assert [len(await records.by_recipient("bb", limit=limit)) for limit in (-1, 0, 2, 10**9)] == [1, 1, 2, 3]
        entry = await ledger.find(MailId("m-1"))
        assert entry is not None
        assert entry.recipients == ("aa", "bb")
