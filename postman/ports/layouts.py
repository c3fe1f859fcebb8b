"""Where the layout is kept: one document beside the ledger, which operators change and all processes follow.

`LedgerUnavailableError` means that the store is in trouble; a change may then
have been made, and the next `read` tells. Nothing is retried here, and no
method takes longer than about ten seconds before it raises.
"""

from typing import Protocol

from postman.core.layout import Layout

__all__ = ["Layouts"]


class Layouts(Protocol):
    """See the module."""

    async def read(self) -> Layout | None:
        """Return the latest layout; None where nobody ever changed one, or there is no store yet.

        Makes nothing. Raises `LayoutError` for a document that is damaged or a newer postman's.
        """
        ...

    async def change(self, layout: Layout) -> None:
        """Put *layout* in the place of the epoch before it, durably; seen by every `read` that begins afterwards.

        Raises `LayoutChangedError` where the latest is not that epoch (none at all counts as 0).
        """
        ...

    async def ensure(self) -> None:
        """Make what is missing (tables); idempotent."""
        ...

    async def aclose(self) -> None:
        """Close; every later call but this one may fail."""
        ...
