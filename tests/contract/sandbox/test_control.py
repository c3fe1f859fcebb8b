"""The control interface."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from postman.sandbox import Sandbox, SandboxSettings

Make = Callable[..., dict[str, Any]]


async def send(sendgrid: httpx.AsyncClient, document: dict[str, Any]) -> str:
    answer = await sendgrid.post("/v3/mail/send", json=document)
    assert answer.status_code == 202
    return answer.headers["X-Message-Id"]


async def queue(mailgun: httpx.AsyncClient, form: dict[str, str], **more: Any) -> None:
    answer = await mailgun.post("/v3/mg.example.org/messages", data=form, **more)
    assert answer.json()["message"] == "Queued. Thank you."


async def test_it_says_that_it_lives(control: httpx.AsyncClient) -> None:
    assert (await control.get("/healthz")).json() == {"status": "ok"}


async def test_mails_are_counted_and_listed_newest_first(
    control: httpx.AsyncClient,
    sendgrid: httpx.AsyncClient,
    mailgun: httpx.AsyncClient,
    document: Make,
    form: Make,
    clock: Callable[[], float],
) -> None:
    await send(sendgrid, document("m-1"))
    await send(sendgrid, document("m-2"))
    await queue(mailgun, form("m-1"))

    listed = (await control.get("/api/mails")).json()

    assert (listed["total"], listed["distinct"], listed["duplicates"]) == (3, 2, ["m-1"])
    assert listed["by_provider"] == {"sendgrid": 2, "mailgun": 1}
    assert [mail["mail_id"] for mail in listed["mails"]] == ["m-1", "m-2", "m-1"]
    newest = listed["mails"][0]
    assert (newest["provider"], newest["message_id"], newest["accepted_at"]) == (
        "mailgun",
        "<m-1@mg.example.org>",
        clock(),
    )
    assert newest["from"] == {"email": "shop@example.org", "name": "Shop"}
    assert newest["to"] == [{"email": "ann@example.com", "name": ""}]
    assert (newest["subject"], newest["size"] > 0) == ("Receipt", True)


@pytest.mark.parametrize(
    ("query", "ids", "total"),
    [
        ("provider=sendgrid", ["m-3", "m-2", "m-1"], 3),
        ("provider=mailgun", ["m-1"], 1),
        ("mail_id=m-1", ["m-1", "m-1"], 2),
        ("mail_id=m-1&provider=sendgrid", ["m-1"], 1),
        ("mail_id=m-9", [], 0),
        ("limit=1", ["m-1"], 4),
        ("limit=2&offset=1", ["m-3", "m-2"], 4),
        ("limit=0", [], 4),
        ("offset=9", [], 4),
    ],
)
async def test_lists_are_filtered_and_cut(
    control: httpx.AsyncClient,
    sendgrid: httpx.AsyncClient,
    mailgun: httpx.AsyncClient,
    document: Make,
    form: Make,
    query: str,
    ids: list[str],
    total: int,
) -> None:
    for number in range(1, 4):
        await send(sendgrid, document(f"m-{number}"))
    await queue(mailgun, form("m-1"))

    listed = (await control.get(f"/api/mails?{query}")).json()

    assert ([mail["mail_id"] for mail in listed["mails"]], listed["total"]) == (ids, total)


@pytest.mark.parametrize(
    ("query", "field"), [("limit=x", "limit"), ("offset=-1", "offset"), ("provider=ses", "provider")]
)
async def test_a_wrong_filter_is_named(control: httpx.AsyncClient, query: str, field: str) -> None:
    answer = await control.get(f"/api/mails?{query}")

    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_a_whole_mail_is_shown_by_its_providers_id(
    control: httpx.AsyncClient, mailgun: httpx.AsyncClient, form: Make
) -> None:
    for _ in range(2):
        await queue(
            mailgun, form(html="<p>Thanks</p>"), files={"attachment": ("a.bin", b"\x00\xff", "application/x-a")}
        )

    for written in ("<m-1@mg.example.org>", "m-1@mg.example.org"):
        mail = (await control.get(f"/api/mails/mailgun/{quote(written, safe='')}")).json()

        assert (mail["text"], mail["html"], mail["copies"], mail["complete"]) == ("Thanks", "<p>Thanks</p>", 2, True)
        assert mail["headers"] == {"Message-Id": "<m-1@mg.example.org>"}
        [attachment] = mail["attachments"]
        assert (attachment["filename"], attachment["content_type"]) == ("a.bin", "application/x-a")
        assert base64.b64decode(attachment["content"]) == b"\x00\xff"


@pytest.mark.parametrize(
    "path", ["/api/mails/sendgrid/unknown", "/api/mails/ses/x", "/api/faults/ses", "/mails/1", "/mails/1/attachments/0"]
)
async def test_what_is_not_there_is_not_found(control: httpx.AsyncClient, path: str) -> None:
    assert (await control.get(path)).status_code == 404


async def test_old_mails_are_shown_as_incomplete(client: httpx.AsyncClient, document: Make) -> None:
    headers = {"Authorization": "Bearer SG.sandbox"}
    async with Sandbox(SandboxSettings(keep=1)) as sandbox:
        for _ in range(2):
            answer = await client.post(f"{sandbox.sendgrid_url}/v3/mail/send", json=document(), headers=headers)
            sent = answer.headers["X-Message-Id"]
        listed = (await client.get(f"{sandbox.url}/api/mails")).json()["mails"]
        whole = [(await client.get(f"{sandbox.url}/api/mails/sendgrid/{mail['message_id']}")).json() for mail in listed]

    assert listed[0]["message_id"] == sent
    assert [(mail["complete"], mail["text"]) for mail in whole] == [(True, "Thanks"), (False, "")]


async def test_deleting_forgets_mails_and_counts(
    control: httpx.AsyncClient, sendgrid: httpx.AsyncClient, document: Make
) -> None:
    await send(sendgrid, document())

    assert (await control.delete("/api/mails")).status_code == 204

    assert (await control.get("/api/mails")).json()["total"] == 0
    assert (await control.get("/api/stats")).json()["requests"] == 0


async def test_stats_count_requests_answers_and_the_rate(
    control: httpx.AsyncClient,
    sendgrid: httpx.AsyncClient,
    mailgun: httpx.AsyncClient,
    document: Make,
    form: Make,
    clock: Any,
) -> None:
    await send(sendgrid, document("m-1"))
    clock.time += 4
    await queue(mailgun, form("m-1"))
    await sendgrid.post("/v3/mail/send", json={})

    stats = (await control.get("/api/stats")).json()

    assert (stats["requests"], stats["accepted"], stats["distinct"]) == (3, 2, 1)
    assert stats["by_status"] == {"202": 1, "200": 1, "400": 1}
    assert stats["last_at"] - stats["first_at"] == 4
    assert stats["rate"] == 0.25
    assert stats["by_provider"]["sendgrid"] == {"requests": 2, "accepted": 1, "by_status": {"202": 1, "400": 1}}


async def test_settings_change_for_both_or_one(control: httpx.AsyncClient) -> None:
    await control.put("/api/settings", json={"lookup_delay": 3, "mailgun": {"lookup_delay": 5}})

    settings = (await control.get("/api/settings")).json()

    assert (settings["sendgrid"]["lookup_delay"], settings["mailgun"]["lookup_delay"]) == (3, 5)
    assert settings["mailgun"]["domains"] == ["mg.example.org"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"lookup_delay": -1}, "lookup_delay"),
        ({"sendgrid": {"lookup_delay": "x"}}, "lookup_delay"),
        ({"sendgrid": 7}, "sendgrid"),
        ({"ses": {}}, "ses"),
        ([], "settings"),
    ],
)
async def test_wrong_settings_are_named_and_nothing_is_changed(
    control: httpx.AsyncClient, body: object, field: str
) -> None:
    before = (await control.get("/api/settings")).json()

    answer = await control.put("/api/settings", json=body)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await control.get("/api/settings")).json() == before


async def test_no_key_is_shown(control: httpx.AsyncClient) -> None:
    answers = [await control.get(path) for path in ("/api/settings", "/", "/api/stats")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    shown = "".join(answer.text for answer in answers)
    assert not any(key in shown for key in ("SG.sandbox", "key-sandbox"))


async def test_look_ups_see_a_mail_only_after_the_delay(
    control: httpx.AsyncClient,
    sendgrid: httpx.AsyncClient,
    mailgun: httpx.AsyncClient,
    document: Make,
    form: Make,
    clock: Any,
) -> None:
    await control.put("/api/settings", json={"sendgrid": {"lookup_delay": 10}, "mailgun": {"lookup_delay": 20}})
    await send(sendgrid, document())
    await queue(mailgun, form())

    async def seen() -> list[int]:
        activity = await sendgrid.get("/v3/messages", params={"query": "unique_args['mail_id']=\"m-1\""})
        logs = await sendgrid.post("/v3/logs", json={"query": 'to_email="ann@example.com"'})
        events = await mailgun.get("/v3/mg.example.org/events", params={"event": "accepted"})
        return [len(activity.json()["messages"]), len(logs.json()["messages"]), len(events.json()["items"])]

    found = [await seen()]
    for step in (9.9, 0.2, 10):
        clock.time += step
        found.append(await seen())

    assert found == [[0, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1]]


async def test_one_fault_is_added_and_several_replace_all(control: httpx.AsyncClient) -> None:
    path = "/api/faults/sendgrid"
    await control.put(path, json={"kind": "down", "only": "send"})
    added = (await control.put(path, json={"kind": "slow", "seconds": 0.1})).json()
    assert [fault["kind"] for fault in added["faults"]] == ["down", "slow"]

    await control.put(path, json={"faults": [{"kind": "reset", "rate": 0.5}]})
    assert (await control.get(path)).json() == {"provider": "sendgrid", "faults": [{"kind": "reset", "rate": 0.5}]}
    assert (await control.get("/api/faults")).json()["mailgun"] == []


async def test_faults_are_cleared_by_kind_provider_and_all(control: httpx.AsyncClient) -> None:
    for provider in ("sendgrid", "mailgun"):
        await control.put(f"/api/faults/{provider}", json=[{"kind": "down"}, {"kind": "reset"}])

    await control.delete("/api/faults/sendgrid?kind=down")
    assert [fault["kind"] for fault in (await control.get("/api/faults/sendgrid")).json()["faults"]] == ["reset"]

    await control.delete("/api/faults/sendgrid")
    left = (await control.get("/api/faults")).json()
    assert (len(left["sendgrid"]), len(left["mailgun"])) == (0, 2)

    await control.delete("/api/faults")
    assert (await control.get("/api/faults")).json() == {"sendgrid": [], "mailgun": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"kind": "down", "rate": 2}', "rate"),
        (b'{"kind": "refuse", "rate": 0.5}', "rate"),
        (b'{"kind": "nap"}', "kind"),
        (b'{"faults": 1}', "faults"),
        (b'{"faults": [{"kind": "slow"}]}', "seconds"),
        (b"{", ""),
    ],
)
async def test_a_wrong_fault_is_answered_with_422_and_its_field(
    control: httpx.AsyncClient, body: bytes, field: str
) -> None:
    answer = await control.put("/api/faults/sendgrid", content=body)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await control.get("/api/faults/sendgrid")).json()["faults"] == []


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/api/faults/sendgrid"), ("DELETE", "/api/mails"), ("POST", "/faults/sendgrid")]
)
async def test_another_site_may_change_nothing(
    control: httpx.AsyncClient, headers: dict[str, str], method: str, path: str
) -> None:
    answer = await control.request(method, path, headers=headers, content=b'{"kind": "down"}')

    assert answer.status_code == 403
    assert (await control.get("/api/faults")).json()["sendgrid"] == []


async def test_its_own_page_may_change_faults(control: httpx.AsyncClient, sandbox: Sandbox) -> None:
    answer = await control.put("/api/faults/sendgrid", json={"kind": "down"}, headers={"Origin": sandbox.url})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost:8025", 200), ("[::1]:8025", 200)],
)
async def test_the_host_must_be_this_machine(control: httpx.AsyncClient, host: str, status: int) -> None:
    assert (await control.get("/api/mails", headers={"Host": host})).status_code == status


async def test_remote_hosts_are_let_in_where_that_was_asked_for(client: httpx.AsyncClient) -> None:
    async with Sandbox(SandboxSettings(allow_remote=True)) as sandbox:
        answer = await client.get(f"{sandbox.url}/healthz", headers={"Host": "sandbox.example"})

    assert answer.status_code == 200
