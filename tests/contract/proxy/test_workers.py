"""A worker's provider behind the proxy: what it makes of the proxy's answers, and what it leaves in the ledger."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from pydantic import SecretStr

from postman.adapters import sendgrid
from postman.config import ProviderEntry, Settings
from postman.core.entry import State
from postman.errors import (
    ClaimLostError,
    ConfigError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    RouteRefusedError,
)
from postman.ports.opening import ProviderSpec
from postman.ports.provider import Provider, Receipt
from postman.sandbox.faults import Fault, FaultKind, Traffic
from postman.sandbox.server import Sandbox
from postman.sandbox.settings import ProviderName
from postman.testing.byte_peer import BytePeer, Talk, byte_peer
from postman.testing.waiting import wait_until
from postman.wiring import behind_proxy
from tests.contract.proxy.scene import KEYS, KINDS, Proxy, mail, running_proxy


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def proxy(sandbox: Sandbox) -> AsyncIterator[Proxy]:
    async with running_proxy({"sendgrid": sandbox.sendgrid_url, "mailgun": sandbox.mailgun_url}) as proxy:
        yield proxy


def _taken(sandbox: Sandbox) -> list[str]:
    return [each.draft.mail_id for each in sandbox.store.newest_first()]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_receipt_says_that_it_is_recorded_and_so_it_is(proxy: Proxy, kind: str) -> None:
    provider = proxy.worker(kind)
    await proxy.claim(kind, mail().id)

    receipt = await provider.send(mail())

    entry = await proxy.entry("mail-1")
    assert receipt.is_recorded
    assert (entry.state, entry.provider, entry.message_id) == (State.SENT, kind, receipt.message_id)
    assert receipt.message_id
    await provider.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_id_is_carried_whatever_it_is_made_of(proxy: Proxy, sandbox: Sandbox, kind: str) -> None:
    provider = proxy.worker(kind)
    for mail_id in ('a/b?c#d%20"e', "Zürich ✉", "..", "%2e", "x" * 128):
        await proxy.claim(kind, mail(mail_id).id)
        await provider.send(mail(mail_id))
        assert (await proxy.entry(mail_id)).state is State.SENT
    assert len(_taken(sandbox)) == 5
    await provider.aclose()


async def test_a_large_mail_arrives_whole(proxy: Proxy, sandbox: Sandbox) -> None:
    """Larger than one write, and than what aiohttp would read by itself."""
    for kind in ("sendgrid", "mailgun"):
        large = mail(f"large-{kind}", text="ä" * 3_000_000)
        await proxy.claim(kind, large.id)
        provider = proxy.worker(kind)
        await provider.send(large)
        await provider.aclose()

    assert [len(sent.draft.body.text) for sent in sandbox.store.newest_first()] == [3_000_000] * 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repeated_mail_gets_its_first_receipt_and_is_not_sent_again(
    proxy: Proxy, sandbox: Sandbox, kind: str
) -> None:
    provider = proxy.worker(kind)
    await proxy.claim(kind, mail().id)
    first = await provider.send(mail())

    assert await provider.send(mail()) == first
    assert _taken(sandbox) == ["mail-1"]
    await provider.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_sent_but_has_no_message_id_is_an_acceptance_all_the_same(
    proxy: Proxy, sandbox: Sandbox, kind: str
) -> None:
    """An event may have told of it before, without the provider's own id."""
    await proxy.ledger.settle(mail().id, Receipt(kind, ""), evidence="event")
    provider = proxy.worker(kind)

    assert await provider.send(mail()) == Receipt(kind, "")
    assert not _taken(sandbox)
    await provider.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_worker_that_is_out_of_date_learns_that_its_claim_is_lost(
    proxy: Proxy, sandbox: Sandbox, kind: str
) -> None:
    other = next(each for each in KINDS if each != kind)
    await proxy.claim(other, mail().id)
    provider = proxy.worker(kind)

    with pytest.raises(ClaimLostError):
        await provider.send(mail())
    assert not _taken(sandbox)
    await provider.aclose()


async def test_a_worker_that_dies_leaves_a_record(proxy: Proxy, sandbox: Sandbox) -> None:
    await sandbox.faults.add(ProviderName.SENDGRID, Fault(FaultKind.SLOW, seconds=0.3))
    provider = proxy.worker("sendgrid")
    await proxy.claim("sendgrid", mail().id)
    sending = asyncio.create_task(provider.send(mail()))
    await wait_until(lambda: proxy.observer.in_flight, within=2.0)
    sending.cancel()
    await provider.aclose()

    await wait_until(lambda: not proxy.observer.in_flight, within=2.0)

    assert (await proxy.entry("mail-1")).state is State.SENT
    assert _taken(sandbox) == ["mail-1"]


async def test_without_the_ledger_the_fault_is_on_this_side_and_nothing_is_sent(proxy: Proxy, sandbox: Sandbox) -> None:
    provider = proxy.worker("sendgrid")
    proxy.ledger.is_away = True

    with pytest.raises(ProviderUnreachableError):
        await provider.send(mail())
    assert not _taken(sandbox)
    await provider.aclose()


