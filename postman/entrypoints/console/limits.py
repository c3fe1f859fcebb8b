"""How often somebody may try a wrong token."""

from collections import OrderedDict, deque
from typing import Final

from aiohttp import web

from postman.ports.clock import Clock

__all__ = ["Attempts"]

_WITHIN: Final = 60.0
_MOST: Final = 5
_MOST_OF_ALL: Final = 100
_PLACES: Final = 1_000
_ALL: Final = "all"


class Attempts:
    """Wrong tokens of the last minute: five from one address, a hundred from all together, then nobody is heard."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, remote: str) -> None:
        """Raise 429 where *remote*, or everybody together, was wrong too often."""
        for place, most in ((remote, _MOST), (_ALL, _MOST_OF_ALL)):
            times = self._times(place)
            if len(times) >= most:
                wait = max(1, round(times[0] + _WITHIN - self._clock.now()))
                raise web.HTTPTooManyRequests(
                    text="Too many wrong tokens: wait a minute.", headers={"Retry-After": str(wait)}
                )

    def failed(self, remote: str) -> None:
        """Count a wrong token."""
        for place in (remote, _ALL):
            self._failed.setdefault(place, deque(maxlen=_MOST_OF_ALL)).append(self._clock.now())
            self._failed.move_to_end(place)
        while len(self._failed) > _PLACES:
            self._failed.popitem(last=False)

    def _times(self, place: str) -> deque[float]:
        times = self._failed.get(place, deque())
        while times and times[0] <= self._clock.now() - _WITHIN:
            times.popleft()
        return times
