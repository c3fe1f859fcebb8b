"""Tokens: who sent a request, proven by a signature that comes with it, or by the platform that let it in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

__all__ = ["NOBODY", "Identity", "IdentityJudge", "Standing", "TokenJudge"]


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


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent a request, as far as its headers prove it."""

    standing: Standing
    """Never `STRANGER`: who may do what is for others to say."""
    address: str = field(default="", repr=False)
    """The e-mail address, in lower case; empty where nothing is proven. It is a person's: no log has it."""


NOBODY: Final = Identity(Standing.FORGED)
"""Whoever proves nothing."""


class IdentityJudge(Protocol):
    """Says who sent a request that a platform let in; one for each process, used from one event loop."""

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Return what *headers*, a request's, prove; a header that comes more than once proves nothing. Never raises.

        It blocks no longer, and makes no more be read, than `TokenJudge.judge` does.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