async def test_without_the_proxy_the_fault_is_on_this_side() -> None:
    """Nobody at its port: that says nothing against a provider, whose breaker must not open."""
    async with byte_peer(_tell("")) as gone:
        url = gone.url
    provider = _behind(url)

    with pytest.raises(ProviderUnreachableError) as caught:
        await provider.send(mail())
    assert caught.value.provider == "sendgrid"
    await provider.aclose()


async def test_a_look_up_goes_through_the_proxy_and_needs_no_claim(proxy: Proxy, sandbox: Sandbox) -> None:
    for kind in KINDS:
        provider = proxy.worker(kind)
        assert await provider.look_up(mail()) is None
        await proxy.claim(kind, mail(kind).id)
        receipt = await provider.send(mail(kind))
        assert await provider.look_up(mail(kind)) == receipt
        await sandbox.faults.add(ProviderName(kind), Fault(FaultKind.STATUS, status=500, only=Traffic.LOOKUP))
        with pytest.raises(ProviderError):
            await provider.look_up(mail(kind))
        await provider.aclose()


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (502, "down", ProviderDownError),
        (502, "unreachable", ProviderUnreachableError),
        (503, "unavailable", ProviderUnreachableError),
        (504, "unknown", OutcomeUnknownError),
        (404, "refused", ProviderDownError),
        (413, "refused", RouteRefusedError),
        (202, "", OutcomeUnknownError),
        (404, "", OutcomeUnknownError),
        (503, "", OutcomeUnknownError),
        (202, "a word of a later version", OutcomeUnknownError),
    ],
)
async def test_the_proxys_own_answers_are_not_taken_for_the_providers(
    status: int, outcome: str, error: type[ProviderError]
) -> None:
    """Nor is what something else at its address says, which proves nothing either way."""
    header = f"Postman-Outcome: {outcome}\r\n" if outcome else ""
    async with byte_peer(_tell(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{header}\r\n")) as peer:
        provider = _behind(peer.url)
        with pytest.raises(error) as caught:
            await provider.send(mail())
        await provider.aclose()

    assert type(caught.value) is error
    assert caught.value.status == status


async def test_a_provider_that_is_asked_directly_cannot_claim_to_be_the_proxy() -> None:
    async with byte_peer(_tell("HTTP/1.1 202 X\r\nContent-Length: 0\r\nPostman-Outcome: recorded\r\n\r\n")) as peer:
        provider = sendgrid.open_provider(ProviderSpec("sendgrid", "sendgrid", SecretStr("k"), peer.url))

        receipt = await provider.send(mail())
        await provider.aclose()

    assert not receipt.is_recorded


@pytest.mark.parametrize("url", ["http://proxy.example.org", "ftp://127.0.0.1", "http://u:p@127.0.0.1", "http://"])
def test_keys_are_trusted_to_no_proxy_in_the_clear(url: str) -> None:
    with pytest.raises(ConfigError, match="POSTMAN_PROXY") as caught:
        _behind(url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("value", ["localhost:8090", "https://", "sqlite:x"])
def test_the_proxys_address_is_a_setting(value: str) -> None:
    with pytest.raises(ConfigError, match="POSTMAN_PROXY: must be an http or https URL"):
        Settings.from_env({"POSTMAN_PROXY": value})

    set_by_kubernetes = {"POSTMAN_PROXY_SERVICE_HOST": "10.0.0.1", "POSTMAN_PROXY_PORT": "tcp://10.0.0.1:8090"}
    assert Settings.from_env(set_by_kubernetes).proxy == ""


def test_a_kind_that_the_proxy_does_not_know_goes_past_it() -> None:
    entries = [
        ProviderEntry(ProviderSpec(kind, kind, SecretStr("k")), {"api_key": "env:K"}, kind)
        for kind in ("pigeon", "sendgrid")
    ]

    with structlog.testing.capture_logs() as logs:
        behind = behind_proxy(entries, "http://127.0.0.1:8090")

    assert [each.spec.proxy for each in behind] == ["", "http://127.0.0.1:8090"]
    assert [(log["event"], log["provider"]) for log in logs] == [("not_observed", "pigeon")]
    assert behind_proxy(entries, "") is entries


async def test_neither_key_nor_address_is_in_a_log(proxy: Proxy, sandbox: Sandbox) -> None:
    with structlog.testing.capture_logs() as logs:
        for kind in KINDS:
            provider = proxy.worker(kind)
            for number, fault in enumerate((None, Fault(FaultKind.DOWN), Fault(FaultKind.RESET))):
                await sandbox.faults.replace(ProviderName(kind), [fault] if fault else [])
                each = mail(f"{kind}-{number}")
                await proxy.claim(kind, each.id)
                try:
                    await provider.send(each)
                except ProviderError:
                    assert fault
            with pytest.raises(ClaimLostError):
                await provider.send(mail("nobody's"))
            await provider.aclose()

    assert {log["event"] for log in logs} >= {"observed", "not_accepted", "not_passed_on"}
    shown = str(logs)
    for hidden in (*KEYS.values(), "ann@example.org", "shop@", "Hi Ann", "Hello"):
        assert hidden not in shown


def _tell(answer: str) -> Talk:
    async def talk(peer: BytePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read_request(reader)
        writer.write(answer.encode())
        await writer.drain()
        await reader.read()

    return talk


def _behind(url: str) -> Provider:
    return sendgrid.open_provider(ProviderSpec("sendgrid", "sendgrid", SecretStr("SG.k"), proxy=url, timeout=2.0))
