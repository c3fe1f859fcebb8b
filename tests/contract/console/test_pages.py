"""What the pages say, and that nothing foreign in them is obeyed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs
from yarl import URL

from postman.adapters.memory import MemoryDocuments, MemorySuppressions
from postman.core.document import Document
from postman.core.entry import Entry, State
from postman.core.events import EventKind, MailEvent, address_key, address_tag
from postman.core.fleet.reports import ProviderStanding
from postman.core.ids import MailId
from postman.core.suppression import Suppression, SuppressionReason
from postman.entrypoints.console.knowledge import Knowledge
from postman.entrypoints.console.parts import Parts
from postman.entrypoints.console.records import Shelves
from postman.entrypoints.console.stores import Stores
from postman.errors import LedgerUnavailableError
from postman.ports.queue import Message
from postman.testing.ledger import HOSTILE_IDS
from postman.wiring import open_shards
from tests.contract.console.conftest import NOW, PROVIDERS, WELL, Desk, console
from tests.contract.console.markup import Page, problems_of

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onload=x {{ 7*7 }}"
ADDRESS = "hidden.person@example.org"
PAGES = ("/", "/dead", "/doubts", "/providers", "/shards", "/workers", "/suppressions", "/search", "/login", "/runbook")


@dataclass
class Record:
    mail_id: str
    entry: Entry


@dataclass
class Listed:
    records: Sequence[Record]
    after: str


class Shelf:
    """Mails on shelves, in memory; the newest first."""

    def __init__(self, shelves: Mapping[str, Sequence[Record]]) -> None:
        self._shelves = shelves

    async def counts(self) -> Mapping[str, int]:
        return {shelf: len(records) for shelf, records in self._shelves.items()}

    async def page(self, shelf: Any, *, after: str = "", limit: int = 50) -> Listed:
        begin = int(after or 0)
        records = self._shelves[shelf][begin : begin + limit]
        return Listed(records, str(begin + limit) if begin + limit < len(self._shelves[shelf]) else "")

    async def by_message_id(self, message_id: str, *, limit: int = 20) -> Sequence[Record]:
        return self._matching(lambda record: record.entry.message_id == message_id)[:limit]

    async def by_recipient(self, tag: str, *, limit: int = 50) -> Sequence[Record]:
        return self._matching(lambda record: record.entry.digest == tag)[:limit]

    async def aclose(self) -> None:
        pass

    def _matching(self, fits: Any) -> Sequence[Record]:
        return [record for records in self._shelves.values() for record in records if fits(record)]


def with_stores(parts: Parts, **stores: Any) -> Parts:
    """Return *parts* with other stores; what is not named stays."""
    old = parts.stores
    names = {"ledger": old.ledger, "roster": old._roster, "gauge": old._gauge, "layouts": old._layouts}
    made = Stores(old.settings, stores.pop("knowledge", old.knowledge), old.clock, **{**names, **stores})
    return replace(parts, stores=made)


def on_shelves(shelves: Mapping[str, Sequence[Record]]) -> Any:
    return lambda parts: with_stores(parts, shelves=Shelves(Shelf(shelves), parts.stores.knowledge))


def dead(number: int, reason: str = "refused") -> Record:
    return Record(f"{reason}-{number}", Entry(State.REFUSED, since=NOW - number, reason=f"why {number}", parked=True))


async def test_all_is_well(desk: Desk) -> None:
    await desk.report()

    page = (await desk.get("/")).text

    assert "All is well." in page
    assert "closed" in page
    assert 'class="alarm' not in page


async def test_a_provider_that_is_down_is_the_first_thing_that_is_said(desk: Desk) -> None:
    down = ProviderStanding("open", retry_after=20.0, problem="ProviderDownError: sendgrid: answered 503")
    await desk.report(providers={**WELL, "sendgrid": down})

    page = (await desk.get("/")).text

    assert "Mails flow, but something is wrong." in page
    assert "Nothing is lost" in page
    assert "sendgrid is down; all mails go to mailgun." in page
    assert '<a class="todo" href="/runbook#provider_down">' in page
    assert page.index("sendgrid is down") < page.index("mails a second")
    assert 'id="provider_down"' in (await desk.get("/runbook")).text


async def test_no_worker_is_an_outage(desk: Desk) -> None:
    page = (await desk.get("/")).text

    assert "No mails are being sent." in page
    assert "No worker has reported within ten minutes." in page


async def test_what_waits_is_counted_and_drawn(desk: Desk) -> None:
    shards = open_shards(desk.parts.stores.settings, clock=desk.clock)
    await shards.ensure()
    for number in range(3):
        await shards.queue(5).publish(Message(b"{}", {"mail_id": f"m-{number}"}))
    await shards.aclose()
    await desk.report()

    page = Page((await desk.get("/shards")).text)

    assert any(each.get("class") == "bar-fill" for each in page.all("rect")) == (
        desk.parts.stores._gauge is not None and (await desk.parts.stores.waiting()).value.is_counted  # type: ignore[union-attr]
    )
    assert "shard 7" in page.words


async def test_a_mails_story_is_told_with_evidence(desk: Desk) -> None:
    await desk.send("m-1")
    event = MailEvent("sendgrid", EventKind.DELIVERED, "m-1", desk.clock.time() + 1, recipient=ADDRESS)
    await desk.parts.stores.ledger.record_event(MailId("m-1"), event)

    answer = await desk.get("/mails/m-1")

    text = " ".join(Page(answer.text).words)
    assert answer.status == 200
    assert all(word in text for word in ("sent", "claimed", "delivered", "<sendgrid-m-1>", "It is never sent again"))
    assert address_tag(ADDRESS) in text
    assert ADDRESS not in answer.text


async def test_an_unknown_mail_is_answered_with_what_may_be_so(desk: Desk) -> None:
    answer = await desk.get("/mails/no-such")

    assert answer.status == 404
    assert "The ledger does not know this mail." in answer.text
    assert "No worker has had it yet." in answer.text


async def test_a_text_that_can_be_no_id_is_answered_as_one(desk: Desk) -> None:
    for path in (f"/mails/{'x' * 129}", "/mails/a%0Ab", "/mails/"):
        answer = await desk.get(path)
        assert (answer.status, "can be no mail" in answer.text) == (404, True)


async def test_every_id_leads_to_its_own_page(desk: Desk) -> None:
    """Also those that a browser or a router would take for something else."""
    ids = [*HOSTILE_IDS, MailId(ATTACK[:128])]
    for mail_id in ids:
        await desk.send(mail_id)
    for mail_id in ids:
        place = (await desk.post("/search", {"q": f" {mail_id} "})).place
        if mail_id == mail_id.strip():
            answer = await desk.session.get(URL(desk.url + place, encoded=True))
            text = await answer.text()
            assert answer.status == 200, (mail_id, place)
            assert f'class="id">{mail_id}</h1>' in unescape(text)


async def test_markup_in_what_others_say_stays_text(desk: Desk, tmp_path: Path) -> None:
    attack = ProviderStanding("open", problem=ATTACK)
    await desk.send(ATTACK[:100], refused=ATTACK)
    await desk.report(worker="w-<b>", providers={"<i>x": attack}, host=ATTACK, local_fault=ATTACK)

    for path in (*PAGES, f"/mails/{quote(ATTACK[:100], safe='')}", f"/suppressions?key={quote(ATTACK)}"):
        answer = await desk.get(path)
        assert problems_of(answer.text) == [], path
        assert "<script>alert" not in answer.text
        assert "<b>" not in answer.text
        assert "49" not in "".join(word for word in Page(answer.text).words if "7*7" in word)


@pytest.mark.parametrize("path", [*PAGES, "/nowhere", "/mails/m-1", "/mails/none", "/search?recipient=0123456789ab"])
@pytest.mark.parametrize("may_act", [False, True])
async def test_pages_are_whole_and_can_be_read_aloud(desk: Desk, path: str, may_act: bool) -> None:
    await desk.send("m-1")
    await desk.report()
    await desk.report(worker="w-2", leaving="stopped")
    if may_act:
        await desk.log_in()

    text = (await desk.get(path)).text

    assert problems_of(text) == []
    assert 'class="skip" href="#main"' in text


async def test_dead_letters_are_listed_by_reason_and_paged(tmp_path: Path) -> None:
    shelves = {"refused": [dead(number) for number in range(120)], "expired": [dead(1, "expired")], "in_doubt": []}
    async with console(tmp_path, change=on_shelves(shelves)) as desk:
        await desk.report()
        seen: list[str] = []
        path = "/dead"
        while path:
            text = (await desk.get(path)).text
            assert problems_of(text) == []
            page = Page(text)
            seen += [each["href"].removeprefix("/mails/") for each in page.all("a") if "/mails/" in each["href"]]
            path = next((each["href"] for each in page.all("a") if each.get("rel") == "next"), "")

        assert seen == [record.mail_id for record in shelves["refused"]]
        assert "expired-1" in (await desk.get("/dead?reason=expired")).text
        assert "121 dead letters wait for a decision." in (await desk.get("/")).text


async def test_doubts_are_counted_and_listed(tmp_path: Path) -> None:
    records = [Record("m-1", Entry(State.IN_DOUBT, since=NOW - 5, provider="mailgun", reason="the answer was lost"))]
    async with console(tmp_path, change=on_shelves({"in_doubt": records})) as desk:
        await desk.report()

        assert "the answer was lost" in (await desk.get("/doubts")).text
        assert "1 mail may have been sent, and nobody knows yet." in (await desk.get("/")).text


async def test_a_ledger_that_cannot_list_says_so(desk: Desk) -> None:
    if desk.parts.stores.shelves is not None:
        desk.parts.stores.shelves = None

    assert "cannot list them" in (await desk.get("/doubts")).text
    assert "cannot list them by reason" in (await desk.get("/dead")).text
    assert "id only" in (await desk.get("/search?message_id=x")).text


async def test_a_mail_is_found_by_what_a_provider_calls_it_and_by_its_recipient(tmp_path: Path) -> None:
    tag = address_tag(ADDRESS)
    records = [Record(f"m-{number}", Entry(State.SENT, message_id=f"id-{number}", digest=tag)) for number in range(3)]
    async with console(tmp_path, change=on_shelves({"in_doubt": records})) as desk:
        with capture_logs() as logs:
            by_address = await desk.post("/search", {"q": ADDRESS.upper()})

        assert by_address.place == f"/search?recipient={tag}"
        assert "hidden" not in str(logs).lower()
        assert (await desk.get(by_address.place)).text.count("/mails/m-") == 3
        assert (await desk.post("/search", {"q": tag})).place == by_address.place
        assert (await desk.post("/search", {"q": "id-2"})).place == "/mails/m-2"
        assert (await desk.post("/search", {"q": "nothing at all"})).place == "/mails/nothing%20at%20all"
        assert (await desk.post("/search", {"q": " "})).place == "/search"


async def test_the_search_is_for_our_own_pages(desk: Desk) -> None:
    assert (await desk.post("/search", {"q": "m-1"}, Origin="http://evil.example")).status == 403


async def test_suppressions_are_told_by_their_keys(tmp_path: Path) -> None:
    async with console(tmp_path) as desk:
        listed = MemorySuppressions(desk.clock)
        for number in range(130):
            reason = SuppressionReason.BOUNCED if number % 2 else SuppressionReason.COMPLAINED
            await listed.put(Suppression(address_key(f"a{number}@example.org"), reason, NOW - number))
        desk.parts.stores._suppressed = type(desk.parts.stores._suppressed)(listed)  # type: ignore[misc]

        first, second = await desk.get("/suppressions"), await desk.get("/suppressions?page=2")
        key = address_key("a7@example.org")
        one = await desk.get(f"/suppressions?key={key[:12]}")
        complained = await desk.get("/suppressions?reason=complained")

    assert first.text.count('scope="row"') + second.text.count('scope="row"') == 130
    assert (one.text.count('scope="row"'), key[:12] in one.text) == (1, True)
    assert complained.text.count('scope="row"') == 65
    assert "@example.org" not in first.text


async def test_providers_are_shown_with_who_changed_what(tmp_path: Path) -> None:
    async with console(tmp_path) as desk:
        documents = MemoryDocuments()
        await documents.change(
            Document().change(PROVIDERS, by="ana@example.org", at=NOW, what="weight 3 for sendgrid: <night>")
        )
        desk.parts.stores._documents = documents
        await desk.report()

        looked = (await desk.get("/providers")).text
        await desk.log_in()
        acting = (await desk.get("/providers")).text

    assert "env:SENDGRID_API_KEY" in looked
    assert "weight 3 for sendgrid: &lt;night&gt;" in looked
    assert "ana@example.org" not in looked
    assert "a•••@example.org" in looked
    assert "ana@example.org" in acting


async def test_a_wrong_document_is_told_and_the_workers_view_stays(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "providers.toml").write_text("[[provider]]\nname = 7\n")
    await desk.report()

    page = (await desk.get("/providers")).text

    assert "The document is wrong:" in page
    assert "sendgrid" in page


async def test_a_cluster_in_memory_is_told_what_it_lacks(tmp_path: Path) -> None:
    async with console(tmp_path, queue="memory:", ledger="memory:", providers="") as desk:
        desk.parts.stores._roster = None
        for path in PAGES:
            answer = await desk.get(path)
            assert (answer.status, problems_of(answer.text)) == (200, []), path
        assert "keeps no reports of workers" in (await desk.get("/workers")).text


class Away:
    """A ledger, or a roster, that fails, or says nothing at all."""

    def __init__(self) -> None:
        self.hangs = False
        self.asked = 0

    async def find(self, mail_id: MailId) -> Entry | None:
        await self._fail()
        return None

    async def reports(self, since: float) -> Sequence[Any]:
        await self._fail()
        return ()

    async def ensure(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def _fail(self) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        raise LedgerUnavailableError("the ledger is away")


async def test_a_store_that_is_away_leaves_what_was_known(desk: Desk) -> None:
    await desk.report()
    await desk.send("m-1")
    assert "All is well." in (await desk.get("/")).text
    await desk.get("/mails/m-1")
    away = Away()
    desk.parts.stores._roster = desk.parts.stores.ledger = away  # type: ignore[assignment]
    await desk.later(20)

    page, mail = (await desk.get("/")).text, await desk.get("/mails/m-1")

    assert "store cannot be reached from here" in page
    assert "What you see is 20 s old" in page
    assert "w-1" in page
    assert mail.status == 200
    assert "Out of date: this is what was known 20 s ago." in mail.text


async def test_a_store_that_never_answered_is_no_worker_that_is_gone(tmp_path: Path) -> None:
    away = Away()
    async with console(tmp_path, change=lambda parts: with_stores(parts, ledger=away, roster=away)) as desk:
        page, mail = await desk.get("/"), await desk.get("/mails/m-1")

        assert "Nobody knows how it is." in page.text
        assert "No worker has reported" not in page.text
        assert mail.status == 503


async def test_nobody_waits_long_for_a_store_that_hangs(tmp_path: Path) -> None:
    away = Away()
    away.hangs = True

    def change(parts: Parts) -> Parts:
        knowledge = Knowledge(parts.stores.clock, patience=0.1)
        return with_stores(parts, ledger=away, roster=away, knowledge=knowledge)

    async with console(tmp_path, change=change) as desk:
        began = perf_counter()
        for path in ("/", "/workers", "/mails/m-1", "/providers"):
            assert (await desk.get(path)).status in (200, 503)
        assert perf_counter() - began < 2.0
        assert "it has not answered yet" in (await desk.get("/workers")).text
        assert away.asked == 2, "one question for the reports, one for the mail"
        await desk.parts.stores.knowledge.aclose()


async def test_many_pages_ask_once(desk: Desk) -> None:
    away = Away()
    away.hangs = False
    desk.parts.stores._roster = away  # type: ignore[assignment]

    await asyncio.gather(*(desk.get("/workers") for _ in range(20)))
    assert away.asked == 1
    await desk.later(2)
    await desk.get("/workers")
    assert away.asked == 2
