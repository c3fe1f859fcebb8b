"""A process's keys: each is read once, however many ask for it."""

import asyncio
import gc
import logging

import pytest

from postman.errors import ConfigError
from postman.ports.secrets import SecretError, SecretRefusedError, SecretUnavailableError
from postman.runtime.keys import REFRESH, Keyring
from postman.testing.clock import FakeClock
from postman.testing.secrets_suite import CANARY, shows
from postman.testing.waiting import wait_until
from tests.unit.runtime.keys_scene import Vault, away, filled_vault, value_of


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(auto=False)


@pytest.fixture
async def vault() -> Vault:
    return filled_vault()


@pytest.fixture
def keyring(vault: Vault, clock: FakeClock) -> Keyring:
    return Keyring({"v": lambda: vault}, clock=clock)


async def test_a_key_is_read_once(keyring: Keyring, vault: Vault, clock: FakeClock) -> None:
    """However often, and however much later, it is asked for."""
    for _ in range(3):
        assert await value_of(keyring, "v:a") == f"{CANARY}-a"
        await clock.advance(2 * REFRESH)

    assert vault.reads == {"v:a": 1}


async def test_those_who_ask_at_once_share_one_read(keyring: Keyring, vault: Vault) -> None:
    vault.gate.clear()
    asking = [asyncio.create_task(value_of(keyring, "v:a")) for _ in range(5)]
    await wait_until(lambda: vault.under_way, within=2.0)
    vault.gate.set()

    assert await asyncio.gather(*asking) == [f"{CANARY}-a"] * 5
    assert vault.reads == {"v:a": 1}


async def test_those_who_ask_at_once_share_one_failure(keyring: Keyring, vault: Vault) -> None:
    """And who asks later asks anew."""
    vault.trouble["v:a"] = away("v:a")
    vault.gate.clear()
    asking = [asyncio.create_task(value_of(keyring, "v:a")) for _ in range(5)]
    await wait_until(lambda: vault.under_way, within=2.0)
    vault.gate.set()

    for each in await asyncio.gather(*asking, return_exceptions=True):
        assert isinstance(each, SecretUnavailableError)
    assert vault.reads == {"v:a": 1}
    vault.trouble.clear()
    assert await value_of(keyring, "v:a") == f"{CANARY}-a"


async def test_one_who_gives_up_does_not_take_the_key_from_the_others(keyring: Keyring, vault: Vault) -> None:
    vault.gate.clear()
    first, second = (asyncio.create_task(value_of(keyring, "v:a")) for _ in range(2))
    await wait_until(lambda: vault.under_way, within=2.0)
    first.cancel()
    await asyncio.wait({first})
    vault.gate.set()

    assert first.cancelled()
    assert await second == f"{CANARY}-a"


