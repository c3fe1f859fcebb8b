"""Tokens: who sent a request, proven by a signature that comes with it."""

from enum import StrEnum
from typing import Protocol

__all__ = ["Standing", "TokenJudge"]


class Standing(StrEnum):
    """What a token proves."""

    PROVEN = "proven"
    """It is signed by whom we trust, meant for us, valid now, and of the account that we expect."""
    FORGED = "forged"
    """There is none, or it is not signed by whom we trust, or meant for another, or not valid now."""
    STRANGER = "stranger"
    """It is in order, but of another account."""
    UNKNOWN = "unknown"
    """It cannot be told now, as the keys are out of reach: ask again."""


class TokenJudge(Protocol):
    """Judges the tokens of requests; one for each process, used from one event loop."""

    async def judge(self, token: str) -> Standing:
        """Return what *token*, a stranger's text of any length and content, proves. Never raises.

        Blocks for some seconds at the most, and only where the keys must be read. A forged token cannot make it read
        them more often than once a minute.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
