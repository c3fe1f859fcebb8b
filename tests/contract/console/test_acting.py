"""The pages that act, over real HTTP, on queues and ledgers of SQLite: who may, what is asked, what is done, once."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Final

import pytest
import structlog

from postman.core.document import Document
from postman.core.events import address_key
from postman.core.ids import MailId
from postman.core.mail import Address, Mail
from postman.core.message import Message
from postman.core.protocol import State
from postman.core.shards import shard_for
from postman.core.wire import digest, message_for
from postman.entrypoints.console.access import FORM_FIELD
from postman.entrypoints.operating.layouts import latest_layout
from postman.entrypoints.operating.suppressions import opened_suppressions
from postman.ports.queue import ShardMap
from postman.runtime.deadletters import Choice, DeadLetters
from postman.testing.waiting import wait_until
from postman.wiring import open_documents, open_shards
from tests.contract.console.conftest import PROVIDERS, Answer, Desk, console
from tests.contract.console.markup import problems_of
from tests.contract.console.test_live import stream

SECRET: Final = "the code is 424242"
WHO: Final = "ann.other@example.org"


class Hand:
    """Somebody at the acting pages."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.settings = desk.parts.stores.settings

    async def submit(self, page: str, **form: str) -> Answer:
        """Send the form of *page*, with what is filled in."""
        shown = await self.desk.get(page)
        assert shown.status == 200, shown.text
        return await self.desk.post(page.partition("?")[0].removesuffix("/confirm"), {**hidden(shown.text), **form})

    async def finished(self, answer: Answer) -> str:
        """Return the page of the act that was begun, once it ended."""
        assert (answer.status, answer.place.startswith("/acts/")) == (303, True), answer.text
        text = ""

        async def has_ended() -> bool:
            nonlocal text
            text = (await self.desk.get(answer.place)).text
            return "Stop it" not in text

        await wait_until(has_ended, within=5.0)
        return text

    async def note(self) -> str:
        """Return what the last post left to be told."""
        return (await self.desk.get("/acts")).text.partition('role="status">')[2].partition("</p>")[0]

    async def die(self, mail_id: str, reason: str = "refused") -> None:
        """Let a mail be a dead letter."""
        mail = Mail(
            id=MailId(mail_id),
            from_=Address(email="shop@example.com"),
            to=(Address(email=WHO, name="Ann Other"),),
            subject=f"Your code: {SECRET}",
            text=SECRET,
            headers={"X-Campaign": "spring"},
        )
        ledger = self.desk.parts.stores.ledger
        refused = await ledger.refuse(mail.id, digest=digest(mail), reason=f"{reason}: 550 no such user")
        await ledger.park(mail.id, token=refused.token)
        letter = message_for(mail)
        told = {**letter.attributes, "dead_reason": reason, "dead_detail": "550 no such user"}
        async with self.shards() as shards:
            await shards.dead(shard_for(mail.id, self.settings.shards)).publish(Message(letter.data, told))

    async def dead(self) -> list[str]:
        async with self.shards() as shards:
            letters = DeadLetters(shards=shards, ledger=self.desk.parts.stores.ledger)
            return sorted(letter.mail_id for letter in await letters.find(Choice()))

    async def live(self) -> int:
        async with self.shards() as shards:
            return sum([await shards.depth(shard) or 0 for shard in range(shards.count)])

    @asynccontextmanager
    async def shards(self) -> AsyncIterator[ShardMap]:
        shards = open_shards(self.settings)
        try:
            await shards.ensure()
            yield shards
        finally:
            await shards.aclose()


def hidden(page: str) -> Mapping[str, str]:
    """Return the hidden fields of the last form for posts that has any number of its own."""
    forms = re.findall(r'<form action="/acts[^"]*" method="post".*?</form>', page, re.DOTALL)
    fields = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', forms[0])
    return {name: unescape(value) for name, value in fields}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    (tmp_path / "seed.toml").write_text(PROVIDERS)
    async with console(tmp_path, acts=True, providers=f"sqlite:{tmp_path / 'postman.db'}") as made:
        yield made


@pytest.fixture
async def hand(desk: Desk) -> Hand:
    await desk.log_in()
    documents = open_documents(desk.parts.stores.settings)
    await documents.ensure()
    await documents.change(Document().change(PROVIDERS, by="ann", at=1.0, what="the first one"))
    await documents.aclose()
    return Hand(desk)