async def test_a_failure_that_nobody_waits_for_is_no_warning(
    keyring: Keyring, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio complains of an exception that was never looked at."""
    vault.trouble["v:a"] = away("v:a")
    vault.gate.clear()
    asking = asyncio.create_task(value_of(keyring, "v:a"))
    await wait_until(lambda: vault.under_way, within=2.0)
    asking.cancel()
    await asyncio.wait({asking})
    vault.gate.set()
    await wait_until(lambda: not vault.under_way, within=2.0)
    await asyncio.sleep(0)
    del asking
    gc.collect()

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_many_are_read_a_few_at_a_time(keyring: Keyring, vault: Vault) -> None:
    vault.values = {f"v:{number}": str(number) for number in range(40)}
    vault.gate.clear()
    asking = [asyncio.create_task(value_of(keyring, reference)) for reference in vault.values]
    await wait_until(lambda: vault.under_way == 8, within=2.0)
    for _ in range(20):
        await asyncio.sleep(0)
    vault.gate.set()

    assert await asyncio.gather(*asking) == [str(number) for number in range(40)]
    assert vault.most == 8


async def test_a_first_reading_that_fails_is_not_remembered(keyring: Keyring, vault: Vault) -> None:
    vault.trouble["v:a"] = away("v:a")
    with pytest.raises(SecretUnavailableError):
        await keyring.read("v:a")
    vault.trouble.clear()

    assert await value_of(keyring, "v:a") == f"{CANARY}-a"


async def test_a_refusal_stands_for_a_while(keyring: Keyring, vault: Vault, clock: FakeClock) -> None:
    """Who looks at a wrong document every few seconds does not ask, and pay, as often."""
    for _ in range(3):
        with pytest.raises(SecretRefusedError, match=r"^v:c: is not there$"):
            await keyring.read("v:c")
    vault.values["v:c"] = "late"
    await clock.advance(REFRESH - 0.001)
    with pytest.raises(SecretRefusedError, match=r"^v:c: is not there$"):
        await keyring.read("v:c")
    assert vault.reads == {"v:c": 1}

    await clock.advance(0.001)
    assert await value_of(keyring, "v:c") == "late"


@pytest.mark.parametrize("forgets", ["at once", "retain"])
async def test_a_refusal_is_forgotten_with_the_document_that_it_was_in(
    keyring: Keyring, vault: Vault, forgets: str
) -> None:
    with pytest.raises(SecretRefusedError):
        await keyring.read("v:c")
    vault.values["v:c"] = "late"
    if forgets == "retain":
        keyring.retain([])
    else:
        await keyring.refresh(at_once=True)

    assert await value_of(keyring, "v:c") == "late"


async def test_a_refusal_is_a_wrong_setting(keyring: Keyring) -> None:
    with pytest.raises(ConfigError, match=r"^v:nowhere: is not there$"):
        await keyring.read("v:nowhere")


@pytest.mark.parametrize("wrong", [CANARY, f"{CANARY}:x", f"w:{CANARY}", "v:", "v", "", f":{CANARY}", f"v:{CANARY}!"])
async def test_what_is_no_reference_is_refused_and_not_repeated(keyring: Keyring, vault: Vault, wrong: str) -> None:
    """It may be the key itself."""
    with pytest.raises(SecretRefusedError) as read:
        await keyring.read(wrong)

    assert not shows(read.value, CANARY)
    assert not vault.reads


async def test_a_scheme_is_opened_when_it_is_first_needed_and_once(vault: Vault, clock: FakeClock) -> None:
    """Whose document has no `secret:` loads nothing of Google's."""
    opened: list[str] = []

    def opening(scheme: str) -> Vault:
        opened.append(scheme)
        return vault

    keyring = Keyring({"v": lambda: opening("v"), "w": lambda: opening("w")}, clock=clock)
    assert not opened
    await keyring.read("v:a")
    await keyring.read("v:b")

    assert opened == ["v"]


async def test_what_is_not_retained_is_forgotten(keyring: Keyring, vault: Vault, clock: FakeClock) -> None:
    """A key that left the document costs nothing any more, and is read anew when it comes back."""
    await keyring.read("v:a")
    await keyring.read("v:b")
    keyring.retain(["v:b"])
    await clock.advance(REFRESH)
    await keyring.refresh()
    assert vault.reads == {"v:a": 1, "v:b": 2}

    vault.values["v:a"] = "new"
    assert await value_of(keyring, "v:a") == "new"


async def test_closing_closes_what_was_opened(keyring: Keyring, vault: Vault) -> None:
    """Reads under way fail, and say so to whoever waits; twice is fine."""
    vault.gate.clear()
    asking = asyncio.create_task(value_of(keyring, "v:a"))
    await wait_until(lambda: vault.under_way, within=2.0)
    await keyring.aclose()
    await keyring.aclose()

    with pytest.raises(SecretUnavailableError, match="closed"):
        await asking
    assert vault.closed == 2
    assert not vault.under_way


async def test_closing_before_anything_was_read_opens_nothing(vault: Vault, clock: FakeClock) -> None:
    await Keyring({"v": lambda: vault}, clock=clock).aclose()

    assert not vault.closed


def test_the_two_failures_are_told_apart() -> None:
    """A refusal stops a start as any wrong setting does; an outage does not."""
    assert issubclass(SecretRefusedError, ConfigError)
    assert not issubclass(SecretUnavailableError, ConfigError)
    assert issubclass(SecretUnavailableError, SecretError)
