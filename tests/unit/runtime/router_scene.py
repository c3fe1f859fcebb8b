"""Two providers behind a router, for its tests."""

from random import Random

from postman import Address, Mail
from postman.breaker import CircuitBreaker, Recovery, Trip
from postman.errors import ProviderDownError
from postman.runtime.failover import Failover, Leave, Route
from postman.runtime.failover.limits import RetryBudget
from postman.testing.clock import FakeClock
from postman.testing.provider import FakeProvider

__all__ = ["MAIL", "OPEN_FOR", "REHOME", "Scene", "down"]

MAIL = Mail(from_=Address(email="a@example.org"), to=(Address(email="b@example.org"),), subject="s", text="t")
REHOME = 100.0
OPEN_FOR = 10.0


class Scene:
    """Providers a and b; a is home, since b has no weight."""

    def __init__(
        self, *, rate: float | None = None, concurrency: int | None = None, budget: RetryBudget | None = None
    ) -> None:
        self.clock = FakeClock()
        self.a = FakeProvider("a", clock=self.clock)
        self.b = FakeProvider("b", clock=self.clock)
        self.routes = [
            Route(provider, self.breaker(provider.name), weight=weight, rate=rate, concurrency=concurrency)
            for provider, weight in ((self.a, 1.0), (self.b, 0.0))
        ]
        self.failover = Failover(self.routes, clock=self.clock, random=Random(1), rehome_after=REHOME, budget=budget)
        self.moves: list[str] = []

    def breaker(self, name: str) -> CircuitBreaker:
        return CircuitBreaker(name, Trip(consecutive=2), Recovery(open_for=OPEN_FOR, jitter=0.0), clock=self.clock.now)

    async def moved(self, provider: str) -> None:
        self.moves.append(provider)

    async def send(self, leave: Leave | None = None, *, mail: Mail = MAIL, budget: float = 100.0) -> str:
        """Send, and return who took it."""
        leave = leave or self.failover.choose(mail)
        deadline = self.clock.now() + budget
        return (await self.failover.send(mail, leave, deadline=deadline, on_move=self.moved)).provider

    async def lose(self) -> None:
        """Let a fail until its breaker opens; it is in order again from then on."""
        self.a.then(down("a"), down("a"))
        for _ in range(2):
            await self.send()

    @property
    def attempts(self) -> tuple[int, int]:
        """How often a and b were tried."""
        return len(self.a.attempts), len(self.b.attempts)

    @property
    def in_flight(self) -> list[int]:
        return [route.limit.in_flight for route in self.routes]


def down(name: str) -> ProviderDownError:
    return ProviderDownError("down", provider=name)
