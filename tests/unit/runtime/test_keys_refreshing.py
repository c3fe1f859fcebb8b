"""A process's keys are looked at again where they may have changed, and kept in an outage."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from postman.ports.secrets import SecretRefusedError, SecretUnavailableError
from postman.runtime.keys import REFRESH, Keyring
from postman.testing.clock import FakeClock
from postman.testing.secrets_suite import CANARY
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


async def test_a_changed_key_is_found_and_told_once(keyring: Keyring, vault: Vault, clock: FakeClock) -> None:
    await keyring.read("v:a")
    await keyring.read("v:b")
    vault.values["v:a"] = f"{CANARY}-new"
    await clock.advance(REFRESH)

    with capture_logs() as events:
        assert await keyring.refresh() == {"v:a"}
    assert [(each["event"], each["references"]) for each in events] == [("keys_changed", ["v:a"])]
    assert await value_of(keyring, "v:a") == f"{CANARY}-new"
    await clock.advance(REFRESH)
    assert await keyring.refresh() == frozenset()


async def test_nothing_is_asked_before_its_time(keyring: Keyring, vault: Vault, clock: FakeClock) -> None:
    """An access costs money, so it may be called as often as one likes."""
    await keyring.read("v:a")
    await clock.advance(REFRESH / 2)
    await keyring.read("v:b")
    await clock.advance(REFRESH / 2 - 0.001)
    await keyring.refresh()
    assert vault.reads == {"v:a": 1, "v:b": 1}

    await clock.advance(0.001)
    for _ in range(3):
        await keyring.refresh()

    assert vault.reads == {"v:a": 2, "v:b": 1}


async def test_a_pinned_key_is_never_looked_at_again(keyring: Keyring, vault: Vault, clock: FakeClock) -> None:
    await keyring.read("v:a/1")
    vault.values["v:a/1"] = "another"
    await clock.advance(100 * REFRESH)

    assert await keyring.refresh() == frozenset()
    assert await value_of(keyring, "v:a/1") == f"{CANARY}-pinned"
    assert vault.reads == {"v:a/1": 1}


@pytest.mark.parametrize(
    "trouble",
    [away("v:a"), SecretRefusedError("v:a", "its version is disabled"), RuntimeError(CANARY)],
    ids=["away", "refused", "unexpected"],
)
async def test_what_cannot_be_looked_at_keeps_its_value(
    keyring: Keyring, vault: Vault, clock: FakeClock, trouble: Exception
) -> None:
    """It is said once, and once more when it is over; then a change is found."""
    await keyring.read("v:a")
    await keyring.read("v:b")
    vault.trouble["v:a"] = trouble
    with capture_logs() as events:
        for _ in range(3):
            await clock.advance(REFRESH)
            assert await keyring.refresh() == frozenset()
            assert await value_of(keyring, "v:a") == f"{CANARY}-a"
        vault.trouble.clear()
        vault.values["v:a"] = "new"
        await clock.advance(REFRESH)
        assert await keyring.refresh() == {"v:a"}

    assert [(each["event"], each["references"]) for each in events] == [
        ("keys_stale", ["v:a"]),
        ("keys_fresh_again", ["v:a"]),
        ("keys_changed", ["v:a"]),
    ]
    assert events[0]["log_level"] == "warning"
    assert CANARY not in str(events)


async def test_an_outage_of_all_is_one_line(keyring: Keyring, vault: Vault, clock: FakeClock) -> None:
    for reference in ("v:a", "v:b"):
        await keyring.read(reference)
        vault.trouble[reference] = away(reference)
    await clock.advance(REFRESH)
    with capture_logs() as events:
        await keyring.refresh()

    assert [(each["references"], each["reason"]) for each in events] == [(["v:a", "v:b"], "cannot be reached")]


async def test_another_kind_of_trouble_is_told_anew(keyring: Keyring, vault: Vault, clock: FakeClock) -> None:
    """An outage that ends in a refusal is another matter for those who read the log."""
    await keyring.read("v:a")
    with capture_logs() as events:
        for trouble in (
            away("v:a"),
            SecretUnavailableError("v:a", "is slow"),
            SecretRefusedError("v:a", "is disabled"),
        ):
            vault.trouble["v:a"] = trouble
            await clock.advance(REFRESH)
            await keyring.refresh()

    assert [each["reason"] for each in events] == ["cannot be reached", "is disabled"]


async def test_all_that_may_change_can_be_looked_at_at_once(keyring: Keyring, vault: Vault) -> None:
    """As after a change of the document: who rotates a key may have done both."""
    for reference in ("v:a", "v:b", "v:a/1"):
        await keyring.read(reference)
        vault.values[reference] = "new"

    assert await keyring.refresh(at_once=True) == {"v:a", "v:b"}
    assert vault.reads["v:a/1"] == 1


async def test_a_change_of_what_is_forgotten_meanwhile_is_not_told(
    keyring: Keyring, vault: Vault, clock: FakeClock
) -> None:
    await keyring.read("v:a")
    vault.values["v:a"] = "new"
    await clock.advance(REFRESH)
    vault.gate.clear()
    refreshing = asyncio.create_task(keyring.refresh())
    await wait_until(lambda: vault.under_way, within=2.0)
    keyring.retain([])
    vault.gate.set()

    assert await refreshing == frozenset()


async def test_a_change_is_not_lost_with_a_refresh_that_was_cancelled(
    keyring: Keyring, vault: Vault, clock: FakeClock
) -> None:
    """The next one tells it: else the caller would go on with a client that has the old key."""
    for reference in ("v:a", "v:b"):
        await keyring.read(reference)
        vault.values[reference] = "new"
    await clock.advance(REFRESH)
    vault.quick = {"v:a"}
    vault.gate.clear()
    refreshing = asyncio.create_task(keyring.refresh())
    await wait_until(lambda: vault.under_way == 1, within=2.0)
    refreshing.cancel()
    await asyncio.wait({refreshing})
    vault.gate.set()
    await wait_until(lambda: not vault.under_way, within=2.0)

    assert await keyring.refresh() == {"v:a"}
    await clock.advance(REFRESH)
    assert await keyring.refresh() == {"v:b"}


async def test_no_key_is_to_be_seen(keyring: Keyring, vault: Vault, clock: FakeClock) -> None:
    """Neither in the keyring, nor in what it holds, nor in what it logs."""
    with capture_logs() as events:
        await keyring.read("v:a")
        vault.values["v:a"] = f"{CANARY}-new"
        await clock.advance(REFRESH)
        await keyring.refresh()

    assert events
    assert CANARY not in f"{keyring!r} {_all_of(keyring)} {events}"


def _all_of(keyring: Keyring) -> dict[str, Any]:
    return {name: value for name, value in vars(keyring).items() if name not in ("_schemes", "_opened")}


_STEPS = st.lists(
    st.tuples(st.sampled_from(["rotate", "break", "mend", "look"]), st.sampled_from(["v:a", "v:b"])), max_size=30
)


@given(steps=_STEPS)
def test_what_is_told_is_what_changed(steps: list[tuple[str, str]]) -> None:
    """After any history: a key is its last value that could be seen, and who follows the news has all of them."""
    asyncio.run(_follow(steps))


async def _follow(steps: list[tuple[str, str]]) -> None:
    vault, clock = Vault(), FakeClock(auto=False)
    keyring = Keyring({"v": lambda: vault}, clock=clock)
    visible = dict.fromkeys(("v:a", "v:b"), "0")
    vault.values = dict(visible)
    told = {reference: await value_of(keyring, reference) for reference in visible}
    for number, (step, reference) in enumerate(steps, 1):
        match step:
            case "rotate":
                vault.values[reference] = str(number)
            case "break":
                vault.trouble[reference] = away(reference)
            case "mend":
                vault.trouble.pop(reference, None)
            case _:
                await clock.advance(REFRESH)
                expected = {
                    each for each in visible if each not in vault.trouble and visible[each] != vault.values[each]
                }
                assert await keyring.refresh() == expected
                visible |= {each: vault.values[each] for each in expected}
                told |= {each: await value_of(keyring, each) for each in expected}
        assert told == visible == {each: await value_of(keyring, each) for each in visible}
