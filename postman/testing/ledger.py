"""The contract of the port `Ledger`, as tests.

Written once, run for every adapter: with a `FakeClock` where the ledger's clock
is handed in, in real time where it is a server's. Subclass `LedgerSuite` and
give it two fixtures: *ledger*, empty and ready for use, and *clock*, which the
ledger's own time follows.
"""

import asyncio
from typing import Final

from postman.core.ids import MailId, new_mail_id
from postman.core.protocol import Claimed, Conflict, Doubtful, Held, Settled, State
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Receipt
from postman.testing._ledger_claims import ClaimContract
from postman.testing._ledger_doubts import DoubtContract
from postman.testing._ledger_events import EventContract
from postman.testing._ledger_tools import LONG, RECEIPT, ask, count, entry_of, is_lost, take

__all__ = ["HOSTILE_IDS", "LedgerSuite"]

HOSTILE_IDS: Final = tuple(
    MailId(text)
    for text in (
        "a/b",
        "a%2Fb",
        "a%2fb",
        "a%b",
        ".",
        "..",
        "__x__",
        "__",
        "/",
        "//",
        "%",
        " ",
        "'; DROP TABLE mails; --",
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
        "e\N{COMBINING ACUTE ACCENT}",
        "A",
        "a",
        "\N{PILE OF POO}" * 128,
        "/" * 128,
        "x" * 127,
        "x" * 128,
    )
)
"""Ids that are valid, and that a store might mistake for something else or for each other."""


class LedgerSuite(ClaimContract, DoubtContract, EventContract):
    """See the module. *lease* is the one that tests wait out, in seconds."""

    async def test_hundred_mails_are_claimed_and_recorded_at_once(self, ledger: Ledger) -> None:
        """Calls that travel together each have their own result."""
        ids = [new_mail_id() for _ in range(100)]
        claims = await asyncio.gather(*(take(ledger, mail_id) for mail_id in ids))
        assert [claim.mail_id for claim in claims] == ids
        await asyncio.gather(*(ledger.record_sent(claim, Receipt("alpha", claim.mail_id)) for claim in claims))
        entries = await asyncio.gather(*(entry_of(ledger, mail_id) for mail_id in ids))
        assert [entry.message_id for entry in entries] == ids
        assert {entry.state for entry in entries} == {State.SENT}

    async def test_of_many_claims_of_one_mail_one_wins(self, ledger: Ledger) -> None:
        """Twenty workers ask for one mail; one may send it, the others are told to wait."""
        mail_id = new_mail_id()
        answers = await asyncio.gather(*(ask(ledger, mail_id, lease=LONG) for _ in range(20)))
        assert count(answers, Claimed) == 1
        assert count(answers, Held) == 19
        assert (await entry_of(ledger, mail_id)).attempts == 1

    async def test_of_many_take_overs_one_is_made(self, ledger: Ledger, clock: Clock) -> None:
        """Workers that find a lapsed lease together raise the token once; all learn of the doubt."""
        mail_id = new_mail_id()
        claim = await take(ledger, mail_id, lease=self.lease)
        await clock.sleep(self.lease + 0.1)
        answers = await asyncio.gather(*(ask(ledger, mail_id) for _ in range(5)))
        assert count(answers, Doubtful) == 5
        assert (await entry_of(ledger, mail_id)).token == claim.token + 1

    async def test_one_conflict_does_not_spoil_its_neighbours(self, ledger: Ledger) -> None:
        """Nor does a mail that is held, settled or claimed twice in the same moment."""
        ids = [new_mail_id() for _ in range(10)]
        await take(ledger, ids[3], digest="other")
        await take(ledger, ids[5], lease=LONG)
        await ledger.record_sent(await take(ledger, ids[7]), RECEIPT)
        answers = await asyncio.gather(*(ask(ledger, mail_id) for mail_id in [*ids, ids[9]]))
        kinds = [type(answer) for answer in answers[:9]]
        assert kinds == [Claimed] * 3 + [Conflict, Claimed, Held, Claimed, Settled, Claimed]
        assert {type(answer) for answer in answers[9:]} == {Claimed, Held}

    async def test_one_lost_claim_does_not_spoil_its_neighbours(self, ledger: Ledger) -> None:
        """Of records made at once, only the one whose claim is gone fails."""
        claims = [await take(ledger, new_mail_id()) for _ in range(3)]
        await ledger.release(claims[1], reason="given back")
        await take(ledger, claims[1].mail_id)
        lost = await asyncio.gather(*(is_lost(ledger.record_refused(claim, reason="bad")) for claim in claims))
        assert lost == [False, True, False]

    async def test_hostile_ids_are_ids(self, ledger: Ledger) -> None:
        """No id is mistaken for a path, a pattern, a command or another id."""
        claims = await asyncio.gather(*(take(ledger, mail_id, claim_id=mail_id) for mail_id in HOSTILE_IDS))
        await asyncio.gather(*(ledger.record_sent(claim, Receipt("alpha", claim.mail_id)) for claim in claims))
        entries = await asyncio.gather(*(entry_of(ledger, mail_id) for mail_id in HOSTILE_IDS))
        assert [(entry.claim_id, entry.message_id, entry.token) for entry in entries] == [
            (mail_id, mail_id, 1) for mail_id in HOSTILE_IDS
        ]

    async def test_making_and_checking_are_idempotent(self, ledger: Ledger) -> None:
        """What is there already is left alone."""
        claim = await take(ledger, new_mail_id())
        for _ in range(2):
            await ledger.ensure()
            await ledger.check()
        assert (await entry_of(ledger, claim.mail_id)).token == claim.token

    async def test_closing_finishes_what_is_under_way(self, ledger: Ledger) -> None:
        """A worker that ends does not throw away what it has begun to record."""
        claims = [asyncio.ensure_future(take(ledger, new_mail_id())) for _ in range(10)]
        await asyncio.sleep(0)
        await ledger.aclose()
        assert len(await asyncio.gather(*claims)) == 10

    async def test_closing_twice_is_fine(self, ledger: Ledger) -> None:
        """A ledger is closed once for all who share it."""
        await take(ledger, new_mail_id())
        await ledger.aclose()
        await ledger.aclose()
