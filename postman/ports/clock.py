"""Time, handed in."""

from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Two readings and a wait; a test hands in one that it moves itself."""

    def now(self) -> float:
        """Seconds that never go back: for durations and leases within this process."""
        ...

    def time(self) -> float:
        """Seconds since 1970 (UTC): for what mails and providers date, and what processes of one machine share."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; at once, but yielding, where *seconds* is not positive."""
        ...
