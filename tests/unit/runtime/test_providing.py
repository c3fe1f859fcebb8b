"""The document is followed: what it says holds, what is wrong in it changes nothing, what is gone ends what it has."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from postman.breaker import CircuitBreaker
from postman.core.fleet.reports import DocumentSeen
from postman.errors import ConfigError, LedgerUnavailableError, NoProviderError, ProviderUnreachableError
from postman.runtime.failover import Failover, Lineup, Route
from postman.runtime.failover.route import Leave
from postman.runtime.providing import EVERY, Providing
from postman.testing.clock import FakeClock
from postman.testing.provider import FakeProvider
from tests.unit.runtime.router_scene import MAIL

CLAIM = 26.0


class Closing(FakeProvider):
    closed = 0
    trouble: Exception | None = None
    """What closing it raises."""

    async def aclose(self) -> None:
        self.closed += 1
        if self.trouble is not None:
            raise self.trouble


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock(auto=False)
        self.a, self.b = Closing("a", clock=self.clock), Closing("b", clock=self.clock)
        first = Lineup("1", [self.route(self.a)])
        self.failover = Failover(first.routes, clock=self.clock)
        self.found: Lineup | Exception | None = None
        self.changes = 0
        self.claim = CLAIM
        self.providing = Providing(self.failover, first, look=self._look, clock=self.clock, claim=lambda: self.claim)
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


@pytest.mark.parametrize("longest", [10.0, 60.0])
async def test_who_is_gone_is_closed_by_the_longest_claim_that_a_mail_there_may_have(longest: float) -> None:
    """Be it that of the document before, or that of the new one."""
    clock = FakeClock(auto=False)
    gone = Closing("a", clock=clock, timeout=longest)
    other = FakeProvider("b", clock=clock, timeout=70.0 - longest)
    failover = Failover([Route(gone, CircuitBreaker("a", clock=clock.now))], clock=clock)
    lineups = [Lineup("2", [Route(other, CircuitBreaker("b", clock=clock.now))])]

    async def look() -> Lineup | None:
        return lineups.pop() if lineups else None

    providing = Providing(
        failover, Lineup("1", []), look=look, clock=clock, claim=lambda: 2 * failover.longest_timeout + 6.0
    )
    await providing.look()
    await clock.advance(126.0)
    assert gone.closed == 0
    await clock.advance(10.0)
    assert gone.closed == 1
    await providing.aclose()


@pytest.mark.parametrize("waits", [True, False], ids=["when they are idle", "with the worker"])
async def test_one_that_cannot_be_closed_keeps_no_other_open(scene: Scene, *, waits: bool) -> None:
    scene.a.trouble = ValueError("a secret")
    scene.failover.change([scene.route(scene.a)], [scene.b])
    c, d = Closing("c", clock=scene.clock), Closing("d", clock=scene.clock)
    c.trouble = OSError("a secret")
    scene.found = Lineup("2", [scene.route(c)], [d])
    await scene.providing.look()
    with structlog.testing.capture_logs() as logs:
        if waits:
            await scene.clock.advance(2 * CLAIM)
        await scene.providing.aclose()
        await scene.failover.aclose()

    assert (scene.a.closed, scene.b.closed, c.closed, d.closed) == (1, 1, 1, 1)
    assert [(log["event"], log["provider"]) for log in logs] == [
        ("provider_not_closed", "a"),
        ("provider_not_closed", "c"),
    ]
    assert "a secret" not in str(logs)


async def test_a_document_that_the_router_cannot_take_changes_nothing_and_is_tried_again(scene: Scene) -> None:
    """Weights whose sum is infinite, as the document's check does not let through."""
    running = asyncio.ensure_future(scene.providing.run())
    wrong = [scene.route(scene.a, 1e308), scene.route(scene.b, 1e308)]
    scene.found = Lineup("2", wrong)
    for _ in range(3):
        await scene.clock.advance(EVERY)
        assert not running.done()
        assert (scene.providing.seen.version, scene.providing.seen.problem) == ("1", "ValueError")
    assert (list(scene.failover.standings()), scene.homes()) == (["a"], ["a"])
    wrong[1].weight = 1.0
    await scene.clock.advance(EVERY)
    assert scene.providing.seen == DocumentSeen("2")
    assert list(scene.failover.standings()) == ["a", "b"]
    running.cancel()


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
            assert scene.failover.is_behind
        scene.found = None
        await scene.providing.look()

    assert not scene.failover.is_behind
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


class TestLocalFault:
    """Nobody can be reached, until the document names somebody of whom that is not known."""

    @pytest.fixture
    async def cut_off(self, scene: Scene) -> Scene:
        scene.failover.change([scene.route(scene.a), scene.route(scene.b, 1e-9)])
        for provider in (scene.a, scene.b):
            provider.always(ProviderUnreachableError("no route", provider=provider.name))
        for _ in range(2):
            with pytest.raises(NoProviderError):
                await self.send(scene)
        assert scene.failover.local_fault
        return scene

    async def send(self, scene: Scene, leave: Leave | None = None) -> None:
        leave = leave or scene.failover.choose(MAIL)
        await scene.failover.send(MAIL, leave, deadline=scene.clock.now() + 100.0, on_move=_stay)

    async def test_the_same_ones_and_fewer_of_them_do_not_end_it(self, cut_off: Scene) -> None:
        c = FakeProvider("c", clock=cut_off.clock)
        cut_off.failover.change([cut_off.route(cut_off.a, 3.0), cut_off.route(cut_off.b)], [c])
        assert cut_off.failover.local_fault
        assert cut_off.failover.wait() > 0

    @pytest.mark.parametrize("name", ["c", "b"], ids=["a new one", "one whose address was corrected"])
    async def test_another_one_ends_it_at_once(self, cut_off: Scene, name: str) -> None:
        other = FakeProvider(name, clock=cut_off.clock)
        stays = [cut_off.route(cut_off.a), cut_off.route(cut_off.b)][: 2 if name == "c" else 1]
        with structlog.testing.capture_logs() as logs:
            cut_off.failover.change([*stays, cut_off.route(other)])

        assert [log["event"] for log in logs] == ["local_fault_over"]
        assert (cut_off.failover.local_fault, cut_off.failover.wait()) == ("", 0.0)
        await self.send(cut_off)
        assert other.accepted

    async def test_a_mail_under_way_to_the_old_address_says_nothing_of_the_new_one(self, cut_off: Scene) -> None:
        await cut_off.clock.advance(5.0)
        late = cut_off.failover.choose(MAIL)
        assert late.provider == "a"
        other = FakeProvider("a", clock=cut_off.clock)
        cut_off.failover.change([cut_off.route(other), cut_off.route(cut_off.b, 1e-9)])
        for _ in range(2):
            with pytest.raises(NoProviderError):
                await self.send(cut_off, Leave(late.route, None))
        assert not cut_off.failover.local_fault


async def _stay(_: str) -> None:
    """No mail moves in these tests."""
