"""The whole way round on the emulators: publish, send, and what the providers tell of it afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import httpx
import orjson
import pytest

from postman.config import Settings
from postman.core.entry import Entry, State
from postman.core.events import EventKind
from postman.core.ids import MailId
from postman.ports.ledger import Ledger
from postman.testing.events import Told
from postman.testing.waiting import wait_until
from postman.wiring import open_ledger
from tests.contract.event_posts import MailgunSender, mailgun_event
from tests.system.town import Town, mail

SIGNING_KEY = "signing-key-sandbox"
MAILS = 20


class PostOffice:
    """A town whose providers post their events to a `postman serve`."""

    def __init__(self, town: Town, ledger: Ledger, client: httpx.AsyncClient) -> None:
        self.town = town
        self.ledger = ledger
        self.client = client

    async def entries(self, count: int = MAILS) -> Sequence[Entry | None]:
        return await asyncio.gather(*(self.ledger.find(MailId(f"mail-{number}")) for number in range(count)))

    async def are_delivered(self, count: int = MAILS) -> bool:
        entries = await self.entries(count)
        return all(entry and EventKind.DELIVERED in {event.kind for event in entry.events} for entry in entries)

    async def copies(self) -> Mapping[str, int]:
        document = await self.town.cluster.accepted()
        return {"total": document["total"], "distinct": document["distinct"]}

    async def is_in(self, mail_id: str, state: State) -> bool:
        entry = await self.ledger.find(MailId(mail_id))
        return entry is not None and entry.state is state

    def marked(self) -> set[str]:
        """Return the mails that a worker has recorded as sent."""
        lines = [orjson.loads(line) for line in self.town.logs().splitlines() if line.startswith(b"{")]
        return {line["mail_id"] for line in lines if line["event"] == "sent"}

    async def use_only(self, provider: str) -> None:
        """Let the other provider take nothing."""
        other = {"sendgrid": "mailgun", "mailgun": "sendgrid"}[provider]
        await self.town.cluster.set_fault(other, [{"kind": "down"}])


@pytest.fixture
async def office(town: Town) -> AsyncIterator[PostOffice]:
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
        settings = (await client.get(f"{town.cluster.url}/api/settings")).json()
        _name_keys(town, {"sendgrid": settings["sendgrid"]["webhook_public_key"], "mailgun": SIGNING_KEY})
        events = await _serve(town)
        for provider, url in events.items():
            document = {provider: {"webhook_url": url}}
            (await client.put(f"{town.cluster.url}/api/settings", json=document)).raise_for_status()
        client.base_url = httpx.URL(events["sendgrid"]).join("/")
        ledger = open_ledger(Settings.from_env(town.environ))
        yield PostOffice(town, ledger, client)
        await ledger.aclose()


def _name_keys(town: Town, keys: Mapping[str, str]) -> None:
    path = town.folder / "providers.toml"
    text = path.read_text()
    for provider, key in keys.items():
        (town.folder / f"{provider}.webhook").write_text(key)
        kind = f'kind = "{provider}"\n'
        assert kind in text
        text = text.replace(kind, f'{kind}webhook_key = "file:{provider}.webhook"\n')
    path.write_text(text)


async def _serve(town: Town) -> dict[str, str]:
    arguments = ("serve", "--port", "0", "--json")
    process = await town.cluster._start("serve", *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 20.0)
    assert line, (town.folder / "serve.log").read_text()
    events: dict[str, str] = orjson.loads(line)["events"]
    return events


async def test_every_mail_is_known_to_be_delivered(office: PostOffice) -> None:
    """Sent once each, and each told of by its provider."""
    await office.town.cluster.start_worker("worker-1")
    await office.town.publish(MAILS)

    await wait_until(office.are_delivered, within=60.0, every=0.2)

    entries = [entry for entry in await office.entries() if entry]
    assert {entry.state for entry in entries} == {State.SENT}
    assert not [note for entry in entries for note in entry.history if note.event == "accepted again"]
    assert await office.copies() == {"total": MAILS, "distinct": MAILS}
    assert b"@" not in (office.town.folder / "serve.log").read_bytes()


@pytest.mark.parametrize("provider", ["sendgrid", "mailgun"])
async def test_an_event_that_comes_before_the_answer_is_no_second_copy(office: PostOffice, provider: str) -> None:
    """The provider tells of the mail at once, and answers the request that brought it a second later."""
    await office.use_only(provider)
    await office.town.cluster.set_fault(provider, [{"kind": "slow", "seconds": 1.0}])
    await office.town.cluster.start_worker("worker-1")
    await office.town.publish(3)

    await wait_until(lambda: len(office.marked()) == 3, within=60.0, every=0.2)
    assert await office.town.cluster.stop("worker-1") == 0

    entries = [entry for entry in await office.entries(3) if entry]
    assert [entry.state for entry in entries] == [State.SENT] * 3
    for entry in entries:
        assert _deeds(entry) == ["claimed", "sent"]
        assert "its event" in entry.history[-1].detail
        assert entry.message_id
    assert await office.copies() == {"total": 3, "distinct": 3}


@pytest.mark.parametrize("provider", ["sendgrid", "mailgun"])
async def test_a_doubt_is_settled_by_the_event_without_any_look_up(office: PostOffice, provider: str) -> None:
    """The provider takes the mail and never answers; look-ups fail, the event says that it was taken."""
    await office.use_only(provider)
    hang = {"kind": "hang", "seconds": 30, "only": "send"}
    await office.town.cluster.set_fault(provider, [hang, {"kind": "status", "status": 500, "only": "lookup"}])
    document = {provider: {"event_delay": 4.0}}
    await office.client.put(f"{office.town.cluster.url}/api/settings", json=document)
    await office.town.cluster.start_worker("worker-1")
    await office.town.publish(1)

    for state in (State.IN_DOUBT, State.SENT):
        await wait_until(lambda state=state: office.is_in("mail-0", state), within=30.0, every=0.1)  # type: ignore[misc]

    [entry] = await office.entries(1)
    assert entry is not None
    assert _deeds(entry) == ["claimed", "in doubt", "sent"]
    assert "its event" in entry.history[-1].detail
    assert await office.copies() == {"total": 1, "distinct": 1}


async def test_a_bounce_keeps_the_next_mail_to_that_address_from_being_sent(office: PostOffice) -> None:
    await office.use_only("mailgun")
    await office.town.cluster.start_worker("worker-1")
    await office.town.publish(1)
    await wait_until(lambda: office.are_delivered(1), within=60.0, every=0.2)
    assert await office.town.cluster.stop("worker-1") == 0
    bounce = Told(EventKind.BOUNCED, "mail-0", "customer0@example.org", is_permanent=True, at=time.time())
    post = MailgunSender(SIGNING_KEY).sign(mailgun_event(bounce), at=time.time())

    answer = await office.client.post("/v1/events/mailgun", content=post.body)

    assert answer.json()["noted"] == 1
    await office.town.cluster.start_worker("worker-2")
    again = office.town.folder / "again.json"
    again.write_bytes(orjson.dumps({**mail(0), "id": "mail-1"}))
    await office.town.run("publish", str(again))
    await wait_until(lambda: office.is_in("mail-1", State.REFUSED), within=60.0, every=0.2)
    assert await office.copies() == {"total": 1, "distinct": 1}
    shown = orjson.loads(await office.town.run("show", "--json", "mail-0"))
    assert "bounced" in {line["event"] for line in shown["history"]}
    assert shown["state"] == "sent"


def _deeds(entry: Entry) -> list[str]:
    """Return what was done with a mail, but for its way to the provider that took it."""
    return [note.event for note in entry.history if note.event != "failed over"]
