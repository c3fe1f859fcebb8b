"""Counts of requests and acceptances."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from postman.sandbox.settings import ProviderName

__all__ = ["Stats"]


@dataclass(slots=True)
class _Count:
    requests: int = 0
    accepted: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    """By status as text; ``none`` for a request that was left without an answer."""


class Stats:
    """What happened since the start or the last `reset`."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self._counts = {provider: _Count() for provider in ProviderName}
        self._first: float | None = None
        self._last: float | None = None

    def request(self, provider: ProviderName) -> None:
        """Count a request that arrived whole."""
        self._counts[provider].requests += 1

    def answered(self, provider: ProviderName, status: int | None) -> None:
        """Count an answer; None for a request that gets none."""
        self._counts[provider].by_status["none" if status is None else str(status)] += 1

    def accepted(self, provider: ProviderName, mails: int) -> None:
        """Count *mails* taken by one request."""
        self._counts[provider].accepted += mails
        self._last = self._now()
        if self._first is None:
            self._first = self._last

    def document(self) -> dict[str, object]:
        """Return all counts; ``rate`` is mails per second between the first and the last acceptance."""
        accepted = sum(count.accepted for count in self._counts.values())
        took = (self._last or 0.0) - (self._first or 0.0)
        by_status: Counter[str] = Counter()
        for count in self._counts.values():
            by_status.update(count.by_status)
        return {
            "requests": sum(count.requests for count in self._counts.values()),
            "by_status": dict(by_status),
            "accepted": accepted,
            "first_at": self._first,
            "last_at": self._last,
            "rate": round((accepted - 1) / took, 3) if took > 0 else None,
            "by_provider": {name.value: _document(count) for name, count in self._counts.items()},
        }


def _document(count: _Count) -> dict[str, object]:
    return {"requests": count.requests, "accepted": count.accepted, "by_status": dict(count.by_status)}
