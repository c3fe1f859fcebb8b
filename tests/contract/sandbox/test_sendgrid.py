"""The imitated SendGrid over HTTP: keys, types, sizes, look-ups."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from postman.sandbox import Sandbox

SEND = "/v3/mail/send"
Make = Callable[..., dict[str, Any]]


async def test_an_accepted_mail_is_answered_with_202_an_id_and_nothing_else(
    sendgrid: httpx.AsyncClient, sandbox: Sandbox, document: Make
) -> None:
    answer = await sendgrid.post(SEND, json=document())

    assert (answer.status_code, answer.content) == (202, b"")
    [mail] = sandbox.store.newest_first()
    assert answer.headers["X-Message-Id"] == mail.draft.message_id
    assert "." not in mail.draft.message_id


async def test_a_refused_mail_is_not_stored(sendgrid: httpx.AsyncClient, sandbox: Sandbox, document: Make) -> None:
    answer = await sendgrid.post(SEND, json=document(to="nobody"))

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "personalizations.0.to.0.email"
    assert len(sandbox.store) == 0


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer SG.other", "Basic SG.sandbox", "SG.sandbox"])
async def test_another_key_is_answered_with_401(
    client: httpx.AsyncClient, sandbox: Sandbox, document: Make, authorization: str
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = await client.post(sandbox.sendgrid_url + SEND, json=document(), headers=headers)

    assert answer.status_code == 401
    message = "The provided authorization grant is invalid, expired, or revoked"
    assert answer.json() == {"errors": [{"message": message, "field": None, "help": None}]}
    assert len(sandbox.store) == 0


@pytest.mark.parametrize(
    ("method", "path", "content_type", "status"),
    [
        ("POST", SEND, "text/plain", 415),
        ("POST", SEND, "", 415),
        ("POST", SEND, "application/json; charset=utf-8", 400),
        ("GET", SEND, "application/json", 405),
        ("POST", "/v3/mail/sent", "application/json", 404),
        ("DELETE", "/v3/messages", "application/json", 405),
    ],
)
async def test_wrong_requests_are_answered_as_json(
    sendgrid: httpx.AsyncClient, method: str, path: str, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await sendgrid.request(method, path, content=b"{", headers=headers)

    assert answer.status_code == status
    assert answer.json()["errors"][0]["message"]


async def test_a_request_above_30_mb_is_too_large_with_and_without_an_announced_length(
    sendgrid: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    size = 30 * 1024 * 1024 + 1
    announced = await sendgrid.post(SEND, content=b" " * size, headers={"Content-Type": "application/json"})
    assert announced.status_code == 413

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(31):
            yield b" " * 1024 * 1024

    streamed = await sendgrid.post(SEND, content=pieces(), headers={"Content-Type": "application/json"})
    assert streamed.status_code == 413
    assert len(sandbox.store) == 0


@pytest.mark.parametrize(
    "query",
    [
        "unique_args['mail_id']=\"m-2\"",
        "(unique_args['mail_id']=\"m-2\")",
        'unique_args="m-2"',
        'to_email="BOB@example.com"',
        "to_email='bob@example.com' AND subject='Receipt' AND status='delivered'",
        'from_email = "shop@example.org" AND to_email LIKE "bob%"',
        'unique_args[\'mail_id\']="m-2" AND last_event_time > TIMESTAMP "2026-01-01T00:00:00Z"',
    ],
)
async def test_the_activity_feed_finds_a_mail(sendgrid: httpx.AsyncClient, document: Make, query: str) -> None:
    await sendgrid.post(SEND, json=document("m-1"))
    sent = await sendgrid.post(SEND, json=document("m-2", to="bob@example.com"))

    answer = await sendgrid.get("/v3/messages", params={"query": query, "limit": "10"})

    [message] = answer.json()["messages"]
    assert message["msg_id"].partition(".")[0] == sent.headers["X-Message-Id"]
    assert (message["to_email"], message["subject"]) == ("bob@example.com", "Receipt")


async def test_the_activity_feed_finds_a_mail_by_the_id_of_its_request(
    sendgrid: httpx.AsyncClient, document: Make
) -> None:
    await sendgrid.post(SEND, json=document("m-1"))
    sent = await sendgrid.post(SEND, json=document("m-2"))

    answer = await sendgrid.get("/v3/messages", params={"query": f'msg_id LIKE "{sent.headers["X-Message-Id"]}%"'})
    [message] = answer.json()["messages"]
    exact = await sendgrid.get("/v3/messages", params={"query": f'msg_id="{message["msg_id"]}"'})

    assert exact.json()["messages"] == [message]


@pytest.mark.parametrize(
    "query", ["unique_args['mail_id']=\"m-9\"", "unique_args['other']=\"m-1\"", 'to_email="x@example.com"']
)
async def test_the_activity_feed_has_no_messages_for_what_was_not_sent(
    sendgrid: httpx.AsyncClient, document: Make, query: str
) -> None:
    await sendgrid.post(SEND, json=document("m-1"))

    answer = await sendgrid.get("/v3/messages", params={"query": query})

    assert (answer.status_code, answer.json()) == (200, {"messages": []})


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"query": ""},
        {"query": 'bad_field="x"'},
        {"query": 'subject="x"', "limit": "0"},
        {"query": 'subject="x"', "limit": "1001"},
    ],
)
async def test_a_wrong_question_is_answered_with_400(sendgrid: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await sendgrid.get("/v3/messages", params=params)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"]


async def test_every_recipient_has_a_row_and_the_limit_is_kept(sendgrid: httpx.AsyncClient, document: Make) -> None:
    people = [{"email": f"p{number}@example.com"} for number in range(12)]
    await sendgrid.post(SEND, json=document(personalizations=[{"to": people}]))
    query = {"query": 'subject="Receipt"'}

    few = (await sendgrid.get("/v3/messages", params=query)).json()["messages"]
    all_of_them = (await sendgrid.get("/v3/messages", params={**query, "limit": "1000"})).json()["messages"]

    assert (len(few), len(all_of_them)) == (10, 12)
    assert len({message["msg_id"] for message in all_of_them}) == 12


async def test_the_logs_find_a_mail_and_show_its_custom_arguments(sendgrid: httpx.AsyncClient, document: Make) -> None:
    await sendgrid.post(SEND, json=document("m-1", to="bob@example.com"))
    query = 'to_email="bob@example.com" AND sg_message_id_created_at > TIMESTAMP "2026-01-01T00:00:00Z"'

    found = await sendgrid.post("/v3/logs", json={"query": query, "limit": 5})
    [message] = found.json()["messages"]
    detail = await sendgrid.get(f"/v3/logs/{message['sg_message_id']}")

    assert detail.json()["custom_args"] == {"mail_id": "m-1"}
    assert [event["event"] for event in detail.json()["events"]] == ["processed", "delivered"]


async def test_the_logs_cannot_be_asked_for_custom_arguments(sendgrid: httpx.AsyncClient) -> None:
    answer = await sendgrid.post("/v3/logs", json={"query": "unique_args='m-1'"})

    assert answer.status_code == 400


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"query": 7}', b'{"limit": 0}', b'{"limit": "x"}'])
async def test_a_wrong_request_to_the_logs_is_answered_with_400(sendgrid: httpx.AsyncClient, body: bytes) -> None:
    assert (await sendgrid.post("/v3/logs", content=body)).status_code == 400


@pytest.mark.parametrize("path", ["/v3/logs/unknown", "/v3/messages/unknown"])
async def test_an_unknown_message_is_not_found(sendgrid: httpx.AsyncClient, path: str) -> None:
    assert (await sendgrid.get(path)).status_code == 404


async def test_look_ups_need_the_key_too(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    assert (await client.get(f"{sandbox.sendgrid_url}/v3/messages")).status_code == 401
