"""Every fault, over real connections."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from postman.errors import ConfigError
from postman.sandbox import Fault, FaultKind, ProviderName, Sandbox, SandboxSettings, Traffic
from postman.testing.waiting import wait_until

Make = Callable[..., dict[str, Any]]
Send = Callable[[], Any]
BOTH = list(ProviderName)


@pytest.fixture
def senders(sendgrid: httpx.AsyncClient, mailgun: httpx.AsyncClient, document: Make, form: Make) -> dict[str, Send]:
    """Sends one mail through the provider of that name."""
    return {
        "sendgrid": lambda: sendgrid.post("/v3/mail/send", json=document()),
        "mailgun": lambda: mailgun.post("/v3/mg.example.org/messages", data=form()),
    }


@pytest.fixture
def askers(sendgrid: httpx.AsyncClient, mailgun: httpx.AsyncClient) -> dict[str, Send]:
    """Asks the provider of that name for the mail."""
    query = {"query": "unique_args['mail_id']=\"m-1\""}
    return {
        "sendgrid": lambda: sendgrid.get("/v3/messages", params=query),
        "mailgun": lambda: mailgun.get("/v3/mg.example.org/events", params={"message-id": "m-1@mg.example.org"}),
    }


def is_success(provider: str, answer: httpx.Response) -> bool:
    if provider == "sendgrid":
        return answer.status_code == 202 and "X-Message-Id" in answer.headers
    return answer.status_code == 200 and answer.text.startswith('{"id"')


@pytest.mark.parametrize("provider", BOTH)
async def test_down_answers_503_in_the_providers_form_and_takes_nothing(
    sandbox: Sandbox, senders: dict[str, Send], provider: str
) -> None:
    await sandbox.faults.add(provider, Fault(FaultKind.DOWN))

    answer = await senders[provider]()

    assert answer.status_code == 503
    assert set(answer.json()) == ({"errors"} if provider == "sendgrid" else {"message"})
    assert len(sandbox.store) == 0


@pytest.mark.parametrize("provider", BOTH)
async def test_refuse_closes_the_port_and_clearing_opens_it_again(
    sandbox: Sandbox, senders: dict[str, Send], provider: str
) -> None:
    assert is_success(provider, await senders[provider]())

    await sandbox.faults.add(provider, Fault(FaultKind.REFUSE))
    with pytest.raises(httpx.ConnectError):
        await senders[provider]()
    assert len(sandbox.store) == 1

    await sandbox.faults.clear(provider)
    assert is_success(provider, await senders[provider]())


async def test_one_provider_refuses_alone(sandbox: Sandbox, senders: dict[str, Send]) -> None:
    await sandbox.faults.add("sendgrid", Fault(FaultKind.REFUSE))

    assert is_success("mailgun", await senders["mailgun"]())


async def test_a_request_at_work_is_finished_when_its_port_is_closed(
    sandbox: Sandbox, senders: dict[str, Send]
) -> None:
    await sandbox.faults.add("sendgrid", Fault(FaultKind.SLOW, seconds=0.3))
    sending = asyncio.create_task(senders["sendgrid"]())
    await wait_until(lambda: len(sandbox.store) == 1, within=5)

    await sandbox.faults.add("sendgrid", Fault(FaultKind.REFUSE))

    assert is_success("sendgrid", await sending)


async def test_slow_does_its_work_at_once_and_answers_later(sandbox: Sandbox, senders: dict[str, Send]) -> None:
    await sandbox.faults.add("sendgrid", Fault(FaultKind.SLOW, seconds=0.3))
    loop = asyncio.get_running_loop()
    began = loop.time()

    sending = asyncio.create_task(senders["sendgrid"]())
    await wait_until(lambda: len(sandbox.store) == 1, within=5)
    assert not sending.done()

    assert is_success("sendgrid", await sending)
    assert loop.time() - began >= 0.3


@pytest.mark.parametrize("provider", BOTH)
async def test_a_status_is_answered_in_the_providers_form_and_takes_nothing(
    sandbox: Sandbox, senders: dict[str, Send], provider: str
) -> None:
    await sandbox.faults.add(provider, Fault(FaultKind.STATUS, status=500))

    answer = await senders[provider]()

    assert answer.status_code == 500
    assert set(answer.json()) == ({"errors"} if provider == "sendgrid" else {"message"})
    assert len(sandbox.store) == 0


async def test_a_status_may_have_its_own_body_and_headers_and_take_the_mail(
    sandbox: Sandbox, senders: dict[str, Send]
) -> None:
    headers = {"Content-Type": "text/html", "Via": "gateway"}
    fault = Fault(FaultKind.STATUS, status=504, body="<h1>late</h1>", headers=headers, accept=True)
    await sandbox.faults.add("sendgrid", fault)

    answer = await senders["sendgrid"]()

    assert (answer.status_code, answer.text, answer.headers["Via"]) == (504, "<h1>late</h1>", "gateway")
    assert answer.headers["Content-Type"] == "text/html"
    assert len(sandbox.store) == 1


async def test_sendgrid_throttles_with_a_reset_in_unix_time(
    sandbox: Sandbox, senders: dict[str, Send], clock: Callable[[], float]
) -> None:
    await sandbox.faults.add("sendgrid", Fault(FaultKind.THROTTLE, seconds=7.5))

    answer = await senders["sendgrid"]()

    assert answer.status_code == 429
    assert answer.json() == {"errors": [{"field": None, "message": "too many requests"}]}
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert int(answer.headers["X-RateLimit-Reset"]) == int(clock()) + 8
    assert int(answer.headers["X-RateLimit-Limit"]) > 0
    assert len(sandbox.store) == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (429, "account-requests-per-sec limit exceeded, try again after 120 seconds"),
        (420, "recipient limit exceeded, try again after Fri, 15 Jan 2027 08:02:00 UTC"),
    ],
)
async def test_mailgun_throttles_in_words(sandbox: Sandbox, senders: dict[str, Send], status: int, words: str) -> None:
    await sandbox.faults.add("mailgun", Fault(FaultKind.THROTTLE, seconds=120, status=status))

    answer = await senders["mailgun"]()

    assert answer.status_code == status
    assert answer.json() == {"message": f"Domain mg.example.org is not allowed to send: {words}"}


@pytest.mark.parametrize("provider", BOTH)
async def test_hang_takes_the_mail_and_says_nothing_until_the_client_leaves(
    sandbox: Sandbox, senders: dict[str, Send], provider: str
) -> None:
    await sandbox.faults.add(provider, Fault(FaultKind.HANG))
    sending = asyncio.create_task(senders[provider]())
    await wait_until(lambda: len(sandbox.store) == 1, within=5)
    assert not sending.done()

    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await wait_until(lambda: not sandbox._listeners[ProviderName(provider)]._busy, within=5)


async def test_hang_ends_with_a_reset_after_its_seconds(sandbox: Sandbox, senders: dict[str, Send]) -> None:
    await sandbox.faults.add("sendgrid", Fault(FaultKind.HANG, seconds=0.05))

    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await senders["sendgrid"]()
    assert len(sandbox.store) == 1


@pytest.mark.parametrize("provider", BOTH)
@pytest.mark.parametrize(("kind", "taken"), [(FaultKind.RESET, 1), (FaultKind.RESET_BEFORE, 0)])
async def test_a_reset_tells_the_client_nothing_of_what_was_done(
    sandbox: Sandbox, senders: dict[str, Send], provider: str, kind: FaultKind, taken: int
) -> None:
    await sandbox.faults.add(provider, Fault(kind))

    with pytest.raises(httpx.ReadError):
        await senders[provider]()
    assert len(sandbox.store) == taken


async def test_a_reset_is_a_reset_on_the_wire(sandbox: Sandbox) -> None:
    await sandbox.faults.add("sendgrid", Fault(FaultKind.RESET_BEFORE))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.sendgrid_url.rpartition(":")[2]))

    writer.write(b"POST /v3/mail/send HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


@pytest.mark.parametrize("provider", BOTH)
async def test_malformed_takes_the_mail_and_answers_success_that_is_not_the_providers(
    sandbox: Sandbox, senders: dict[str, Send], provider: str
) -> None:
    await sandbox.faults.add(provider, Fault(FaultKind.MALFORMED))

    answer = await senders[provider]()

    assert answer.status_code == 200
    assert not is_success(provider, answer)
    assert len(sandbox.store) == 1


@pytest.mark.parametrize("provider", BOTH)
@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.MALFORMED, FaultKind.HANG])
async def test_a_fault_after_acceptance_takes_no_mail_that_is_refused(
    client: httpx.AsyncClient, sandbox: Sandbox, provider: str, kind: FaultKind
) -> None:
    await sandbox.faults.add(provider, Fault(kind, seconds=0.01 if kind is FaultKind.HANG else None))
    url = (
        f"{sandbox.sendgrid_url}/v3/mail/send"
        if provider == "sendgrid"
        else f"{sandbox.mailgun_url}/v3/mg.example.org/messages"
    )

    if kind is FaultKind.MALFORMED:
        assert (await client.post(url, json={})).status_code == 200
    else:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.post(url, json={})
    assert len(sandbox.store) == 0


@pytest.mark.parametrize("provider", BOTH)
async def test_a_fault_for_look_ups_leaves_sending_alone(
    sandbox: Sandbox, senders: dict[str, Send], askers: dict[str, Send], provider: str
) -> None:
    await sandbox.faults.add(provider, Fault(FaultKind.DOWN, only=Traffic.LOOKUP))

    assert is_success(provider, await senders[provider]())
    assert (await askers[provider]()).status_code == 503


@pytest.mark.parametrize("provider", BOTH)
async def test_a_fault_for_sending_leaves_look_ups_alone(
    sandbox: Sandbox, senders: dict[str, Send], askers: dict[str, Send], provider: str
) -> None:
    await sandbox.faults.add(provider, Fault(FaultKind.RESET, only=Traffic.SEND))

    with pytest.raises(httpx.ReadError):
        await senders[provider]()
    found = await askers[provider]()

    assert found.status_code == 200
    assert found.json()["messages" if provider == "sendgrid" else "items"]


async def test_a_counted_fault_passes_over(sandbox: Sandbox, senders: dict[str, Send]) -> None:
    await sandbox.faults.add("sendgrid", Fault(FaultKind.DOWN, count=1))

    statuses = [(await senders["sendgrid"]()).status_code for _ in range(2)]

    assert statuses == [503, 202]


async def test_a_request_without_an_answer_is_counted(sandbox: Sandbox, senders: dict[str, Send]) -> None:
    await sandbox.faults.add("sendgrid", Fault(FaultKind.RESET, count=1))
    with pytest.raises(httpx.ReadError):
        await senders["sendgrid"]()
    await senders["sendgrid"]()

    counted: Any = sandbox.stats.document()
    assert (counted["requests"], counted["accepted"], counted["by_status"]) == (2, 2, {"none": 1, "202": 1})


async def test_leaving_the_sandbox_ends_requests_that_hang(client: httpx.AsyncClient, document: Make) -> None:
    async with Sandbox() as sandbox:
        await sandbox.faults.add("sendgrid", Fault(FaultKind.HANG))
        headers = {"Authorization": "Bearer SG.sandbox"}
        sending = asyncio.create_task(
            client.post(f"{sandbox.sendgrid_url}/v3/mail/send", json=document(), headers=headers)
        )
        await wait_until(lambda: len(sandbox.store) == 1, within=5)

    with pytest.raises(httpx.TransportError):
        await sending


async def test_leaving_while_refusing_frees_the_port(client: httpx.AsyncClient) -> None:
    async with Sandbox() as sandbox:
        await sandbox.faults.add("sendgrid", Fault(FaultKind.REFUSE))
        port = int(sandbox.sendgrid_url.rpartition(":")[2])

    async with Sandbox(SandboxSettings(sendgrid_port=port)) as again:
        assert again.sendgrid_url.endswith(f":{port}")


@pytest.mark.parametrize(
    "settings_with",
    [
        lambda port: SandboxSettings(port=port),
        lambda port: SandboxSettings(sendgrid_port=port),
        lambda port: SandboxSettings(mailgun_port=port),
    ],
)
async def test_a_port_in_use_is_named(sandbox: Sandbox, settings_with: Callable[[int], SandboxSettings]) -> None:
    with pytest.raises(ConfigError, match=str(sandbox.port)):
        async with Sandbox(settings_with(sandbox.port)):
            pytest.fail("it started")
