"""`POST /v1/events/{provider}` over real connections."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import orjson
import pytest
from structlog.testing import capture_logs

from postman.core.entry import State
from postman.core.events import EventKind, address_key
from postman.core.ids import MailId
from postman.entrypoints.serve.intake import Places
from postman.entrypoints.serve.running import Listening, listen
from postman.errors import ConfigError
from postman.testing.events import NOW, Signed, Told
from postman.testing.waiting import wait_until
from tests.contract.event_posts import SIGNATURE
from tests.contract.serve.conftest import Office

DELIVERED = Told(EventKind.DELIVERED)


async def test_a_provider_s_event_is_noted_before_the_answer(office: Office) -> None:
    await office.sending("m-1")
    [post] = office.sendgrid.post(DELIVERED, Told(EventKind.DELIVERED, mail_id="unknown"))

    answer = await office.take("sendgrid", post)

    assert (answer.status_code, answer.json()) == (200, {"noted": 1, "unknown": 1, "unread": 0, "repeated": 0})
    assert (await office.entry("m-1")).state is State.SENT


async def test_a_complaint_at_mailgun_suppresses_the_address(office: Office) -> None:
    await office.sending("m-1", "mailgun")
    [post] = office.mailgun.post(Told(EventKind.COMPLAINED))

    assert (await office.take("mailgun", post)).status_code == 200
    assert (await office.take("mailgun", post)).json()["repeated"] == 1

    assert await office.suppressions.find(address_key(DELIVERED.recipient))


@pytest.mark.parametrize("provider", ["sendgrid", "mailgun"])
async def test_every_forged_post_gets_the_same_answer_and_changes_nothing(office: Office, provider: str) -> None:
    """Whoever tries learns nothing from it; a provider whose key is wrong here tries again."""
    await office.sending("m-1", provider)
    sender = office.sendgrid if provider == "sendgrid" else office.mailgun
    [genuine], [old] = sender.post(DELIVERED), sender.post(DELIVERED, at=NOW - 90_000)
    [foreign] = sender.with_other_key().post(DELIVERED)
    posts = [foreign, old, Signed({}, b"[]"), Signed(genuine.headers, b"{}"), Signed({}, b"")]

    answers = [await office.take(provider, post) for post in posts]

    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert (await office.entry("m-1")).state is State.SENDING


async def test_a_signature_that_comes_twice_is_forged(office: Office) -> None:
    [post] = office.sendgrid.post(DELIVERED)
    headers = [*post.headers.items(), (SIGNATURE, post.headers[SIGNATURE])]

    answer = await office.client.post(f"{office.url}/v1/events/sendgrid", content=post.body, headers=headers)

    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/v1/events/ses", "/v1/events/", "/v1/events/sendgrid/x", "/v1/events", "/"])
async def test_what_is_not_there_is_not_found(office: Office, path: str) -> None:
    """A provider that is not known, and one without a key."""
    [post] = office.sendgrid.post(DELIVERED)

    answer = await office.client.post(office.url + path, content=post.body, headers=post.headers)

    assert (answer.status_code, answer.json()["status"]) == (404, 404)


async def test_only_posts_are_taken(office: Office) -> None:
    answer = await office.client.get(f"{office.url}/v1/events/sendgrid")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_ledger_that_is_away_makes_the_provider_come_again(office: Office) -> None:
    await office.sending("m-1")
    [post] = office.sendgrid.post(DELIVERED)
    office.ledger.failures["before"] = 1

    away = await office.take("sendgrid", post)
    again = await office.take("sendgrid", post)

    assert (away.status_code, again.status_code) == (503, 200)
    assert int(away.headers["retry-after"]) > 0


async def test_a_body_beyond_the_limit_is_refused_however_it_comes(office: Office) -> None:
    """With its length, with a wrong one, and without any."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 11_000

    url = f"{office.url}/v1/events/mailgun"
    answers = [
        await office.client.post(url, content=b"x" * 1_048_577),
        await office.client.post(url, content=pieces()),
    ]

    assert [answer.status_code for answer in answers] == [413, 413]


