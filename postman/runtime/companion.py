"""What runs beside a worker's deliveries, and must never hold them up."""

from typing import Protocol

__all__ = ["Companion"]


class Companion(Protocol):
    """Neither method raises: whatever ails a companion, mails do not wait for it."""

    async def get_ready(self) -> None:
        """Do what shall be done before the first mail is pulled; returns also where that fails. May be cancelled."""
        ...

    async def run(self) -> None:
        """Go on until cancelled; begins once all companions are ready."""
        ...
