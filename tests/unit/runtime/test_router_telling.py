"""What the router tells those on call: each turn of events once, under the names that docs/providers.md lists."""

import asyncio
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from postman.breaker import CircuitBreaker
from postman.errors import (
    CredentialsError,
    NoProviderError,
    OutcomeUnknownError,
    ProviderDownError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExceededError,
    RouteRefusedError,
    ThrottledError,
)
from postman.runtime.failover.limits import RetryBudget
from postman.testing.provider import Answer
from tests.unit.runtime.router_scene import MAIL, OPEN_FOR, REHOME, Scene, down

Logs = list[MutableMapping[str, Any]]  # Any: structlog's own type


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as logs:
        yield logs


def events(logs: Logs) -> list[str]:
    """Return what happened, but for the moves of single mails."""
    return [log["event"] for log in logs if log["event"] != "failed_over"]


async def test_an_outage_is_told_from_its_beginning_to_the_homecoming(scene: Scene, logs: Logs) -> None:
    """One line for each turn, however many mails go by meanwhile."""
    scene.a.then(down("a"), down("a"))
    for _ in range(6):
        await scene.send()
    await scene.clock.advance(OPEN_FOR)
    for _ in range(6):
        await scene.send()
    await scene.clock.advance(1.5 * REHOME)
    for _ in range(6):
        await scene.send()

    assert events(logs) == ["provider_down", "provider_recovered", "came_home"]
    assert [log["provider"] for log in logs if log["event"] != "failed_over"] == ["a"] * 3


async def test_a_provider_that_is_down_is_a_warning_with_its_reason(scene: Scene, logs: Logs) -> None:
    scene.a.then(down("a"), ProviderDownError("it is closed for today", provider="a", status=503))
    for _ in range(2):
        await scene.send()

    [told] = [log for log in logs if log["event"] == "provider_down"]
    assert told["log_level"] == "warning"
    assert (told["provider"], told["status"], told["problem"]) == ("a", 503, "it is closed for today")


@pytest.mark.parametrize("kind", [CredentialsError, QuotaExceededError])
async def test_a_lock_out_is_an_error_since_it_waits_for_somebody(
    scene: Scene, logs: Logs, kind: type[ProviderError]
) -> None:
    scene.a.then(kind("no such key", provider="a", status=401))
    await scene.send()

    [told] = [log for log in logs if log["event"] != "failed_over"]
    assert (told["event"], told["log_level"]) == ("provider_locked_out", "error")
    assert (told["provider"], told["status"], told["problem"]) == ("a", 401, "no such key")


async def test_a_lock_out_that_many_mails_meet_wakes_somebody_once(scene: Scene, logs: Logs) -> None:
    leaves = [scene.failover.choose(MAIL) for _ in range(4)]
    scene.a.always(CredentialsError("no such key", provider="a"))
    await asyncio.gather(*(scene.send(leave) for leave in leaves))

    assert len(scene.a.attempts) == 4
    assert events(logs) == ["provider_locked_out"]


async def test_a_key_that_is_still_wrong_is_told_again_by_the_probe(scene: Scene, logs: Logs) -> None:
    scene.a.always(CredentialsError("no such key", provider="a"))
    await scene.send()
    await scene.clock.advance(300.0)
    await scene.send()

    assert events(logs) == ["provider_locked_out"] * 2


@pytest.mark.parametrize(
    "error",
    [
        down("a"),
        ThrottledError("x", provider="a", retry_after=3.0),
        RouteRefusedError("x", provider="a"),
        OutcomeUnknownError("x", provider="a"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_a_provider_survives_wakes_nobody(scene: Scene, logs: Logs, error: ProviderError) -> None:
    scene.a.then(error)
    with suppress(OutcomeUnknownError):
        await scene.send()
    await scene.send()

    assert events(logs) == []


async def test_a_mail_that_moves_says_from_where_and_where_to(scene: Scene, logs: Logs) -> None:
    scene.a.then(down("a"))
    await scene.send()

    [told] = logs
    assert (told["event"], told["log_level"]) == ("failed_over", "info")
    assert (told["mail_id"], told["tried"], told["provider"]) == (MAIL.id, ["a"], "b")


async def test_a_fault_here_is_told_when_it_begins_and_when_somebody_is_reached(scene: Scene, logs: Logs) -> None:
    """And no provider is said to be down meanwhile."""
    for route, provider in zip(scene.routes, (scene.a, scene.b), strict=True):
        route.breaker = CircuitBreaker(route.name, clock=scene.clock.now)
        provider.always(ProviderUnreachableError("no route", provider=provider.name))
    for _ in range(6):
        with pytest.raises(NoProviderError):
            await scene.send()
        await scene.clock.advance(31.0 if scene.failover.local_fault else 0.0)
    assert events(logs) == ["local_fault"]
    scene.a.always(Answer())
    for _ in range(3):
        await scene.send()

    assert events(logs) == ["local_fault", "local_fault_over"]
    assert next(log["log_level"] for log in logs if log["event"] == "local_fault") == "error"
    assert logs[-1]["provider"] == "a"


async def test_second_attempts_beyond_the_budget_are_told(logs: Logs) -> None:
    scene = Scene(budget=RetryBudget(ratio=0.0, floor=0))
    scene.a.then(down("a"))
    with pytest.raises(NoProviderError):
        await scene.send()

    [told] = logs
    assert (told["event"], told["mail_id"], told["provider"]) == ("retry_budget_used_up", MAIL.id, "a")


async def test_a_mail_that_has_no_time_left_is_told_with_the_provider_it_did_not_reach(
    scene: Scene, logs: Logs
) -> None:
    scene.a.then(Answer(down("a"), takes=False, delay=5.0))
    with pytest.raises(NoProviderError):
        await scene.send(budget=12.0)

    [told] = logs
    assert (told["event"], told["mail_id"], told["provider"]) == ("out_of_time", MAIL.id, "b")