PAGES: Final = (
    "/acts/dead",
    "/acts/dead/letter?id=a",
    "/acts/dead/confirm?act=drop&id=a",
    "/acts/providers/sendgrid",
    "/acts/shards",
    "/acts/suppressions",
)


async def test_who_may_only_look_sees_no_form_and_can_send_none(desk: Desk) -> None:
    for page in PAGES:
        shown = await desk.get(page)
        assert (shown.status, "/login" in shown.text) == (403, True), page
        assert (await desk.post(page.partition("?")[0], {"act": "drop", "all": "yes"})).status in {403, 405}, page


async def test_every_page_is_whole_and_can_be_used_by_a_keyboard_and_a_screen_reader(hand: Hand) -> None:
    await hand.die("a")
    ended = await hand.submit("/acts/dead/confirm?act=replay&id=a")
    for page in (*PAGES, "/acts/dead/confirm?act=replay&all=yes", "/acts", ended.place, "/acts/0123456789abcdef"):
        assert problems_of((await hand.desk.get(page)).text) == [], page


async def test_a_form_without_the_sessions_own_number_does_nothing(hand: Hand) -> None:
    await hand.die("a")
    sent = await hand.desk.post("/acts/dead", {"act": "drop", "all": "yes", FORM_FIELD: "wrong"})

    assert sent.status == 403
    assert await hand.dead() == ["a"]


class TestDeadLetters:
    async def test_a_letter_is_shown_without_its_text_and_with_half_of_its_addresses(self, hand: Hand) -> None:
        await hand.die("a")
        page = (await hand.desk.get("/acts/dead/letter?id=a")).text

        assert "550 no such user" in page
        assert "a•••@example.org" in page
        assert "X-Campaign: •••" in page
        for private in (SECRET, WHO, "Ann Other", "spring"):
            assert private not in page

    async def test_one_that_did_harm_is_not_read(self, hand: Hand) -> None:
        await hand.die("a", "poison")

        assert "it is not read here" in (await hand.desk.get("/acts/dead/letter?id=a")).text

    async def test_an_id_that_no_letter_has_is_told(self, hand: Hand) -> None:
        page = await hand.desk.get("/acts/dead/letter?id=nobody")

        assert (page.status, "No dead letter has this id" in page.text) == (200, True)

    async def test_all_of_a_reason_are_sent_again_after_the_number_was_asked_for(self, hand: Hand) -> None:
        for mail_id in ("a", "b"):
            await hand.die(mail_id)
        await hand.die("c", "expired")
        asked = (await hand.desk.get("/acts/dead/confirm?act=replay&reason=refused")).text
        assert '<strong id="count">2</strong>' in asked

        page = await hand.finished(await hand.submit("/acts/dead/confirm?act=replay&reason=refused", why="key mended"))

        assert "2 mails sent back to their shards" in page
        assert "<strong>2</strong> of 2" in page
        assert (await hand.dead(), await hand.live()) == (["c"], 2)
        entry = await hand.desk.parts.stores.ledger.find(MailId("a"))
        assert entry is not None
        assert entry.state is State.FREE
        assert "key mended" in str(entry.history)

    async def test_without_words_of_its_own_the_history_says_who_did_it_and_has_no_address(self, hand: Hand) -> None:
        await hand.die("a")
        await hand.finished(await hand.submit("/acts/dead/confirm?act=replay&id=a"))
        entry = await hand.desk.parts.stores.ledger.find(MailId("a"))

        assert entry is not None
        assert "replayed by #" in str(entry.history)
        assert "@" not in str(entry.history)

    async def test_the_chosen_ones_are_dropped_and_no_other(self, hand: Hand) -> None:
        for mail_id in ("a", "b", "c"):
            await hand.die(mail_id)
        listed = (await hand.desk.get("/acts/dead")).text
        assert listed.count('type="checkbox"') == 3
        page = await hand.desk.post("/acts/dead/confirm", {**hidden(listed), "act": "drop", "id": "a"})
        assert "the dead letter of a" in page.text
        assert "2 dead letters" in (await hand.desk.get("/acts/dead/confirm?act=drop&id=a&id=c")).text

        assert "1 dead letter dropped" in await hand.finished(await hand.desk.post("/acts/dead", hidden(page.text)))
        assert await hand.dead() == ["b", "c"]

    async def test_a_form_that_is_sent_twice_counts_once(self, hand: Hand) -> None:
        await hand.die("a")
        form = hidden((await hand.desk.get("/acts/dead/confirm?act=replay&id=a")).text)
        await hand.finished(await hand.desk.post("/acts/dead", form))
        again = await hand.desk.post("/acts/dead", form)

        assert "counts once" in (await hand.desk.get(again.place)).text
        assert await hand.live() == 1

    async def test_what_no_form_asks_for_is_refused(self, hand: Hand) -> None:
        for query in ("", "?act=drop", "?act=burn&id=a", f"?act=drop&id={'x' * 200}"):
            assert (await hand.desk.get(f"/acts/dead/confirm{query}")).status == 400, query

    async def test_an_act_that_fails_says_why_and_leaves_the_letters(self, hand: Hand) -> None:
        await hand.die("a")
        sent = await hand.submit("/acts/dead/confirm?act=replay&id=a", why="for ann@example.org")

        assert sent.place == "/acts/dead"
        assert "must have no address in it" in await hand.note()
        assert await hand.dead() == ["a"]

    async def test_a_form_of_which_nothing_came_may_be_sent_again(self, hand: Hand) -> None:
        await hand.die("a")
        form = hidden((await hand.desk.get("/acts/dead/confirm?act=drop&id=a")).text)
        await hand.desk.post("/acts/dead", {**form, "why": "for ann@example.org"})

        await hand.finished(await hand.desk.post("/acts/dead", form))
        assert await hand.dead() == []


