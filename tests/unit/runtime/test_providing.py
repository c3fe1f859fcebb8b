"""The document is followed: what it says holds, what is wrong in it changes nothing, what is gone ends what it has."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from postman.breaker import CircuitBreaker
from postman.core.fleet.reports import DocumentSeen
from postman.errors import ConfigError, LedgerUnavailableError
from postman.runtime.failover import Failover, Lineup, Route
from postman.runtime.providing import EVERY, Providing
from postman.testing.clock import FakeClock
from postman.testing.provider import FakeProvider
from tests.unit.runtime.router_scene import MAIL

CLAIM = 26.0


class Closing(FakeProvider):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock(auto=False)
        self.a, self.b = Closing("a", clock=self.clock), Closing("b", clock=self.clock)
        first = Lineup("1", [self.route(self.a)])
        self.failover = Failover(first.routes, clock=self.clock)
        self.found: Lineup | Exception | None = None
        self.changes = 0
        self.providing = Providing(self.failover, first, look=self._look, clock=self.clock, claim=lambda: CLAIM)
        self.providing.on_change = self._changed

    def route(self, provider: FakeProvider, weight: float = 1.0) -> Route:
        return Route(provider, CircuitBreaker(provider.name, clock=self.clock.now), weight=weight)

    def homes(self) -> Sequence[str]:
        return [name for name, standing in self.failover.standings().items() if standing.is_home]

    async def _look(self) -> Lineup | None:
        found, self.found = self.found, None
        if isinstance(found, Exception):
            raise found
        return found

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_new_provider_gets_mails_and_the_report_says_which_document_holds(scene: Scene) -> None:
    assert scene.providing.seen == DocumentSeen("1")
    scene.found = Lineup("2", [scene.route(scene.b)], [scene.a], has_other_keys=True)
    await scene.providing.look()

    assert scene.providing.seen == DocumentSeen("2", "", scene.clock.time())
    assert scene.changes == 1
    assert scene.failover.choose(MAIL).provider == "b"
    assert scene.failover.find("a") is scene.a, "it may be asked about its mails"
    assert scene.homes() == ["b"]


async def test_who_is_gone_is_closed_once_no_mail_can_be_under_way_there(scene: Scene) -> None:
    leave = scene.failover.choose(MAIL)
    scene.found = Lineup("2", [scene.route(scene.b)])
    await scene.providing.look()
    assert scene.failover.find("a") is None
    assert (await scene.failover.send(MAIL, leave, deadline=scene.clock.now() + CLAIM, on_move=_stay)).provider == "a"

    await scene.clock.advance(CLAIM)
    assert scene.a.closed == 0
    await scene.clock.advance(CLAIM)
    assert scene.a.closed == 1
    await scene.providing.aclose()
    assert (scene.a.closed, scene.b.closed) == (1, 0)


async def test_who_leaves_with_the_worker_is_closed_at_once(scene: Scene) -> None:
    scene.found = Lineup("2", [scene.route(scene.b)])
    await scene.providing.look()
    await scene.providing.aclose()
    assert (scene.a.closed, scene.b.closed) == (1, 0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError("firestore:: line 3: provider a: weight"), "firestore:: line 3: provider a: weight"),
        (LedgerUnavailableError("Firestore cannot be reached"), "Firestore cannot be reached"),
        (ValueError("a secret"), "ValueError"),
    ],
)
async def test_what_cannot_be_used_changes_nothing_and_is_told_once(scene: Scene, error: Exception, told: str) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            scene.found = error
            await scene.providing.look()
        await scene.providing.look()

    assert [log["event"] for log in logs] == ["providers_not_changed", "providers_in_order"]
    assert logs[0]["reason"].startswith(told)
    assert "a secret" not in str(logs)
    assert scene.changes == 2
    assert scene.providing.seen == DocumentSeen("1")
    assert scene.failover.choose(MAIL).provider == "a"


async def test_it_looks_again_and_again(scene: Scene) -> None:
    running = asyncio.ensure_future(scene.providing.run())
    await scene.clock.advance(EVERY - 0.1)
    scene.found = Lineup("2", [scene.route(scene.b)])
    assert scene.providing.seen.version == "1"
    await scene.clock.advance(0.2)
    assert scene.providing.seen.version == "2"
    running.cancel()


async def test_other_weights_draw_another_home_and_what_works_is_kept_else(scene: Scene) -> None:
    a, b = scene.route(scene.a, 1.0), scene.route(scene.b, 1e-9)
    scene.failover.change([a, b])
    assert scene.homes() == ["a"]
    scene.failover.change([a, scene.route(scene.b, 1e-9)])
    assert scene.homes() == ["a"], "nobody changed a weight"
    scene.failover.change([scene.route(scene.a, 1e-9), scene.route(scene.b, 1.0)])
    assert scene.homes() == ["b"]
    assert scene.failover.choose(MAIL).provider == "b"


async def test_a_success_of_one_that_is_gone_does_not_bring_it_back(scene: Scene) -> None:
    leave = scene.failover.choose(MAIL)
    broken = scene.route(scene.b)
    broken.breaker.lock_out(100.0)
    scene.failover.change([broken])
    await scene.failover.send(MAIL, leave, deadline=scene.clock.now() + CLAIM, on_move=_stay)

    assert list(scene.failover.standings()) == ["b"]
    assert scene.failover.wait() > 0


async def _stay(_: str) -> None:
    """No mail moves in these tests."""
