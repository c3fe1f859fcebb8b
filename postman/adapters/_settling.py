"""Settle once: what a queue remembers so that a delivery is not settled twice.

Acking what was given back can swallow the message's next delivery, which
another worker holds. So a second settling is refused here, before it travels.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from postman.errors import DeliverySettledError, PostmanError

__all__ = ["Settling"]


class Settling:
    """Remembers the last *limit* receipts that were settled; an older one is settled again unnoticed."""

    def __init__(self, *, limit: int = 4_096) -> None:
        self._limit = limit
        self._settled: dict[str, None] = {}

    def __contains__(self, receipt: str) -> bool:
        return receipt in self._settled

    @contextmanager
    def once(self, receipt: str) -> Iterator[None]:
        """Enclose the settling of *receipt*; a failed one (`PostmanError`) may be tried again.

        Raises `DeliverySettledError` if it was settled before, or is being settled now.
        """
        if receipt in self._settled:
            raise DeliverySettledError("this delivery was acked or given back before")
        self._remember(receipt)
        try:
            yield
        except PostmanError:
            self._settled.pop(receipt, None)
            raise

    def _remember(self, receipt: str) -> None:
        self._settled[receipt] = None
        if len(self._settled) > self._limit:
            del self._settled[next(iter(self._settled))]