async def test_a_huge_announced_body_is_refused_before_it_is_read(office: Office) -> None:
    head = b"POST /v1/events/sendgrid HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000000\r\n\r\n"

    assert b" 413 " in await _answer_to(office, head)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_a_packed_body_is_not_unpacked(office: Office, encoding: str) -> None:
    [post] = office.sendgrid.post(DELIVERED)
    packed = Signed(post.headers, gzip.compress(post.body))

    answer = await office.take("sendgrid", packed, **{"Content-Encoding": encoding})

    assert answer.status_code == 415


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n",
        b"Content-Length: two\r\n\r\n[]",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_a_damaged_request_is_the_sender_s_fault(office: Office, rest: bytes) -> None:
    head = b"POST /v1/events/sendgrid HTTP/1.1\r\nHost: x\r\n"

    assert b" 400 " in await _answer_to(office, head + rest)
    assert (await office.client.get(f"{office.url}/healthz")).json() == {"status": "ok"}


async def test_who_leaves_in_the_middle_gives_the_place_back(office: Office) -> None:
    head = b"POST /v1/events/sendgrid HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[]"
    for _ in range(5):
        _, writer = await asyncio.open_connection(*office.address)
        writer.write(head)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    [post] = office.sendgrid.post(DELIVERED)

    async def is_taken() -> bool:
        return (await office.take("sendgrid", post)).status_code == 200

    assert await wait_until(is_taken, within=5.0)


async def test_a_body_that_does_not_come_is_not_waited_for(office: Office) -> None:
    parts = replace(office.parts(), body_within=0.2)
    head = b"POST /v1/events/sendgrid HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[]"
    async with listen(parts, Listening("127.0.0.1", 0), 1.0) as office.url:
        assert b" 408 " in await _answer_to(office, head)


async def test_more_posts_than_there_is_room_for_are_put_off(office: Office) -> None:
    """While one is dealt with another is told to come again, and is taken when that is done."""
    places = Places(1, 3_000_000)
    parts = replace(office.parts(), event_places=places)
    [post] = office.sendgrid.post(DELIVERED)
    async with listen(parts, Listening("127.0.0.1", 0), 1.0) as office.url:
        with places.one():
            answer = await office.take("sendgrid", post)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await office.take("sendgrid", post)).status_code == 200


async def test_bodies_take_no_more_memory_than_they_may(office: Office) -> None:
    """Few large ones are as much as many small ones; a small one finds room beside them."""
    parts = replace(office.parts(), event_places=Places(100, 3_000_000))
    head = b"POST /v1/events/sendgrid HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n"
    [small], [large] = office.sendgrid.post(DELIVERED), office.sendgrid.post(*[DELIVERED] * 6_000)
    assert len(large.body) > 1_000_000

    async with listen(parts, Listening("127.0.0.1", 0), 1.0) as office.url:
        _, writer = await asyncio.open_connection(*office.address)
        writer.write(head + b"x" * 1_999_999)
        await writer.drain()

        async def is_put_off() -> bool:
            return (await office.take("sendgrid", large)).status_code == 503

        await wait_until(is_put_off, within=5.0)
        assert (await office.take("sendgrid", small)).status_code == 200
        writer.close()


async def test_who_only_announces_a_body_keeps_nobody_away(office: Office) -> None:
    parts = replace(office.parts(), event_places=Places(1, 3_000_000))
    head = b"POST /v1/events/sendgrid HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n"
    [small] = office.sendgrid.post(DELIVERED)

    async with listen(parts, Listening("127.0.0.1", 0), 1.0) as office.url:
        streams = [await asyncio.open_connection(*office.address) for _ in range(20)]
        for _, writer in streams:
            writer.write(head)
            await writer.drain()
        assert (await office.take("sendgrid", small)).status_code == 200
        for _, writer in streams:
            writer.close()


