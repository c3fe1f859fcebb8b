"""Where mails wait for a place at a provider, woken one by one, and rest while there is none to be had."""

import asyncio

from postman.ports.clock import Clock

__all__ = ["WaitingRoom"]


class WaitingRoom:
    """See the module; used from one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.waiting: dict[asyncio.Future[None], None] = {}
        """Who waits for room, in the order in which they came."""
        self.resting: set[asyncio.Future[None]] = set()

    async def wait(self, seconds: float) -> None:
        """Return when a place was freed, or after *seconds*."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting[turn] = None
        try:
            await self._first_of(turn, seconds)
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.wake_one()
            raise
        finally:
            self.waiting.pop(turn, None)
            turn.cancel()

    async def rest(self, seconds: float) -> None:
        """Return after *seconds*, or when everybody is woken."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.resting.add(turn)
        try:
            await self._first_of(turn, seconds)
        finally:
            self.resting.discard(turn)
            turn.cancel()

    def wake_one(self) -> None:
        """Let the first of those who wait for room look again."""
        while self.waiting:
            turn = next(iter(self.waiting))
            del self.waiting[turn]
            if _release(turn):
                return

    def wake_all(self) -> None:
        """Let everybody who waits for room, or rests, look again."""
        for turn in (*self.waiting, *self.resting):
            _release(turn)

    async def _first_of(self, turn: "asyncio.Future[None]", seconds: float) -> None:
        alarm = asyncio.ensure_future(self._clock.sleep(seconds))
        alarm.add_done_callback(lambda _: _release(turn))
        try:
            await turn
        finally:
            alarm.cancel()


def _release(turn: "asyncio.Future[None]") -> bool:
    if turn.done():
        return False
    turn.set_result(None)
    return True
