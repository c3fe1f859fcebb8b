"""`postman search` and `postman doubts`, over a ledger that was filled by the back door."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.sqlite import open_ledger
from postman.core.events import address_tag
from postman.core.ids import MailId
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster
from postman.ports.provider import Receipt
from postman.testing.records_suite import claimed
from tests.contract.cli.commands import Postman


def _fill(postman: Postman, fill: Callable[[Ledger], Awaitable[None]]) -> None:
    async def run() -> None:
        ledger = open_ledger(str(postman.folder / "postman.db"), Cluster(SystemClock()))
        await fill(ledger)
        await ledger.aclose()

    asyncio.run(run())


async def _one_of_each(ledger: Ledger) -> None:
    jo = [address_tag("jo@example.org")]
    await ledger.record_sent(await claimed(ledger, "sent", recipients=jo), Receipt("alpha", "<a-1@mg.example>"))
    await ledger.record_doubt(await claimed(ledger, "doubtful", recipients=jo), reason="no answer")
    held = await claimed(ledger, "held")
    await ledger.record_doubt(held, reason="reset")
    await ledger.park(MailId("held"), token=held.token)
    for mail_id in ("late-1", "late-2"):
        await ledger.refuse(MailId(mail_id), digest="d", reason="expired")


@pytest.fixture
def filled(postman: Postman) -> Postman:
    _fill(postman, _one_of_each)
    return postman


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("sent", {"sent"}),
        ("<a-1@mg.example>", {"sent"}),
        (" Jo@Example.org ", {"sent", "doubtful"}),
        (address_tag("jo@example.org"), {"sent", "doubtful"}),
        (f"#{address_tag('jo@example.org')}", {"sent", "doubtful"}),
    ],
)
def test_mails_are_found_by_all_that_is_known_of_them(filled: Postman, text: str, ids: set[str]) -> None:
    ran = filled("search", text, "--json")
    assert (ran.status, {line["id"] for line in ran.lines}) == (0, ids)
    table = filled("search", text)
    assert ids <= set(table.out.split())
    assert "jo@" not in (table.out + table.err).lower()


@pytest.mark.parametrize("text", ["nobody", "nobody@example.org", "0123456789ab", "", "x" * 300])
def test_what_is_not_there_is_a_failure_that_repeats_nothing(filled: Postman, text: str) -> None:
    ran = filled("search", text)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == "postman: nothing was found: the ledger knows mails that a worker had, for 90 days\n"


def test_a_ledger_that_cannot_be_read_so_is_told(postman: Postman) -> None:
    ran = postman("search", "x", POSTMAN_LEDGER="postgres://nina:secret@db.example/x")
    assert ran.status == 2
    assert "POSTMAN_LEDGER" in ran.err
    assert "secret" not in ran.err


def test_doubts_are_listed_apart_from_those_that_wait_for_a_person(filled: Postman) -> None:
    asked, held = filled("doubts", "list"), filled("doubts", "list", "--held")
    assert re.search(r"^doubtful +alpha +\d{4}-\d\d-\d\d [\d:]{8} +no answer$", asked.out, re.MULTILINE)
    assert "held" not in asked.out
    assert [line["id"] for line in filled("doubts", "list", "--held", "--json").lines] == ["held"]
    assert "reset" in held.out


def test_an_empty_shelf_is_told_in_a_sentence(postman: Postman) -> None:
    assert postman("doubts", "list").out == "no mail is in doubt\n"
    assert postman("doubts", "list", "--json").out == ""
    assert postman("doubts", "list", "--held").out == "no mail is held\n"


def test_status_counts_who_waits(filled: Postman) -> None:
    assert "doubts: 1; dead letters: 1 held, 2 expired" in filled("status").out
    [line] = filled("status", "--json").lines
    assert (line["doubts"], line["dead"]) == (1, {"held": 1, "expired": 2})


def test_more_than_a_page_of_doubts_is_listed_and_can_be_limited(postman: Postman) -> None:
    async def many(ledger: Ledger) -> None:
        claims = await asyncio.gather(*(claimed(ledger, f"m-{number}") for number in range(520)))
        await asyncio.gather(*(ledger.record_doubt(claim, reason="no answer") for claim in claims))

    _fill(postman, many)
    assert len({line["id"] for line in postman("doubts", "list", "--json").lines}) == 520
    assert len(postman("doubts", "list", "--json", "--limit", "7").lines) == 7
