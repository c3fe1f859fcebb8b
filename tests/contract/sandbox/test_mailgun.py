"""The imitated Mailgun over HTTP: keys, domains, forms, the events look-up."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from postman.sandbox import Sandbox, SandboxSettings

SEND = "/v3/mg.example.org/messages"
EVENTS = "/v3/mg.example.org/events"
Make = Callable[..., dict[str, str]]


@pytest.mark.parametrize("files", [None, {"attachment": ("a.txt", b"abc", "text/plain")}])
async def test_both_kinds_of_form_are_queued(
    mailgun: httpx.AsyncClient, sandbox: Sandbox, form: Make, files: dict[str, Any] | None
) -> None:
    answer = await mailgun.post(SEND, data=form(), files=files)

    assert answer.status_code == 200
    assert answer.json() == {"id": "<m-1@mg.example.org>", "message": "Queued. Thank you."}
    [mail] = sandbox.store.newest_first()
    assert mail.draft.mail_id == "m-1"
    assert len(mail.draft.body.attachments) == (0 if files is None else 1)


async def test_without_a_message_id_of_the_sender_mailgun_gives_one(mailgun: httpx.AsyncClient, form: Make) -> None:
    fields = form()
    del fields["h:Message-Id"]

    ids = {(await mailgun.post(SEND, data=fields)).json()["id"] for _ in range(2)}

    assert len(ids) == 2
    assert all(each.startswith("<") and each.endswith("@mg.example.org>") for each in ids)


async def test_attachments_keep_name_type_and_bytes_and_those_without_a_name_vanish(
    mailgun: httpx.AsyncClient, sandbox: Sandbox, form: Make
) -> None:
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n%s\r\n%s\r\n' % part
        for part in [
            *((name.encode(), b"", b"", value.encode()) for name, value in form().items()),
            (b"attachment", '; filename="grüße.bin"'.encode(), b"Content-Type: application/x-a\r\n", b"\x00\r\n\xff"),
            (b"inline", b'; filename="logo.png"', b"Content-Type: image/png\r\n", b"png"),
            (b"attachment", b"", b"Content-Type: text/plain\r\n", b"nameless"),
            (b"attachment", b'; filename=""', b"Content-Type: text/plain\r\n", b"nameless"),
        ]
    )
    answer = await mailgun.post(
        SEND, content=body + b"--b--\r\n", headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert answer.status_code == 200
    [mail] = sandbox.store.newest_first()
    file, picture = mail.draft.body.attachments
    assert (file.filename, file.content_type, file.content, file.inline) == (
        "grüße.bin",
        "application/x-a",
        b"\x00\r\n\xff",
        False,
    )
    assert (picture.content_id, picture.inline) == ("logo.png", True)


async def test_a_form_cut_short_is_malformed(mailgun: httpx.AsyncClient, sandbox: Sandbox) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await mailgun.post(
        SEND, content=b'--b\r\nContent-Disposition: form-data; name="to"\r\n\r\nx', headers=headers
    )

    assert (answer.status_code, answer.json()["message"]) == (400, "malformed multipart/form-data request")
    assert len(sandbox.store) == 0


@pytest.mark.parametrize("auth", [None, ("api", "other"), ("user", "key-sandbox")])
async def test_another_key_is_answered_with_401_and_plain_text(
    client: httpx.AsyncClient, sandbox: Sandbox, form: Make, auth: tuple[str, str] | None
) -> None:
    for method, path in (("POST", SEND), ("GET", EVENTS)):
        answer = await client.request(
            method, sandbox.mailgun_url + path, data=form() if method == "POST" else None, auth=auth
        )

        assert (answer.status_code, answer.text) == (401, "Forbidden")
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert len(sandbox.store) == 0


async def test_an_unknown_domain_is_not_found(mailgun: httpx.AsyncClient, form: Make) -> None:
    answer = await mailgun.post("/v3/other.example/messages", data=form())

    assert (answer.status_code, answer.json()) == (404, {"message": "Domain not found: other.example"})


async def test_a_star_accepts_any_domain(client: httpx.AsyncClient, form: Make) -> None:
    async with Sandbox(SandboxSettings(mailgun_domains=("*",))) as sandbox:
        answer = await client.post(
            f"{sandbox.mailgun_url}/v3/other.example/messages", data=form(), auth=("api", "key-sandbox")
        )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v3/mg/example.org/messages",
        "/v3/mg%2Fexample.org/messages",
        "/v3/messages",
        "/v4/mg.example.org/messages",
    ],
)
async def test_a_wrong_path_is_greeted_with_200(
    client: httpx.AsyncClient, sandbox: Sandbox, form: Make, path: str
) -> None:
    answer = await client.post(sandbox.mailgun_url + path, data=form())

    assert (answer.status_code, answer.text) == (200, "Mailgun Magnificent API")
    assert len(sandbox.store) == 0


async def test_a_request_above_the_limit_is_too_large(mailgun: httpx.AsyncClient, sandbox: Sandbox) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(53):
            yield b"x" * 1024 * 1024

    answer = await mailgun.post(SEND, content=pieces())

    assert (answer.status_code, answer.json()) == (413, {"message": "request size exceeds 52.4MiB limit"})


async def test_the_events_show_a_mail_by_its_message_id(
    mailgun: httpx.AsyncClient, form: Make, clock: Callable[[], float]
) -> None:
    await mailgun.post(SEND, data=form("m-1"))
    await mailgun.post(SEND, data=form("m-2", to="Bob <bob@example.com>"))

    answer = await mailgun.get(EVENTS, params={"event": "accepted OR rejected", "message-id": "m-2@mg.example.org"})

    [item] = answer.json()["items"]
    assert (item["event"], item["recipient"], item["timestamp"]) == ("accepted", "bob@example.com", clock())
    assert item["message"]["headers"]["message-id"] == "m-2@mg.example.org"
    assert item["user-variables"] == {"mail_id": "m-2"}
    assert item["id"]


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({}, 6),
        ({"event": "delivered"}, 3),
        ({"event": "accepted OR delivered"}, 6),
        ({"event": "failed"}, 0),
        ({"recipient": "bob@example.com"}, 2),
        ({"recipient": "bob@example.com", "event": "accepted"}, 1),
        ({"message-id": "<m-2@mg.example.org>"}, 4),
        ({"message-id": "m-9@mg.example.org"}, 0),
        ({"from": "shop@example.org", "subject": "receipt"}, 6),
        ({"tags": "other"}, 0),
        ({"begin": "1799999999", "end": "1800000001"}, 6),
        ({"begin": "1800000001", "ascending": "yes"}, 0),
        ({"begin": "Fri, 15 Jan 2027 07:59:00 -0000", "ascending": "yes"}, 6),
        ({"end": "1799999999"}, 0),
    ],
)
async def test_the_events_are_filtered(
    mailgun: httpx.AsyncClient, form: Make, params: dict[str, str], count: int
) -> None:
    await mailgun.post(SEND, data=form("m-1"))
    await mailgun.post(SEND, data=form("m-2", to="bob@example.com, eve@example.com"))

    answer = await mailgun.get(EVENTS, params=params)

    assert answer.status_code == 200
    assert len(answer.json()["items"]) == count


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "301"},
        {"limit": "0"},
        {"limit": "x"},
        {"begin": "1"},
        {"begin": "soon", "ascending": "yes"},
        {"ascending": "up"},
        {"v:mail_id": "m-1"},
    ],
)
async def test_a_wrong_question_is_answered_with_400(mailgun: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await mailgun.get(EVENTS, params=params)

    assert answer.status_code == 400
    assert answer.json()["message"]


async def test_pages_follow_one_another_until_an_empty_one(mailgun: httpx.AsyncClient, form: Make) -> None:
    for number in range(5):
        await mailgun.post(SEND, data=form(f"m-{number}"))

    seen: list[str] = []
    page = (await mailgun.get(EVENTS, params={"event": "accepted", "limit": "2", "ascending": "yes"})).json()
    while page["items"]:
        seen.extend(item["user-variables"]["mail_id"] for item in page["items"])
        page = (await mailgun.get(page["paging"]["next"])).json()

    assert seen == ["m-0", "m-1", "m-2", "m-3", "m-4"]


async def test_an_invented_page_is_answered_with_400(mailgun: httpx.AsyncClient) -> None:
    assert (await mailgun.get(f"{EVENTS}/W3siYSI6")).status_code == 400


async def test_events_are_those_of_the_domain(client: httpx.AsyncClient, form: Make) -> None:
    auth = ("api", "key-sandbox")
    async with Sandbox(SandboxSettings(mailgun_domains=("a.example", "b.example"))) as sandbox:
        await client.post(f"{sandbox.mailgun_url}/v3/a.example/messages", data=form(), auth=auth)
        answers = [await client.get(f"{sandbox.mailgun_url}/v3/{name}.example/events", auth=auth) for name in "ab"]

    assert [len(answer.json()["items"]) for answer in answers] == [2, 0]