class TestProviders:
    async def test_a_breaker_is_forced_and_the_history_says_who_and_why(self, hand: Hand) -> None:
        sent = await hand.submit("/acts/providers/sendgrid", act="breaker", breaker="open", why="bounces all")
        page = (await hand.desk.get(sent.place)).text

        assert "forced open" in page
        assert "breaker open for sendgrid: bounces all" in page
        assert 'id="breaker-open" name="breaker" value="open" checked' in page
        history = (await hand.desk.get("/providers")).text
        assert "breaker open for sendgrid: bounces all" in history

    async def test_a_change_that_leaves_nobody_is_told_or_refused(self, hand: Hand) -> None:
        await hand.submit("/acts/providers/mailgun", act="breaker", breaker="open")
        assert "No other provider can be used" in (await hand.desk.get("/acts/providers/sendgrid")).text
        sent = await hand.submit("/acts/providers/sendgrid", act="breaker", breaker="open")
        assert "every enabled provider is forced open" in (await hand.desk.get(sent.place)).text

        await hand.submit("/acts/providers/mailgun", act="disable")
        sent = await hand.submit("/acts/providers/sendgrid", act="disable")
        assert "no provider is enabled" in (await hand.desk.get(sent.place)).text

    async def test_weights_are_changed_and_nonsense_is_refused(self, hand: Hand) -> None:
        sent = await hand.submit("/acts/providers/sendgrid", act="weight", weight="7")
        assert 'value="7"' in (await hand.desk.get(sent.place)).text
        for wrong in ("much", "-1", "inf"):
            sent = await hand.submit("/acts/providers/sendgrid", act="weight", weight=wrong)
            assert 'class="banner bad"' in (await hand.desk.get(sent.place)).text, wrong

    async def test_one_that_the_document_does_not_have_is_not_there(self, hand: Hand) -> None:
        assert (await hand.desk.get("/acts/providers/nobody")).status == 404


class TestShards:
    async def test_shards_are_paused_and_resumed_with_the_steps_told(self, hand: Hand) -> None:
        page = await hand.finished(await hand.submit("/acts/shards", act="pause", shard="3"))
        assert "shard 3 is paused" in page
        assert (await latest_layout(hand.settings)).paused == frozenset({3})

        await hand.finished(await hand.submit("/acts/shards", act="resume", shard="3"))
        assert (await latest_layout(hand.settings)).paused == frozenset()

    async def test_draining_waits_until_told_to_stop_and_what_was_changed_stays(self, hand: Hand) -> None:
        await hand.die("x")
        async with hand.shards() as shards:
            await shards.queue(2).publish(Message(b"x", {"mail_id": "waits"}))
        sent = await hand.submit("/acts/shards", act="drain", shard="2")

        async def is_waiting() -> bool:
            return "waits:" in (await hand.desk.get(sent.place)).text

        await wait_until(is_waiting, within=5.0)
        shown = (await hand.desk.get(sent.place)).text
        assert "Stop it" in shown
        token = {FORM_FIELD: hidden(shown)[FORM_FIELD]}
        assert (await hand.desk.post(f"{sent.place}/stop", token)).status == 303
        assert "It was stopped" in await hand.finished(sent)
        assert (await latest_layout(hand.settings)).closed == frozenset({2})

    async def test_nothing_chosen_is_told(self, hand: Hand) -> None:
        await hand.submit("/acts/shards", act="pause")
        assert "choose some shards first" in await hand.note()
        await hand.submit("/acts/shards", act="burn", shard="1")
        assert "pause, resume or drain" in await hand.note()