async def test_a_flood_of_events_loses_none(office: Office) -> None:
    """What is put off comes again, as a provider would; nothing is noted twice."""
    mails = [f"m-{number}" for number in range(100)]
    for mail_id in mails:
        await office.sending(mail_id)
    posts = [office.sendgrid.post(Told(EventKind.DELIVERED, mail_id=mail_id))[0] for mail_id in mails]

    async def insist(post: Signed) -> int:
        tries = 1
        while (await office.take("sendgrid", post)).status_code != 200:
            tries += 1
            await asyncio.sleep(0.05)
        return tries

    tries = await asyncio.gather(*(insist(post) for post in posts))

    entries = [await office.entry(mail_id) for mail_id in mails]
    assert {entry.state for entry in entries} == {State.SENT}
    assert {len(entry.events) for entry in entries} == {1}
    assert max(tries) > 1


async def test_logs_hold_neither_address_nor_signature_nor_body(office: Office) -> None:
    await office.sending("m-1")
    [bounce] = office.sendgrid.post(Told(EventKind.BOUNCED, is_permanent=True))
    [forged] = office.sendgrid.with_other_key().post(Told(EventKind.COMPLAINED))
    [seal] = office.mailgun.with_other_key().post(Told(EventKind.COMPLAINED))

    with capture_logs() as logs:
        answers = [
            await office.take("sendgrid", bounce),
            await office.take("sendgrid", forged),
            await office.take("mailgun", seal),
        ]

    shown = repr(logs) + "".join(answer.text for answer in answers)
    assert "event_post_refused" in {line["event"] for line in logs}
    assert "hidden" not in shown
    assert not any(value in shown for value in _secrets(bounce, forged, seal))


async def test_an_unforeseen_fault_is_logged_without_its_words(office: Office) -> None:
    """And answered with 500, so that the provider comes again."""

    async def fail(_mail_id: MailId, _transition: object) -> object:
        raise RuntimeError(f"what a library might say of {DELIVERED.recipient}")

    office.ledger._apply = fail  # type: ignore[method-assign,assignment]
    [post] = office.sendgrid.post(DELIVERED)

    with capture_logs() as logs:
        answer = await office.take("sendgrid", post)

    assert answer.status_code == 500
    assert [line["event"] for line in logs] == ["request_failed"]
    assert "hidden" not in repr(logs) + answer.text


async def test_what_is_under_way_is_finished_before_the_end() -> None:
    """The listening ends at once, the answer is still given."""
    office = Office()
    office.may_go_on.clear()
    async with office.client:
        serving = listen(office.parts(), Listening("127.0.0.1", 0), 5.0)
        office.url = await serving.__aenter__()
        mail = {"from": {"email": "a@example.org"}, "to": [{"email": "b@example.org"}], "text": "t"}
        asking = asyncio.ensure_future(office.client.post(f"{office.url}/v1/mails", json=mail))
        await asyncio.wait_for(office.has_begun.wait(), 5.0)
        ending = asyncio.ensure_future(serving.__aexit__(None, None, None))
        await wait_until(lambda: _is_closed(office.address), within=3.0)
        assert not asking.done()
        office.may_go_on.set()

        assert (await asking).status_code == 202
        await ending


async def test_a_port_in_use_is_named(office: Office) -> None:
    host, port = office.address

    with pytest.raises(ConfigError, match=f"port {port} on {host} cannot be used"):
        async with listen(office.parts(), Listening(host, port), 1.0):
            pass


async def _is_closed(address: tuple[str, int]) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except ConnectionError:
        return True
    writer.close()
    return False


async def _answer_to(office: Office, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*office.address)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.readline(), 5.0)
    writer.close()
    return answer


def _secrets(*posts: Signed) -> Sequence[str]:
    found = [value for post in posts for name, value in post.headers.items() if name == SIGNATURE]
    for post in posts:
        document = orjson.loads(post.body)
        if isinstance(document, dict):
            found += [document["signature"]["signature"], document["signature"]["token"]]
    return found
