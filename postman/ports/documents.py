"""Where the providers' document is kept that operators change and all processes follow.

`LedgerUnavailableError` means that the store is in trouble; a change may then
have been made, and the next `read` tells. Nothing is retried here, and no
method takes longer than about ten seconds before it raises. Keys are never in
it: the document names where they lie.
"""

from typing import Protocol

from postman.core.document import Document

__all__ = ["Documents"]


class Documents(Protocol):
    """See the module."""

    async def read(self) -> Document | None:
        """Return the latest; None where nobody ever put one, or there is no store yet. Makes nothing.

        Raises `DocumentError` for one that is damaged or a newer postman's.
        """
        ...

    async def change(self, document: Document) -> None:
        """Put *document* in the place of the number before it, durably; seen by every `read` that begins afterwards.

        Raises `DocumentChangedError` where the latest is not that number (none at all counts as 0).
        """
        ...

    async def ensure(self) -> None:
        """Make what is missing (tables); idempotent."""
        ...

    async def aclose(self) -> None:
        """Close; every later call but this one may fail."""
        ...
