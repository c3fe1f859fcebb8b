"""Tasters: they read a message where it can do no harm, before a worker reads it.

A message that ends the process which reads it leaves no trace: nothing was
claimed, nothing was recorded, and its next delivery ends the next worker. So
one that was handed out before is tasted first.
"""

from typing import Protocol

from postman.core.message import Message

__all__ = ["Taster"]


class Taster(Protocol):
    """See the module. May be used by many at once."""

    async def taste(self, message: Message) -> str:
        """Return why *message* cannot be read without harm; empty where it can.

        A message that is merely no mail is harmless: whoever reads it is told so. Empty also where it could not be
        tried, after about a minute at the most: mails do not wait for a taster. Raises nothing.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what it holds; twice is fine, and so is tasting afterwards."""
        ...