class TestSuppressions:
    async def test_an_address_is_hashed_at_once_and_stands_in_no_page_or_log(self, hand: Hand) -> None:
        with structlog.testing.capture_logs() as logs:
            sent = await hand.submit("/acts/suppressions", act="add", who=WHO, why="asked us", days="30000")
        page = (await hand.desk.get(sent.place)).text

        key = address_key(WHO)
        assert key[:12] in page
        assert WHO not in page + str(logs) + sent.place + str(sent.headers)
        assert {"event": "acted", "act": "suppression"}.items() <= logs[-1].items()
        async with opened_suppressions(hand.settings) as store:
            stands = await store.find(key)
        assert stands is not None
        assert re.fullmatch(r"added by #[0-9a-f]{12}: asked us", stands.detail)
        assert stands.expires_at == pytest.approx(stands.since + 30_000 * 86_400)

        await hand.submit("/acts/suppressions", act="lift", who=key)
        assert "gets mail again" in await hand.note()
        await hand.submit("/acts/suppressions", act="lift", who=WHO)
        assert "was not on the list" in await hand.note()

    async def test_what_is_no_address_is_refused_and_not_repeated(self, hand: Hand) -> None:
        await hand.submit("/acts/suppressions", act="add", who="ann at example.org <b>")
        note = await hand.note()

        assert "neither an address nor a key" in note
        assert "ann" not in note


async def test_acts_are_listed_and_one_of_another_process_is_told_to_be_unknown(hand: Hand) -> None:
    await hand.die("a")
    await hand.finished(await hand.submit("/acts/dead/confirm?act=drop&id=a"))

    assert "Drop for good: the dead letter of a" in (await hand.desk.get("/acts")).text
    unknown = await hand.desk.get("/acts/0123456789abcdef")
    assert (unknown.status, "not known here" in unknown.text) == (404, True)


async def test_progress_is_told_live_and_whoever_comes_again_sees_where_it_is(hand: Hand) -> None:
    async with hand.shards() as shards:
        await shards.queue(2).publish(Message(b"x", {"mail_id": "waits"}))
    sent = await hand.submit("/acts/shards", act="drain", shard="2")
    job = sent.place.rpartition("/")[2]

    async def has_progress() -> bool:
        return "of 1" in (await hand.desk.get(sent.place)).text

    await wait_until(has_progress, within=5.0)
    assert f'data-stream="/stream/act?job={job}"' in (await hand.desk.get(sent.place)).text
    for _ in range(2):
        async with stream(hand.desk, f"act?job={job}") as live:
            shown = (await live.parts())["live_act"]
        assert '<progress max="1" value="0"' in shown
        assert "shard 2 is draining" in shown


async def test_foreign_words_are_no_markup_on_any_acting_page(hand: Hand) -> None:
    attack = "<script>alert(1)</script>"
    await hand.die(attack)
    for page in ("letter?id=", "confirm?act=drop&id="):
        text = (await hand.desk.get(f"/acts/dead/{page}{attack}")).text
        assert attack not in text
        assert "&lt;script&gt;" in text


async def test_who_acts_is_logged_without_an_address(hand: Hand) -> None:
    await hand.die("a")
    with structlog.testing.capture_logs() as logs:
        await hand.finished(await hand.submit("/acts/dead/confirm?act=drop&id=a"))

    acts = [log for log in logs if log["event"] in {"act_begun", "act_ended", "acted"}]
    assert {log["event"] for log in acts} == {"act_begun", "act_ended", "acted"}
    assert all(re.fullmatch(r"#[0-9a-f]{12}", log["by"]) for log in acts)
